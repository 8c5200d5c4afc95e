"""Files are there in full or not at all."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.files import replace_file


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
