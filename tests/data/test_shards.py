"""The .bin format: what goes in comes out, and every kind of damage is named."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data.errors import DataError
from data.shards import HEADER_BYTES, MAGIC, VERSION, read_header, read_shard, write_shard

same_folder = settings(max_examples=60)


@same_folder
@given(tokens=hnp.arrays(np.uint16, st.one_of(st.sampled_from([0, 1, 2]), st.integers(0, 3000))))
def test_tokens_survive_the_round_trip(tmp_path: Path, tokens: np.ndarray) -> None:
    path = tmp_path / "shard.bin"
    write_shard(path, tokens)
    found = read_shard(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, tokens)
    assert read_header(path) == tokens.size
    assert [entry.name for entry in tmp_path.iterdir()] == ["shard.bin"]


@pytest.mark.parametrize("tokens", [[1, 2, 3], np.array([1, 2, 3], np.int64), np.array([1, 2, 3], ">u2")])
def test_bytes_on_disk_are_those_of_the_format(tmp_path: Path, tokens: object) -> None:
    path = tmp_path / "shard.bin"
    write_shard(path, tokens)
    expected = struct.pack("<256i", MAGIC, VERSION, 3, *[0] * 253) + struct.pack("<3H", 1, 2, 3)
    assert path.read_bytes() == expected


@pytest.mark.parametrize("count", [0, 5])
def test_a_shard_is_read_only(tmp_path: Path, count: int) -> None:
    path = tmp_path / "shard.bin"
    write_shard(path, np.arange(count))
    assert not read_shard(path).flags.writeable


@pytest.mark.parametrize(
    "tokens", [[-1], [65536], [0.5], [[1, 2]], 7, [True]], ids=["negative", "large", "float", "2-d", "0-d", "bool"]
)
def test_what_is_no_row_of_tokens_is_refused_and_nothing_changes(tmp_path: Path, tokens: object) -> None:
    path = tmp_path / "shard.bin"
    write_shard(path, [1, 2])
    with pytest.raises(DataError, match=r"shard\.bin"):
        write_shard(path, tokens)
    assert read_shard(path).tolist() == [1, 2]


def with_field(index: int, value: int) -> Callable[[bytes], bytes]:
    def corrupt(content: bytes) -> bytes:
        return content[: 4 * index] + struct.pack("<i", value) + content[4 * index + 4 :]

    return corrupt


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated header": lambda content: content[: HEADER_BYTES - 1],
    "wrong magic": with_field(0, 20240521),
    "wrong version": with_field(1, 2),
    "negative count": with_field(2, -1),
    "too large count": with_field(2, 11),
    "huge count": with_field(2, 2**31 - 1),
    "too small count": with_field(2, 9),
    "short body": lambda content: content[:-1],
    "long body": lambda content: content + b"\0",
    "other byte order": lambda content: np.frombuffer(content, ">i4").astype("<i4").tobytes(),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
@pytest.mark.parametrize("read", [read_header, read_shard])
def test_damage_is_an_error_that_names_the_file(
    tmp_path: Path, corrupt: Callable[[bytes], bytes], read: Callable[[Path], object]
) -> None:
    path = tmp_path / "damaged.bin"
    write_shard(path, np.arange(10))
    path.write_bytes(corrupt(path.read_bytes()))
    with pytest.raises(DataError, match=r"damaged\.bin: expected .*, found .*; fetch or build"):
        read(path)


@pytest.mark.parametrize(("content", "kind"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 20000\n", "a pointer of Git LFS"),
    (b"\x1f\x8b\x08" + bytes(2000), "a file packed by gzip"), (b"<!DOCTYPE html><title>404</title>", "a web page"),
])  # fmt: skip
def test_what_lies_there_instead_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DataError, match=f"expected a shard, found {kind}"):
        read_header(tmp_path / "a.bin")


def test_missing_files_and_folders_are_errors_that_name_them(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.bin", tmp_path):
        with pytest.raises(DataError, match=path.name):
            read_shard(path)
