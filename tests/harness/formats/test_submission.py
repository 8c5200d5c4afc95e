"""A submission is its bytes: plain files, one digest, nothing that changes."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RunFailure, UserError
from harness.formats import submission as module
from harness.formats.submission import check_source, read_submission, take_copy
from harness.status import Status

CONTRACT = "def train(run): pass\ndef load(weights, device): pass\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "model").mkdir(parents=True)
    (root / "train_gpt.py").write_text(CONTRACT)
    (root / "model" / "layers.py").write_text("x = 1\n")
    return root


def test_a_folder_is_read_and_copied_whole(tree: Path, tmp_path: Path) -> None:
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "old.pyc").write_text("")
    submission = read_submission(tree)
    assert (submission.entry, list(submission.files)) == ("train_gpt.py", ["model/layers.py", "train_gpt.py"])
    assert submission.bytes == len(CONTRACT) + 6
    take_copy(submission, tmp_path / "copy")
    assert read_submission(tmp_path / "copy").sha256 == submission.sha256


def test_a_script_comes_alone(tree: Path) -> None:
    (tree / "other.py").write_text("")
    assert list(read_submission(tree / "train_gpt.py").files) == ["train_gpt.py"]


@settings(max_examples=50)
@given(content=st.binary(min_size=1, max_size=60), position=st.integers(0, 59), bit=st.integers(0, 7))
def test_any_bit_changes_the_digest(tmp_path: Path, content: bytes, position: int, bit: int) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    before = read_submission(path).sha256
    changed = bytearray(content)
    changed[position % len(content)] ^= 1 << bit
    path.write_bytes(changed)
    assert read_submission(path).sha256 != before
    path.write_bytes(content)
    assert read_submission(path).sha256 == before


def test_names_places_and_files_change_the_digest(tree: Path) -> None:
    digests = [read_submission(tree).sha256]
    for change in (
        lambda: (tree / "model" / "layers.py").rename(tree / "model" / "layer.py"),
        lambda: (tree / "model" / "layer.py").rename(tree / "layer.py"),
        lambda: (tree / "empty.py").write_text(""),
        lambda: (tree / ".hidden").write_text(""),
    ):
        change()
        digests.append(read_submission(tree).sha256)
    assert len(set(digests)) == len(digests)


def link_to_a_file(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def link_to_a_folder(path: Path) -> None:
    path.symlink_to("/etc")


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def listening_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)  # an address holds 107 bytes, a TMPDIR may be longer
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("no devices for this user")


@pytest.mark.parametrize(
    "make", [link_to_a_file, link_to_a_folder, dangling_link, listening_socket, device, os.mkfifo],
    ids=lambda make: make.__name__,
)  # fmt: skip
@pytest.mark.parametrize("name", ["x", "train_gpt.py"])
def test_anything_but_plain_files_is_refused(tree: Path, make: Callable[[Path], None], name: str) -> None:
    (tree / name).unlink(missing_ok=True)
    make(tree / name)
    with pytest.raises(UserError, match=r"expected a (plain|script)"):
        read_submission(tree)


@pytest.mark.parametrize("name", ["line\nbreak.py", "esc\x1b[31m.py", "\udcff.py"])
def test_names_that_cannot_be_shown_are_refused(tree: Path, name: str) -> None:
    (tree / name).write_text("")
    with pytest.raises(UserError, match="printable"):
        read_submission(tree)


def test_what_is_no_submission(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "train_gpt.py").mkdir()
    for path in (tmp_path, tmp_path / "nothing.py", tmp_path / "notes.txt", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(UserError):
            read_submission(path)


def test_too_many_files_and_too_many_bytes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    read_submission(tree)
    (tree / "third.py").write_text("")
    with pytest.raises(UserError, match="at most 2 files"):
        read_submission(tree)
    monkeypatch.setattr(module, "MAX_FILES", 3)
    monkeypatch.setattr(module, "MAX_BYTES", len(CONTRACT) + 5)
    with pytest.raises(UserError, match="at most"):
        read_submission(tree)


@pytest.mark.parametrize("change", ["rewrite", "grow", "remove", "link"])
def test_a_file_that_changes_after_it_was_hashed_is_not_copied(tree: Path, tmp_path: Path, change: str) -> None:
    submission = read_submission(tree)
    path = tree / "model" / "layers.py"
    content = path.read_bytes()
    path.unlink()
    if change == "rewrite":
        path.write_bytes(content.replace(b"1", b"2"))
    elif change == "grow":
        path.write_bytes(content + b"\n")
    elif change == "link":
        (tmp_path / "same.py").write_bytes(content)
        path.symlink_to(tmp_path / "same.py")
    with pytest.raises(UserError, match=r"layers\.py"):
        take_copy(submission, tmp_path / "copy")


@pytest.mark.parametrize(
    ("source", "status"),
    [
        (CONTRACT, None),
        ("from model import *\n", None),
        ("from model import train, load\n", None),
        ("train = load = print\n", None),
        ("async def train(r): pass\nclass load: pass\n", None),
        ("def train(run): pass\n", Status.NO_LOAD),
        ("def load(run): pass\n", Status.NO_TRAIN),
        ("", Status.NO_TRAIN),
        ("train(\n", Status.SYNTAX_ERROR),
        ("\0", Status.SYNTAX_ERROR),
        ("# coding: nonsense\n", Status.SYNTAX_ERROR),
        ("(" * 5000, Status.SYNTAX_ERROR),
        ("x = " + "-" * 100_000 + "1\n", Status.SYNTAX_ERROR),
        ("\xff".encode("latin-1"), Status.SYNTAX_ERROR),
        (CONTRACT + "#" * 1000, Status.SOURCE_TOO_BIG),
    ],
)
def test_what_can_be_told_without_running(tmp_path: Path, source: str | bytes, status: Status | None) -> None:
    content = source if isinstance(source, bytes) else source.encode()
    (tmp_path / "train_gpt.py").write_bytes(content)
    submission = read_submission(tmp_path)
    budget = 500 if status == Status.SOURCE_TOO_BIG else 10**6
    if status is None:
        check_source(submission, tmp_path, budget)
        return
    with pytest.raises(RunFailure) as raised:
        check_source(submission, tmp_path, budget)
    assert raised.value.status == status
