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
    goes on in the next batch. `consumed` is how many bytes of the input are behind its end, `missing` are the indices
    of rows without a text. With `skip_bad` documents that are none are left out and told by their indices.
    """

    start: Position
    payload: bytes
    lengths: tuple[int, ...] | None
    open_end: bool = False
    consumed: int = 0
    missing: tuple[int, ...] = ()
    skip_bad: bool = False

    def texts(self) -> dict[int, str]:
        """Return the documents by index; MalformedError with the index of the line or row that is none."""
        texts = {}
        for index, raw in enumerate(self._raw()):
            try:
                if index in self.missing:
                    raise MalformedError(index, TEXT_FIELD, "null")
                texts[index] = _parse(index, raw) if self.lengths is None else _decode(index, raw)
            except MalformedError:
                if not self.may_skip(index):
                    raise
        return texts

    def may_skip(self, index: int) -> bool:
        """Whether a document may be left out: one that all of lies in this batch, where that was asked for."""
        return self.skip_bad and not (self.start.inside and index == 0) and not (self.open_end and index == self._last)

    def count(self) -> int:
        """Return how many documents there are, those that are none among them."""
        return sum(1 for _ in self._raw())

    @property
    def _last(self) -> int:
        return -1 if self.lengths is None else len(self.lengths) - 1

    def _raw(self) -> Iterator[bytes]:
        if self.lengths is None:
            return _lines(self.payload)
        return (self.payload[a:b] for a, b in pairwise(accumulate(self.lengths, initial=0)))

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
