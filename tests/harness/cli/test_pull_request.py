"""The printed commands of a pull request, done: what they commit is what verification holds a checkout to."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.cli.pull_request import pull_request_steps
from harness.formats import layout
from harness.records.tree_digest import add_to_digests, tree_findings, write_digests


def test_what_the_steps_commit_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, origin = tmp_path / "ours", tmp_path / "origin.git"
    monkeypatch.setattr(layout, "ROOT", root)
    new = root / "records" / "nano" / "2026-11-28_It's"
    new.mkdir(parents=True)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "x")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "x@x")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git = ["git", "-C", str(root)]
    (root / "records" / "old.txt").write_text("old")
    write_digests(root / "records")
    for words in (["init", "-q", "--bare", str(origin)], ["init", "-q", "-b", "main", str(root)]):
        subprocess.run(["git", *words], check=True)
    for words in (["add", "records"], ["commit", "-qm", "before"], ["remote", "add", "origin", str(origin)]):
        subprocess.run([*git, *words], check=True)
    (new / "README.md").write_text("what is written by submit")
    add_to_digests(new)
    (new / "README.md").write_text("what its author wrote afterwards")

    steps = pull_request_steps(new, "record/nano/x", "Record: it's (nano)")
    assert steps[0] == "  speedrun verify records --write-digests"
    write_digests(root / "records")  # what that command does
    assert "pull request" in steps[-1]
    for step in steps[1:-1]:
        done = subprocess.run(step, shell=True, cwd=root, capture_output=True)
        assert done.returncode == 0, (step, done.stderr)
    pushed = tmp_path / "pushed"
    subprocess.run(["git", "clone", "-q", "-b", "record/nano/x", str(origin), str(pushed)], check=True)
    assert tree_findings(pushed / "records")[0] == []
    assert (pushed / "records" / "nano" / "2026-11-28_It's" / "README.md").read_text().endswith("afterwards")
