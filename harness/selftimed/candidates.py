"""Candidates: the lines of a block that may be results, found in C over the whole block.

A candidate holds one of the literals that are wanted and has a HINT. What a line costs that is none may not depend on
what stands on it: a large block is compared byte by byte with each literal, all of it at once.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Places = np.ndarray[Any, np.dtype[np.bool_]]

LARGE_BYTES = 2**15  # from here on the whole block is cheaper than its lines one by one, even all that are candidates
HINT = re.compile(  # what every line has that read_line or read_later hears; begins with a set of bytes, for speed
    rb"[sSiIvV0-9\x1b](?:(?<=\x1b)|(?<=[0-9])/[0-9]|(?<=[vV])(?i:al(?:idation)?[ _/]?(?:loss|bpb))"
    rb"|(?<=s)topping_early|(?<![\w\"'`{(<.%-][sSi])(?:(?<=s):|(?<=[sS])tep[: ]|(?<=i)ter[ _]))"
)
_ANCHORS = (b"s:", b"step:", b"step ", b"Step:", b"Step ", b"iter ", b"iter_")  # the same, for a large block
_ANYWHERE = (b"\x1b", b"stopping_early")
_NOT_BEFORE = bytes(bool(re.match(rb"[\w\"'`{(<.%-]", bytes([byte]))) for byte in range(256))


def result_lines(block: bytes, wanted: tuple[bytes, ...]) -> Iterator[bytes]:
    """The candidates of a block of whole lines, in their order; wanted: literals, of which a candidate holds one."""
    if not any(literal in block for literal in wanted):
        return
    if len(block) >= LARGE_BYTES:
        yield from _of_large(block, wanted)
        return
    at, size, is_wanted = 0, len(block), _any_of(wanted).search
    while (hint := HINT.search(block, at)) is not None:
        start, end = block.rfind(b"\n", at, hint.start()) + 1 or at, block.find(b"\n", hint.start())
        end = size if end == -1 else end
        line = block[start:end]
        if is_wanted(line):
            yield line
        at = end + 1


@lru_cache(maxsize=64)
def _any_of(literals: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, literals)))


@lru_cache(maxsize=64)
def _least(literals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without those that hold another."""
    return tuple(one for one in literals if not any(other in one for other in literals if other != one))


def _of_large(block: bytes, wanted: tuple[bytes, ...]) -> Iterator[bytes]:
    import numpy as np  # here: a log of a few kilobytes is read without it, and sooner

    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.append(0, ends[:-1] + 1)
    found = np.zeros(len(block), np.bool_)
    for literal in _least(wanted):
        _mark(found, block, text, literal)
    has_literal = np.logical_or.reduceat(found, starts)
    if not has_literal.any():
        return
    is_candidate = has_literal & np.logical_or.reduceat(_hints(block, text), starts)
    for start, end in zip(starts[is_candidate].tolist(), ends[is_candidate].tolist(), strict=True):
        yield block[start:end]


def _hints(block: bytes, text: "Bytes") -> "Places":
    """Where a HINT begins."""
    import numpy as np

    found = np.zeros(len(block), np.bool_)
    for literal in _ANCHORS:
        _mark(found, block, text, literal)
    if found.any():
        found[1:] &= np.frombuffer(block.translate(_NOT_BEFORE), np.bool_)[:-1] == 0
    for literal in _ANYWHERE:
        _mark(found, block, text, literal)
    if b"/" in block:
        is_digit = text - ord("0") < 10  # of bytes: what is below wraps around
        found[:-2] |= is_digit[:-2] & (text[1:-1] == ord("/")) & is_digit[2:]
    lower = block.lower()
    if b"val" in lower:
        found |= _named(lower)
    return found


def _named(lower: bytes) -> "Places":
    """Where `val` or `validation`, a separator or none, and `loss` or `bpb` begin."""
    import numpy as np

    text = np.frombuffer(lower, np.uint8)
    val, idation, name = (np.zeros(len(lower) + 12, np.bool_) for _ in range(3))
    for places, literals in ((val, (b"val",)), (idation, (b"idation",)), (name, (b"loss", b"bpb"))):
        for literal in literals:
            _mark(places, lower, text, literal)
    name[: len(text) - 1] |= ((text[:-1] == ord(" ")) | (text[:-1] == ord("_")) | (text[:-1] == ord("/"))) & name[
        1 : len(text)
    ]
    name[:-7] |= idation[:-7] & name[7:]
    return val[: len(text)] & name[3 : len(text) + 3]


def _mark(places: "Places", block: bytes, text: "Bytes", literal: bytes) -> None:
    """Mark where a literal begins in a block."""
    if literal not in block:
        return
    count = len(text) - len(literal) + 1
    found = text[:count] == literal[0]
    for at, byte in enumerate(literal[1:], start=1):
        found &= text[at : count + at] == byte
    places[:count] |= found
