"""Token files of others: what is asked of bytes before they are taken for tokens."""

import string
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..overlap import LEAST_TOKENS
from ..shards import MAGIC, foreign_kind

LLAMA_MAGIC = 20240801  # llm.c's shards of 32-bit tokens
_HEAD_BYTES = 2**20
_MODEL_MAGICS = {20240326, 20240327}  # llm.c's checkpoints
_PRINTABLE = np.isin(np.arange(256), np.frombuffer(string.printable.encode(), np.uint8))
_MOSTLY = 0.99


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
    if (kind := foreign_kind(head)) is not None:
        return kind
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
    if size < 2 * LEAST_TOKENS:  # fewer are no stream of tokens, whatever else they are
        return f"{size // 2:,} numbers, fewer than a window takes"
    tokens = np.frombuffer(head[: len(head) // 2 * 2], "<u2")
    if (tokens == tokens[0]).all():
        return f"nothing but the number {tokens[0]}"
    first, second = tokens[0::2], tokens[1::2]
    for zeros, others in ((first, second), (second, first)):
        if (zeros == 0).mean() >= _MOSTLY > (others == 0).mean():
            return "zeros in every second place, as numbers of four bytes have"
    return None
