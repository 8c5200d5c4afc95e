"""Files are there in full or not at all."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.datasets import MAX_MANIFEST_BYTES, read_manifest
from data.errors import DataError
from data.files import is_locked, locked, read_small, replace_file
from data.lockfile import read_lock


def test_a_failing_writer_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    replace_file(path, [b"old"])

    def parts() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        replace_file(path, parts())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        replace_file(tmp_path / "shard.bin", [b"x"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "shard.bin").stat().st_mode) == 0o644


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def too_much(path: Path) -> None:
    path.write_bytes(b"a" * (MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(("put", "found"), [(a_pipe, "a special file"), (too_much, "more than 1,048,576 bytes")])
def test_a_small_file_that_never_ends_is_told(tmp_path: Path, put: Callable[[Path], None], found: str) -> None:
    """A pipe or seventy megabytes where a manifest, a lock file or a journal is expected: one sentence, at once."""
    put(tmp_path / "thing")
    with pytest.raises(OSError, match=found):
        read_small(tmp_path / "thing", MAX_MANIFEST_BYTES)
    with pytest.raises(DataError, match=f"expected a manifest of schema 1, found {found}; mend the file"):
        read_manifest(tmp_path / "thing")
    (tmp_path / "thing").rename(tmp_path / "x.lock.json")
    with pytest.raises(DataError, match="expected a lock file of schema 1"):
        read_lock(tmp_path, "x")


def test_a_small_file_may_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "thing").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("thing")
    assert read_small(tmp_path / "link", 4) == b"1234"


def test_who_holds_a_lock_is_told_without_disturbing_him(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_locked(path) is None
    with locked(path):
        assert is_locked(path) is True
    assert is_locked(path) is False
    assert is_locked(path) is False, "asking holds nothing"
