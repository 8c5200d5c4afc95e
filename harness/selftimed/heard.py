"""The lines of a log that carry results, in bounded memory and time: the first ones as they come, and the last ones.

A bound on what is kept must not be a bound on what is heard. Beyond FIRST_LINES the text itself is remembered, its last
LATE_BYTES, and read when the log is over: then the last results are there. Of what is forgotten, the lines of
validations are kept where they are few.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from .candidates import result_lines
from .lines import (
    Found,
    LaterLayout,
    LaterResult,
    Layout,
    LinePattern,
    Reading,
    lay_out,
    lay_out_later,
    plain,
    rank_span,
    read_later,
    read_line,
    same_layout,
    shape,
)  # fmt: skip

FIRST_LINES = 100_000  # that may carry results, read as they come
LATE_BYTES = 2 * 2**20  # of text behind them
BETWEEN_LINES, BETWEEN_BYTES = 50_000, 32 * 2**20  # of validations in between
FEW = 2_000  # lines of validations in a block
DENSE_BYTES = 2**16  # what is kept of a block that holds more
MAX_SHAPES = 64
MAX_LAYOUTS, LAYOUT_BYTES = 4_096, 512  # layouts remembered, and how long their lines may be
ENOUGH_DECIMALS = 4  # of a number that nothing ends: trainers print four or more
_DECIMALS = re.compile(rb"\.([0-9]{0,18})$")
_FRACTION = re.compile(rb"\.([0-9]{1,18})")
_DIGITS = re.compile(rb"[0-9]+")
_STOPPED = re.compile(rb"stopping_early: ?wallclock_cap")


class HeardLine(NamedTuple):
    """A line: a result (form and reading), or a later one. shape, rank: of what stands before it."""

    form: LinePattern | None
    reading: Reading | None
    shape: bytes = b""
    rank: bytes = b""
    later: LaterResult | None = None


class _Known(NamedTuple):
    """What is known of every line of one layout."""

    layout: Layout | None = None
    front: bytes = b""
    rank: slice = slice(0)
    later: LaterLayout | None = None


_CHATTER = _Known()


@dataclass(slots=True)
class Heard:
    """Every line that may carry a result. wanted: what they hold; telling: what only validations hold."""

    forms: tuple[LinePattern, ...]
    wanted: tuple[bytes, ...]
    telling: tuple[bytes, ...]
    unread: Counter[bytes] = field(default_factory=Counter)  # lines that only begin like results, by shape
    last_unread: bytes = b""
    cut_off: bool = False  # the last line ends inside its number
    stopped_by_clock: bool = False
    forgotten: bool = False  # whether lines in the middle were not kept
    _kept: list[HeardLine] = field(default_factory=list)
    _lines: int = 0
    _late: deque[bytes] = field(default_factory=deque)
    _late_bytes: int = 0
    _between: deque[bytes] = field(default_factory=deque)
    _between_bytes: int = 0
    _shapes: dict[bytes, bytes] = field(default_factory=dict)
    _last_of: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    _layouts: dict[bytes, _Known] = field(default_factory=dict)

    def hear(self, block: bytes, *, is_cut: bool = False) -> None:
        """A block of whole lines; is_cut: a single one that nothing ends."""
        if self._lines < FIRST_LINES or is_cut:
            if is_cut:
                self._catch_up()
            self._read(block, is_cut=is_cut)
            return
        if not any(literal in block for literal in self.wanted):
            return  # chatter does not push results out
        self._late.append(block)
        self._late_bytes += len(block)
        while self._late_bytes > LATE_BYTES and len(self._late) > 1:
            block = self._late.popleft()
            self._late_bytes -= len(block)
            self._forget(block)

    def lines(self) -> list[HeardLine]:
        """All that was kept, in the order it came."""
        self._catch_up()
        return self._kept

    def _forget(self, block: bytes) -> None:
        self.forgotten = True
        if sum(map(block.count, self.telling)) > FEW and len(block) > DENSE_BYTES:
            block = block[block.find(b"\n", len(block) - DENSE_BYTES) + 1 :]  # its end, which may be the last of all
        for line in result_lines(block, self.telling):
            self._between.append(line)
            self._between_bytes += len(line)
        while len(self._between) > BETWEEN_LINES or self._between_bytes > BETWEEN_BYTES:
            self._between_bytes -= len(self._between.popleft())

    def _catch_up(self) -> None:
        for line in self._between:
            self._keep(line)
        self._between.clear()
        self._between_bytes = 0
        while self._late:
            self._read(self._late.popleft())
        self._late_bytes = 0

    def _read(self, block: bytes, *, is_cut: bool = False) -> None:
        for line in result_lines(block, self.wanted):
            self._lines += 1
            if b"stopping_early" in line and _STOPPED.search(line):
                self.stopped_by_clock = True
            if is_cut and self._ends_inside(line):
                self.cut_off = True
            else:
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = plain(line)
        key = same_layout(text)
        known = self._layouts.get(key) if key is not None else None
        if known is None:
            known = self._lay_out(text)
            if key is not None and len(key) <= LAYOUT_BYTES:
                if len(self._layouts) >= MAX_LAYOUTS:
                    self._layouts.clear()
                self._layouts[key] = known
        layout, front, rank, later = known
        if layout is None:
            if later is not None:
                self._kept.append(HeardLine(None, None, later=later.result(text)))
            return
        if layout.fields is None or layout.in_part:
            self.unread[front] += 1
            self.last_unread = line
        if layout.fields is not None:
            self._last_of[layout.form.kind, layout.form.anchor] = line
            self._kept.append(HeardLine(layout.form, layout.reading(text), front, text[rank]))

    def _lay_out(self, text: bytes) -> _Known:
        if (layout := lay_out(text, self.forms)) is not None:
            prefix = text[: layout.at]
            return _Known(layout, self._shape(prefix), rank_span(prefix))
        later = lay_out_later(text)
        return _CHATTER if later is None else _Known(later=later)

    def _ends_inside(self, line: bytes) -> bool:
        """Whether a line that nothing ends may end inside its number."""
        found = read_line(line, self.forms)
        if found is None:
            return read_later(line) is not None and _is_short_of_digits(line)
        return found.reading is not None and self._is_cut_off(found, line)

    def _is_cut_off(self, found: Found, line: bytes) -> bool:
        """Whether a line that nothing ends may end inside a number: not as the one before, or with fewer digits."""
        if not line[-1:].isdigit() and line[-1:] != b".":
            return False
        before = self._last_of.get((found.line.kind, found.line.anchor))
        if before is None:
            return _decimals(line) < ENOUGH_DECIMALS
        return _DIGITS.sub(b"#", line) != _DIGITS.sub(b"#", before) or _decimals(line) < _decimals(before)

    def _shape(self, prefix: bytes) -> bytes:
        """The shape of a prefix, each object once; beyond MAX_SHAPES all are one."""
        front = shape(prefix)
        if front not in self._shapes and len(self._shapes) >= MAX_SHAPES:
            front = b"..."
        return self._shapes.setdefault(front, front)


def _is_short_of_digits(line: bytes) -> bool:
    """Whether a line ends in a number with fewer digits than the others on it, or with few where it stands alone."""
    others = [len(digits) for digits in _FRACTION.findall(line)[:-1]]
    return line[-1:].isdigit() and _decimals(line) < max(others, default=ENOUGH_DECIMALS)


def _decimals(line: bytes) -> int:
    match = _DECIMALS.search(line.rstrip())
    return len(match[1]) if match else 0
