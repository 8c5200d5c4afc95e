"""Objects of a repository that are missing, emptied, cut, false or never come: each is named, and the next is read."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UserError
from leaderboard.upstream import checkout as checkout_module
from leaderboard.upstream import objects
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.importing import import_history
from leaderboard.upstream.objects import LYING, MISSING, SILENT, UNREADABLE, Reader, TrackedFile
from tests.leaderboard.upstream.made_checkouts import SMALL, a_log, base
from tests.leaderboard.upstream.test_checkout import git

NAMES = [f"records/{name}.txt" for name in "abcdefgh"]
BODIES = {name: (name * 9_000 + "\n").encode() for name in NAMES}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Every object loose."""
    root = tmp_path / "tree"
    for name, body in BODIES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


def object_of(tree: Path, name: str) -> Path:
    blob = git(tree, "rev-parse", f"HEAD:{name}")
    path = tree / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    return path


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def other_bytes(path: Path) -> None:
    path.write_bytes(b"this is not zlib")


def lying(path: Path) -> None:
    path.write_bytes(zlib.compress(b"blob 4\0fake"))


def longer_than_said(path: Path) -> None:
    path.write_bytes(zlib.compress(b"blob 4\0fake and more"))


def shorter_than_said(path: Path) -> None:
    path.write_bytes(zlib.compress(b"blob 400\0fake"))


def read(tree: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    checkout = Checkout(tree)
    return {f.path: b"".join(chunks) for f, chunks in checkout.read(checkout.files("records"))}, checkout.damage


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (Path.unlink, {MISSING}), (emptied, {UNREADABLE, MISSING}), (cut, {UNREADABLE, MISSING}),
        (other_bytes, {UNREADABLE, MISSING}), (lying, {LYING}), (longer_than_said, {UNREADABLE, LYING, MISSING}),
        (shorter_than_said, {UNREADABLE, LYING, MISSING}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_the_rest_is_read(tree: Path, damage: Callable[[Path], None], why: set[str]) -> None:
    for name in (NAMES[2], NAMES[5]):
        damage(object_of(tree, name))
    found, damaged = read(tree)
    assert damaged.keys() == {NAMES[2], NAMES[5]}
    assert set(damaged.values()) <= why
    assert {name: found[name] for name in found if name not in damaged} == {
        name: body for name, body in BODIES.items() if name not in damaged
    }


def test_every_object_gone_is_every_file_named(tree: Path) -> None:
    for name in NAMES:
        emptied(object_of(tree, name))
    _, damaged = read(tree)
    assert sorted(damaged) == NAMES


def test_a_document_that_is_damaged_is_one_sentence(tree: Path) -> None:
    lying(object_of(tree, NAMES[0]))
    with pytest.raises(UserError, match="holds something else than its name says"):
        Checkout(tree).text(NAMES[0])


def test_a_history_that_lost_logs_names_them_and_its_rows_are_flagged(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    table = f"| 7 | 1.2 minutes | x | 07/17/26 | [l]({SMALL}/2026-07-17_X/a.txt) | @a |"
    logs = {f"{SMALL}/2026-07-17_X/{name}.txt": a_log(3.27 + i / 1000, 72_000 + i) for i, name in enumerate("abcd")}
    for name, text in base(table, logs).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    assert import_history(Checkout(root))[0].lost == ()
    lying(object_of(root, f"{SMALL}/2026-07-17_X/b.txt"))
    emptied(object_of(root, f"{SMALL}/2026-07-17_X/c.txt"))
    small = import_history(Checkout(root))[0]
    assert {lost.path[-5:] for lost in small.lost} == {"b.txt", "c.txt"}
    assert [run.file for run in small.runs] == ["a.txt", "d.txt"]
    from harness.formats.track import load_track
    from leaderboard.upstream.audit import audit

    (row,) = audit(small, load_track("gpt2-small-8xh100"))
    assert "2 files of its folder could not be read" in next(f.sentence for f in row.flags if f.id == "lost-files")


# --------------------------------------------------------------------------------------- a git that says nothing


def reader(tmp_path: Path, program: str, damage: dict[str, str]) -> Reader:
    script = tmp_path / "git.py"
    script.write_text(program)
    return Reader([sys.executable, str(script)], dict(os.environ), damage)


def files(count: int) -> list[TrackedFile]:
    return [TrackedFile(f"f{i}", 0, f"{i:040x}") for i in range(count)]


def everything(one: Reader, count: int) -> list[bytes]:
    return [b"".join(chunks) for _, chunks in one.read(files(count))]


def test_a_git_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "QUIET_S", 0.05)
    damage: dict[str, str] = {}
    silent = reader(tmp_path, "import time\ntime.sleep(600)\n", damage)
    with pytest.raises(UserError, match="silent over 3 files"):
        everything(silent, 9)
    assert damage["f0"] == SILENT


def test_a_git_that_ends_at_once_loses_every_file(tmp_path: Path) -> None:
    damage: dict[str, str] = {}
    for _, chunks in reader(tmp_path, "", damage).read(files(3)):
        assert list(chunks) == []
    assert damage == {f"f{i}": UNREADABLE for i in range(3)}


@pytest.mark.parametrize(
    "answer", ["x y\\n", "a blob b c\\n", "a blob -5\\n", "\\n", "a blob \\u0665\\n", "a tree 0\\n\\n"]
)
def test_an_answer_that_is_none_is_a_lost_file(tmp_path: Path, answer: str) -> None:
    damage: dict[str, str] = {}
    program = f"import sys\nfor line in sys.stdin:\n    sys.stdout.write('{answer}')\n    sys.stdout.flush()\n"
    for _, chunks in reader(tmp_path, program, damage).read(files(2)):
        list(chunks)
    assert damage.keys() == {"f0", "f1"}


def test_git_itself_is_given_a_time(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(checkout_module, "GIT_S", 0.1)
    with pytest.raises(UserError, match=r"expected an answer of git within 0\.1 s"):
        Checkout(tree)


def test_an_environment_that_names_another_repository_leads_nowhere(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "nothing"))
    assert len(read(tree)[0]) == len(NAMES)


def test_a_pipe_in_place_of_an_object_does_not_hang(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = object_of(tree, NAMES[3])
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(objects, "QUIET_S", 1.0)
    monkeypatch.setattr(checkout_module, "GIT_S", 1.0)
    blob = TrackedFile(NAMES[3], 0, f"{path.parent.name}{path.name}")
    checkout = Checkout(tree)
    assert [b"".join(chunks) for _, chunks in checkout.read([blob])] == [b""]
    assert checkout.damage.keys() == {NAMES[3]}


def test_reading_an_archive_leaves_no_process(tree: Path) -> None:
    iterator = Checkout(tree).read(Checkout(tree).files("records"))
    next(iterator)
    del iterator
    listing = subprocess.run(["ps", "-o", "args="], capture_output=True, text=True, check=False).stdout
    assert f"{tree} " not in listing
