"""The workflow for pull requests: what it may do, and what its scripts say of real branches."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from harness.records.tree_digest import write_digests

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = (ROOT / ".github" / "workflows" / "verify.yml").read_text()
PARSED: dict[Any, Any] = yaml.safe_load(WORKFLOW)
STEPS = PARSED["jobs"]["verify"]["steps"]
GIT = [
    "-c",
    "user.name=a",
    "-c",
    "user.email=a@example.org",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "init.defaultBranch=main",
]


def test_it_may_write_nothing_and_knows_no_secret() -> None:
    assert PARSED["permissions"] == {"contents": "read"}
    assert set(PARSED[True]) == {"pull_request"}  # YAML reads `on` as a truth value
    assert "secrets." not in WORKFLOW
    assert "permissions" not in PARSED["jobs"]["verify"]


def test_nothing_of_a_pull_request_is_installed_or_spliced_into_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        if "pip install" in step.get("run", ""):
            assert step["working-directory"] == "referee"
    places = {s["with"]["path"]: s["with"]["ref"] for s in STEPS if "checkout" in s.get("uses", "")}
    assert "base.sha" in places["referee"]
    assert "head.sha" in places["proposed"]


def script(name: str) -> str:
    found: str = next(step["run"] for step in STEPS if step.get("name", "").startswith(name))
    return found


def world(**more: str) -> dict[str, str]:
    """The environment without whatever git is told here: a hook's repository, somebody's own configuration."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return ours | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"} | more


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *GIT, *arguments], cwd=folder, capture_output=True, text=True, env=world())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Verdict(NamedTuple):
    code: int
    summary: str
    refused: str


@pytest.fixture(scope="module")
def base(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a track and one accepted record; beside it, a second record to propose."""
    root = tmp_path_factory.mktemp("base")
    track = root / "repository" / "records" / "tiny" / "track.toml"
    track.parent.mkdir(parents=True)
    track.write_bytes((ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_bytes())
    git(root / "repository", "init", "--quiet")
    write_digests(track.parent.parent)
    submit(root, make_bundle(root / "first", track), "First")
    commit(root / "repository")
    return root


def submit(root: Path, bundle: Path, title: str) -> None:
    command = [sys.executable, "-m", "harness", "submit", bundle, "--title", title, "--author", "A"]
    records = str(root / "repository" / "records")
    done = subprocess.run(command, cwd=ROOT, env=world(SPEEDRUN_RECORDS=records), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "x")


@pytest.fixture
def propose(base: Path, tmp_path: Path) -> Callable[[Callable[[Path], None]], Verdict]:
    """propose(edit) -> what the workflow says of a pull request that makes this edit of the records."""

    def run(edit: Callable[[Path], None]) -> Verdict:
        for name in ("referee", "proposed"):
            git(tmp_path, "clone", "--quiet", str(base / "repository"), name)
        edit(tmp_path / "proposed" / "records" / "tiny")
        commit(tmp_path / "proposed")
        environment = world() | {
            "GITHUB_WORKSPACE": str(tmp_path),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "BASE": git(tmp_path / "referee", "rev-parse", "HEAD"),
            "HEAD": git(tmp_path / "proposed", "rev-parse", "HEAD"),
            "SPEEDRUN_RECORDS": str(tmp_path / "proposed" / "records"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        }
        codes, said = [], ""
        for name in ("What the pull request changes", "Verify what is proposed", "Verify that every other"):
            done = subprocess.run(
                ["bash", "-c", script(name)], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            codes.append(done.returncode)
            said += f"{name}: {done.stdout}{done.stderr}"
        assert codes[0] == 0, said
        assert (tmp_path / "summary.md").read_text() == (tmp_path / "verdict.md").read_text()
        return Verdict(max(codes), (tmp_path / "summary.md").read_text(), (tmp_path / "refused.txt").read_text())

    return run


def record_of(track: Path) -> Path:
    return next(track.glob("*_First"))


def test_a_readme_of_a_record_may_be_improved(propose: Callable[..., Verdict]) -> None:
    def improve(track: Path) -> None:
        (record_of(track) / "README.md").write_text("# Better words\n")
        write_digests(track.parent)

    verdict = propose(improve)
    assert verdict.code == 0
    assert verdict.refused == ""
    assert "First" in verdict.summary


def test_a_record_that_is_made_anew_is_refused_though_it_holds(
    propose: Callable[..., Verdict], make_bundle: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    """Its manifest is whole again, so only history can tell."""

    def forge(track: Path) -> None:
        source = tmp_path / "forged"
        (source / "repository" / "records" / "tiny").mkdir(parents=True)
        copy = source / "repository" / "records" / "tiny" / "track.toml"
        copy.write_bytes((track / "track.toml").read_bytes())
        submit(source, make_bundle(source / "other", copy, candidate_times=(1.0, 1.01, 1.02, 1.03)), "First")
        accepted = record_of(track)
        git(track, "rm", "-r", "--quiet", accepted.name)
        record_of(copy.parent).rename(accepted)

    verdict = propose(forge)
    assert verdict.code == 1
    assert "a file of an accepted record was changed" in verdict.summary
    assert "manifest.json" in verdict.refused
    assert "**something does not hold**" not in verdict.summary


def test_what_does_not_hold_is_said(propose: Callable[..., Verdict]) -> None:
    def add_broken(track: Path) -> None:
        broken = track / "2026-11-23_Broken"
        broken.mkdir()
        (broken / "record.json").write_text("{}")

    verdict = propose(add_broken)
    assert verdict.code != 0
    assert "2026-11-23_Broken" in verdict.summary


def test_rules_do_not_change_together_with_records(propose: Callable[..., Verdict]) -> None:
    def soften(track: Path) -> None:
        (record_of(track) / "README.md").write_text("# x\n")
        (track / "allowed_signers").write_text("a ssh-ed25519 AAAA\n")

    verdict = propose(soften)
    assert verdict.code != 0
    assert "records/tiny/allowed_signers" in verdict.refused


def test_links_and_foreign_folders(propose: Callable[..., Verdict]) -> None:
    def link(track: Path) -> None:
        (track / "2026-11-23_Link").symlink_to("/etc")
        (track / "evil $(touch x) `y`").mkdir()
        (track / "evil $(touch x) `y`" / "a").write_text("x")

    verdict = propose(link)
    assert verdict.code != 0
    assert "not a plain file" in verdict.refused
