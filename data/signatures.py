"""Signatures: what kind of file begins with which bytes, to name what lies where a file of ours was expected."""

from .files import LFS_POINTER

_KINDS = {
    LFS_POINTER: "a pointer of Git LFS (run `git lfs pull`)", b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a file packed by gzip", b"\x28\xb5\x2f\xfd": "a file packed by zstd", b"PK\x03\x04": "a zip archive",
    b"BZh": "a file packed by bzip2", b"\xfd7zXZ": "a file packed by xz", b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file", b"\x80\x04\x95": "a pickle", b"ARROW1": "an Arrow file", b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}  # fmt: skip


def kind_of(head: bytes) -> str | None:
    """What begins so, in words; None where it is not known."""
    return next((kind for start, kind in _KINDS.items() if head.startswith(start)), None)
