"""Digests of a whole tree: whatever a board shows cannot change unseen, and another copy tells what was forged."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.formats import layout
from harness.records.tree_digest import add_to_digests, against, measure, read_digests, tree_findings, write_digests
from harness.records.verification import verify_each


@pytest.fixture
def whole_tree(tmp_path: Path) -> Path:
    """All that this checkout has, as it lies there."""
    return Path(shutil.copytree(layout.ROOT / "records", tmp_path / "whole"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some records of this checkout, with digests that are fresh."""
    records = shutil.ignore_patterns(
        "*_AdamWBaseline", "*_HashedNgrams", "*_ReadOnce", "reported"
    )  # the fuzz reads all
    root = Path(shutil.copytree(layout.ROOT / "records", tmp_path / "records", ignore=records))
    write_digests(root)
    return root


def ids(root: Path) -> set[str]:
    return {finding.id for finding in tree_findings(root)[0]}


def test_an_untouched_tree_holds_and_one_digest_stands_for_it(tree: Path) -> None:
    findings, digest = tree_findings(tree)
    assert findings == []
    assert digest == write_digests(tree)
    assert {"gpt2-small-8xh100/history.json", "nano-2cpu/track.toml"} <= read_digests(tree / layout.DIGESTS_FILE).keys()


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def garble(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(40))


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


def add(path: Path, rng: random.Random) -> None:
    path.with_name(path.name + rng.choice([".orig", "~", " "])).write_bytes(b"")


def link(path: Path, rng: random.Random) -> None:
    kept = path.parents[len(path.parents) - 4] / "elsewhere"
    shutil.copy(path, kept)
    path.unlink()
    path.symlink_to(kept)


def pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def exchange(path: Path, rng: random.Random) -> None:
    other = path.with_name("other")
    path.rename(other)
    flip(other, rng)
    other.rename(path)


def mutate(tree: Path, times: int) -> None:
    """Histories and their like as often as all the rest, for most rows of the boards are in them."""
    rng, files = random.Random(17), sorted(path for path in tree.rglob("*") if path.is_file())
    imported = [path for path in files if path.name in ("history.json", "claims.json", "track.toml", "digests.json")]
    for number in range(times):
        path = rng.choice(imported if number % 2 else files)
        kept, change = path.read_bytes(), rng.choice([flip, cut, garble, delete, add, link, pipe, exchange])
        change(path, rng)
        assert ids(tree), f"{change.__name__} of {path}"
        for name in (path, *path.parent.glob(f"{path.name}?*")):
            name.unlink(missing_ok=True)
        path.write_bytes(kept)
    assert ids(tree) == set()


def test_mutations_of_tracks_records_and_histories_are_all_found(tree: Path) -> None:
    mutate(tree, times=150)


@pytest.mark.slow
def test_a_thousand_mutations_of_everything_are_all_found(whole_tree: Path) -> None:
    mutate(whole_tree, times=1000)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "nano-2cpu" / "history.json").write_text("{}"), "file_extra"),
        (lambda root: (root / "optimizer-steps" / "history.json").unlink(), "file_missing"),
        (lambda root: (root / "optimizer-steps" / "claims.json").write_text("{}"), "file_altered"),
        (lambda root: (root / "digests.json").unlink(), "digests_missing"),
        (lambda root: (root / "digests.json").write_text("{}"), "digests_unreadable"),
        (lambda root: (root / "digests.json").write_text("[" * 100_000), "digests_unreadable"),
        (lambda root: os.mkfifo(root / "nano-2cpu" / "pipe"), "not_plain"),
        (lambda root: (root / "nano-2cpu" / "link").symlink_to("/etc/passwd"), "not_plain"),
        (lambda root: (root / "nano-2cpu" / os.fsdecode(b"\xff")).write_bytes(b""), "file_extra"),
    ],
)
def test_what_is_wrong_is_named(tree: Path, change: Callable[[Path], object], expected: str) -> None:
    change(tree)
    assert expected in ids(tree)


def test_what_is_no_track_is_named(tree: Path) -> None:
    (tree / "notes.txt").write_text("hello")
    (tree / "fake").mkdir()
    reports = [report for report in verify_each([tree]) if report.kind == "tree"]
    assert {finding.found for finding in reports[0].findings if finding.id == "foreign"} == {"notes.txt", "fake"}


def test_digests_that_were_rewritten_too_are_found_against_another_checkout(tree: Path, tmp_path: Path) -> None:
    """An edited claim, with digests to fit: this tree holds against itself, and not against any copy."""
    kept = Path(shutil.copytree(tree, tmp_path / "other" / "records"))
    path = tree / "gpt2-small-8xh100" / "history.json"
    path.write_text(path.read_text().replace('"train_time_s":39.9', '"train_time_s":29.9'))
    write_digests(tree)
    assert ids(tree) == set()
    for other in (kept, kept.parent, kept / "digests.json"):
        assert [(f.id, f.severity) for f in against(tree, str(other))] == [("file_altered", "error")]
    (tree / "nano-2cpu" / "new").write_text("")
    assert {(f.id, f.severity) for f in against(tree, str(kept))} == {
        ("file_altered", "error"),
        ("file_extra", "warning"),
    }
    with pytest.raises(UserError, match="expected another checkout"):
        against(tree, "nowhere")


def git(folder: Path, *arguments: str) -> None:
    who = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    ]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, timeout=600)


def test_a_tree_is_held_against_a_tag(tree: Path, make_key: Callable[..., Path]) -> None:
    root = tree.parent
    git(root, "init", "-q")
    git(root, "add", "records")
    git(root, "commit", "-qm", "records")
    git(root, "tag", "plain")
    key = make_key("ada")
    (root / "signers").write_text(f"a@example.org {key.with_suffix('.pub').read_text()}")
    git(root, "config", "gpg.format", "ssh")
    git(root, "config", "gpg.ssh.allowedSignersFile", str(root / "signers"))
    git(root, "-c", f"user.signingkey={key}", "tag", "-s", "signed", "-m", "records")
    assert [finding.id for finding in against(tree, "signed")] == []
    assert [(finding.id, finding.severity) for finding in against(tree, "plain")] == [("tag_unsigned", "warning")]
    (tree / "optimizer-steps" / "history.json").unlink()
    write_digests(tree)
    assert [finding.id for finding in against(tree, "signed")] == ["file_missing"]
    with pytest.raises(UserError, match="expected another checkout"):
        against(tree, "--output=x")


def test_a_new_folder_enters_nothing_but_itself(tree: Path) -> None:
    """Who submits does not vouch for what somebody else has changed meanwhile."""
    (tree / "optimizer-steps" / "history.json").write_text("{}")
    new = Path(shutil.copytree(next(tree.glob("nano-2cpu/*_Muon")), tree / "nano-2cpu" / "2026-11-23_New"))
    add_to_digests(new)
    assert [finding.id for finding in tree_findings(tree)[0]] == ["file_altered"]
    assert measure(new)[0].keys() <= {name.rpartition("2026-11-23_New/")[2] for name in json.loads(
        (tree / "digests.json").read_text())["files"]}  # fmt: skip
