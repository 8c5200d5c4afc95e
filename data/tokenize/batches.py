"""Batches of documents: cheap to read and to send, parsed where their tokens are made."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

TEXT_FIELD = "text"


class MalformedError(Exception):
    """Document number `index` of a batch is not what it should be: `expected` this, `found` that."""

    def __init__(self, index: int, expected: str, found: str) -> None:
        super().__init__(index, expected, found)
        self.index, self.expected, self.found = index, expected, found


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where a batch starts: which input, which byte (row in Parquet), and whether that is inside a document."""

    source: int = 0
    offset: int = 0
    inside: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some documents in a row of one input, not yet parsed.

    `lengths` are the bytes of each text in `payload`, or None for lines of JSON. With `open_end` the last document
    goes on in the next batch. `consumed` is how many bytes of the input are behind its end.
    """

    start: Position
    payload: bytes
    lengths: tuple[int, ...] | None
    open_end: bool = False
    consumed: int = 0

    def texts(self) -> list[str]:
        """Return the documents; MalformedError with the index of the line or row that is none."""
        if self.lengths is None:
            return [_parse(index, line) for index, line in enumerate(_lines(self.payload))]
        bounds = accumulate(self.lengths, initial=0)
        return [_decode(index, self.payload[a:b]) for index, (a, b) in enumerate(pairwise(bounds))]

    def line_of(self, index: int) -> int:
        """Return the line, counted from 0 within the payload, that document number `index` begins on."""
        if self.lengths is not None:
            return self.payload[: sum(self.lengths[:index])].count(b"\n")
        numbers = [number for number, line in enumerate(self.payload.split(b"\n")) if line.strip()]
        return numbers[index]


def _lines(payload: bytes) -> Iterator[bytes]:
    """Blank lines are no documents."""
    return (line for line in payload.split(b"\n") if line.strip())


def _parse(index: int, line: bytes) -> str:
    try:
        record = json.loads(_decode(index, line))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise MalformedError(index, "a JSON object", f"'{error}'") from error
    text = record.get(TEXT_FIELD) if isinstance(record, dict) else None
    if not isinstance(text, str):
        found = f"{TEXT_FIELD} of type {type(text).__name__}" if isinstance(record, dict) else type(record).__name__
        raise MalformedError(index, f"a JSON object whose {TEXT_FIELD} is a string", found)
    if b"\\ud" not in line.lower():  # JSON has no other way to write half of a pair
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError(index, "text that UTF-8 can hold", "half of a surrogate pair") from error
    return text


def _decode(index: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(index, "UTF-8", f"byte 0x{raw[error.start]:02x}") from error
