"""Layouts of result lines, remembered: a line that differs in its digits only from one that was read is read by it.

What a line costs that was never seen is bounded too: what is remembered is thrown away when it is much, and nothing
depends on it but time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .fronts import ZEROS, rank_span, shape
from .lines import (
    READ_BYTES,
    Heads,
    LaterLayout,
    LaterResult,
    Layout,
    LinePattern,
    Reading,
    by_anchor,
    lay_out,
    lay_out_later,
    plain,
)

MAX_SHAPES = 64
MAX_LAYOUTS, LAYOUT_BYTES = 4_096, 512  # layouts remembered, and how long their lines may be
_NO_RANK = slice(0)


class HeardLine(NamedTuple):
    """A line: a result (form and reading), or a later one. shape, rank: of what stands before it."""

    form: LinePattern | None
    reading: Reading | None
    shape: bytes = b""
    rank: bytes = b""
    later: LaterResult | None = None


class Known(NamedTuple):
    """What is known of every line of one layout. is_result: it can be read; is_odd: not all that it promises."""

    layout: Layout | None = None
    front: bytes = b""
    rank: slice = _NO_RANK
    later: LaterLayout | None = None
    is_result: bool = False
    is_odd: bool = False

    def heard(self, text: bytes) -> HeardLine | None:
        """What a plain line of this layout says."""
        if self.layout is None:
            return None if self.later is None else HeardLine(None, None, later=self.later.result(text))
        if not self.is_result:
            return None
        return HeardLine(self.layout.form, self.layout.reading(text), self.front, text[self.rank])


_CHATTER = Known()


@dataclass(slots=True)
class Layouts:
    """Reads lines in these forms. No line holds an end of a line, a carriage return neither."""

    forms: tuple[LinePattern, ...]
    _table: dict[bytes, Heads] = field(init=False)
    _shapes: dict[bytes, bytes] = field(default_factory=dict)
    _known: dict[bytes, Known] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._table = by_anchor(self.forms)

    def read(self, lines: list[bytes]) -> Iterator[tuple[bytes, bytes, Known]]:
        """Each line, what is read of it, and what is known of those like it."""
        together = b"\n".join(lines)  # what is done to each is done in C to all of them
        texts = lines
        if b"\x1b" in together or max(map(len, lines), default=0) > READ_BYTES:
            texts = list(map(plain, lines))
            together = b"\n".join(texts)
        # a digit is a digit but in 1.#QNAN
        keys = together.replace(b"1.#", b"\r.#").translate(ZEROS).split(b"\n")
        known_of = self._known.get
        for line, text, key in zip(lines, texts, keys, strict=False):  # no lines: one empty key
            known = known_of(key)
            if known is None:
                known = self._lay_out(text)
                if len(key) <= LAYOUT_BYTES:
                    if len(self._known) >= MAX_LAYOUTS:
                        self._known.clear()
                    self._known[key] = known
            yield line, text, known

    def _lay_out(self, text: bytes) -> Known:
        if (layout := lay_out(text, self._table)) is not None:
            is_result = layout.fields is not None
            is_odd = layout.in_part or not is_result
            if not layout.at:
                return Known(layout, self._shape(b""), _NO_RANK, None, is_result, is_odd)
            prefix = text[: layout.at]
            return Known(layout, self._shape(prefix), rank_span(prefix), None, is_result, is_odd)
        later = lay_out_later(text)
        return _CHATTER if later is None else Known(later=later)

    def _shape(self, prefix: bytes) -> bytes:
        """The shape of a prefix, each object once; beyond MAX_SHAPES all are one."""
        front = shape(prefix)
        if front not in self._shapes and len(self._shapes) >= MAX_SHAPES:
            front = b"..."
        return self._shapes.setdefault(front, front)
