"""Token files of others: what is asked of bytes before they are taken for tokens, and of training beside validation."""

import hashlib
import string
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import replace_file
from ..shards import MAGIC, read_shard

LLAMA_MAGIC = 20240801  # llm.c's shards of 32-bit tokens
LEAST_TOKENS = 256  # fewer are no stream of tokens, whatever else they are
_HEAD_BYTES = 2**20
_MODEL_MAGICS = {20240326, 20240327}  # llm.c's checkpoints
_FOREIGN = {
    b"version https://git-lfs": "a pointer of Git LFS (run `git lfs pull`)", b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a file packed by gzip", b"\x28\xb5\x2f\xfd": "a file packed by zstd", b"PK\x03\x04": "a zip archive",
    b"BZh": "a file packed by bzip2", b"\xfd7zXZ": "a file packed by xz", b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file", b"\x80\x04\x95": "a pickle", b"ARROW1": "an Arrow file", b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}  # fmt: skip
_PRINTABLE = np.isin(np.arange(256), np.frombuffer(string.printable.encode(), np.uint8))
_MOSTLY = 0.99
_COMPARED_NAME = ".compared"

Tokens = npt.NDArray[np.uint16]


def expect_tokens(path: Path) -> None:
    """Raise DataError for a file without a header whose bytes are no little-endian tokens of two bytes each."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    found = _found(head, size)
    if found is not None:
        raise DataError(
            f"{path}: expected tokens of two bytes each, found {found}; is this the .bin of nanoGPT or llm.c?"
        )
    if int.from_bytes(head[:4], "little") == LLAMA_MAGIC:
        raise DataError(
            f"{path}: expected 16-bit tokens, found llm.c's shard of 32-bit ones; no dataset here has these."
        )


def _found(head: bytes, size: int) -> str | None:
    """What bytes are that are no tokens; None where they look like some."""
    name = next((name for start, name in _FOREIGN.items() if head.startswith(start)), None)
    if name is not None:
        return name
    if head.startswith(LLAMA_MAGIC.to_bytes(4, "little")):
        return None  # it has a sentence of its own
    return _other_header(head) or _other_numbers(head, size)


def _other_header(head: bytes) -> str | None:
    if int.from_bytes(head[:4], "big") in {MAGIC, LLAMA_MAGIC, *_MODEL_MAGICS}:
        return "the header of a shard with its bytes in the other order"
    magic = int.from_bytes(head[:4], "little")
    return "llm.c's checkpoint of a model" if magic in _MODEL_MAGICS else None


def _other_numbers(head: bytes, size: int) -> str | None:
    if size % 2 or not size:
        return f"{size:,} bytes"
    if _PRINTABLE[np.frombuffer(head, np.uint8)].mean() >= _MOSTLY:
        return "printable text"
    if size < 2 * LEAST_TOKENS:
        return f"{size // 2:,} numbers, fewer than a window takes"
    tokens = np.frombuffer(head[: len(head) // 2 * 2], "<u2")
    if (tokens == tokens[0]).all():
        return f"nothing but the number {tokens[0]}"
    first, second = tokens[0::2], tokens[1::2]
    for zeros, others in ((first, second), (second, first)):
        if (zeros == 0).mean() >= _MOSTLY > (others == 0).mean():
            return "zeros in every second place, as numbers of four bytes have"
    return None


def refuse_repeats_between(
    paths: list[Path], sha256: dict[str, str], document_token: int | None, name: str, *, afresh: bool
) -> None:
    """The same for shards that lie in one folder, the first of them validation; `sha256` are their digests by name.

    Documents are compared once for the same bytes: what came out well is remembered beside the shards, in a file that
    is no evidence and that `afresh` looks past.
    """
    memory = paths[0].with_name(_COMPARED_NAME)
    compared = hashlib.sha256(repr((document_token, [(path.name, sha256[path.name]) for path in paths])).encode())
    with suppress(OSError):
        if not afresh and memory.read_text(encoding="ascii", errors="replace").strip() == compared.hexdigest():
            return
    refuse_repeats(read_shard(paths[0]), [read_shard(path) for path in paths[1:]], document_token, name)
    with suppress(OSError):  # the folder may be shared and read-only: then every call compares
        replace_file(memory, [f"{compared.hexdigest()}\n".encode()])


def refuse_repeats(val: Tokens, train: list[Tokens], document_token: int | None, name: str) -> None:
    """Raise DataError where training data holds the validation data, as a whole or one of its documents."""
    count, found = find_repeats(val, train, document_token)
    if count:
        raise DataError(
            f"{name}: expected training data without the validation data, found {found}; leave them out, or import it "
            "with --duplicates keep."
        )


def find_repeats(val: Tokens, train: list[Tokens], document_token: int | None) -> tuple[int, str]:
    """How much of validation is in training too, and in words.

    Without a `document_token` the text is one document, and its first and last tokens are looked for.
    """
    if val.size >= LEAST_TOKENS and any(part.size == val.size and bool((part == val).all()) for part in train):
        return 1, "a training shard that is the validation shard"
    if document_token is None:
        ends = (val[:LEAST_TOKENS].tobytes(), val[-LEAST_TOKENS:].tobytes())
        is_in = val.size >= LEAST_TOKENS and all(any(_holds(part, end) for part in train) for end in ends)
        return int(is_in), "training data that holds the validation data"
    known = {digest for digest, size in _documents([val], document_token) if size}
    hits = sum(digest in known for digest, size in _documents(train, document_token) if size)
    return hits, f"{hits:,} training documents that are in validation too"


def _holds(part: Tokens, wanted: bytes) -> bool:
    step, overlap = 2**24, len(wanted) // 2
    for start in range(0, part.size, step):
        block = part[start : start + step + overlap].tobytes()
        at = block.find(wanted)
        while at != -1:
            if at % 2 == 0:
                return True
            at = block.find(wanted, at + 1)
    return False


def _documents(parts: Iterable[Tokens], document_token: int) -> Iterator[tuple[bytes, int]]:
    """(digest, tokens) of every whole document; one goes on where the next part does not begin with its token.

    What stands before the first token of a document, or behind the last one of the whole, may be cut: it is asked for
    as it is.
    """
    open_sha, open_size = hashlib.sha256(), 0
    for part in parts:
        starts = np.flatnonzero(part == document_token).tolist()
        for begin, end in pairwise([0, *starts, part.size]):
            at = begin
            if at < part.size and part[at] == document_token and (at > 0 or starts[:1] == [0]) and end > at:
                yield open_sha.digest(), open_size
                open_sha, open_size = hashlib.sha256(), 0
                at += 1
            open_sha.update(part[at:end].astype("<u2", copy=False).tobytes())
            open_size += max(0, end - at)
    yield open_sha.digest(), open_size
