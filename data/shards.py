"""Token shards: the `.bin` format every NanoGPT speedrun reads.

    offset  bytes       content
    0       1024        header: 256 little-endian int32 = magic 20240520, version 1, token count, zeros
    1024    2 * count   the tokens, little-endian uint16

The format is that of llm.c and modded-nanogpt, byte for byte, so their shards and ours are interchangeable.
"""

import os
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import DataError
from .files import LFS_POINTER, PACKED, replace_file

HEADER_BYTES = 1024
MAGIC = 20240520
VERSION = 1
TOKEN_BYTES = 2
MAX_TOKENS = 2**31 - 1  # the count is an int32

_HEADER_DTYPE = np.dtype("<i4")
_TOKEN_DTYPE = np.dtype("<u2")
_MAX_TOKEN = 2**16 - 1
_REMEDY = "fetch or build the file again"
_FOREIGN = {start: f"a file packed by {name}" for start, name in PACKED.items()} | {
    LFS_POINTER: "a pointer of Git LFS (run `git lfs pull`)", b"\x93NUMPY": "a NumPy array", b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file", b"\x80\x04\x95": "a pickle", b"ARROW1": "an Arrow file", b"<!DOCTYPE": "a web page",
    b"<html": "a web page", b"PK\x03\x04": "a zip archive",
}  # fmt: skip


def read_header(path: Path) -> int:
    """Check the header and the exact length of the shard at `path` and return its token count.

    Raises DataError when the file cannot be opened, is no shard of version 1, or is longer or shorter than its
    header says.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: expected a shard, found a special file; {_REMEDY}.")
            header = file.read(HEADER_BYTES)
        file_bytes = status.st_size
    except OSError as error:
        raise DataError(f"{path}: expected a readable shard, found '{error.strerror}'; {_REMEDY}.") from error
    if (kind := foreign_kind(header)) is not None:
        raise DataError(f"{path}: expected a shard, found {kind}; {_REMEDY}.")
    if len(header) < HEADER_BYTES:
        raise DataError(f"{path}: expected a header of {HEADER_BYTES} bytes, found {len(header)}; {_REMEDY}.")
    magic, version, token_count = (int(field) for field in np.frombuffer(header, _HEADER_DTYPE)[:3])
    _expect(path, "magic", MAGIC, magic)
    _expect(path, "version", VERSION, version)
    if token_count < 0:
        raise DataError(f"{path}: expected a token count of 0 or more, found {token_count}; {_REMEDY}.")
    _expect(path, "length in bytes", HEADER_BYTES + TOKEN_BYTES * token_count, file_bytes)
    return token_count


def read_shard(path: Path) -> npt.NDArray[np.uint16]:
    """Return the tokens of the shard at `path`: uint16 [token_count], read-only, mapped rather than read.

    Raises DataError as read_header does.
    """
    token_count = read_header(path)
    if token_count == 0:  # an empty range cannot be mapped
        empty = np.empty(0, _TOKEN_DTYPE)
        empty.flags.writeable = False
        return empty
    return np.memmap(path, _TOKEN_DTYPE, mode="r", offset=HEADER_BYTES, shape=(token_count,))


def write_shard(path: Path, tokens: npt.ArrayLike) -> None:
    """Write `tokens`, integers [token_count] within 0..65535, as the shard `path`, atomically.

    Raises DataError when `tokens` is not one row of integers that fit into uint16; an existing shard then stays
    as it was.
    """
    array = _as_tokens(path, tokens)
    replace_file(path, [make_header(array.size), array.tobytes()])


def make_header(token_count: int) -> bytes:
    """Return the 1024 bytes that stand before `token_count` tokens, at most MAX_TOKENS of them."""
    header = np.zeros(HEADER_BYTES // _HEADER_DTYPE.itemsize, _HEADER_DTYPE)
    header[:3] = MAGIC, VERSION, token_count
    return header.tobytes()


def foreign_kind(head: bytes) -> str | None:
    """What kind of file begins so, in words, to name what lies in a shard's place; None where it is not known."""
    return next((kind for start, kind in _FOREIGN.items() if head.startswith(start)), None)


def _expect(path: Path, what: str, expected: int, found: int) -> None:
    if found != expected:
        raise DataError(f"{path}: expected {what} {expected}, found {found}; {_REMEDY}.")


def _as_tokens(path: Path, tokens: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    array = np.asarray(tokens)
    if array.ndim != 1 or array.size > MAX_TOKENS:
        raise DataError(
            f"{path}: expected one row of at most {MAX_TOKENS} tokens, found shape {array.shape}; split it into shards."
        )
    if array.size == 0:
        return np.empty(0, _TOKEN_DTYPE)
    if array.dtype.kind not in "ui":
        raise DataError(f"{path}: expected integer tokens, found dtype {array.dtype}; convert them first.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > _MAX_TOKEN:
        raise DataError(
            f"{path}: expected tokens within 0..{_MAX_TOKEN}, found {low}..{high}; use a vocabulary that fits uint16."
        )
    return array.astype(_TOKEN_DTYPE)
