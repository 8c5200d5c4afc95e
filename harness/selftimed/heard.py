"""The lines of a log that carry results, in bounded memory and time: the first ones as they come, and the last ones.

A bound on what is kept must not be a bound on what is heard. Beyond FIRST_LINES the text itself is remembered, its last
LATE_BYTES, and read when the log is over: then the last results are there. Of what is forgotten, the lines of
validations are kept where they are few.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field

from .candidates import result_lines
from .layouts import HeardLine, Layouts
from .lines import Found, LinePattern, read_later, read_line

FIRST_LINES = 100_000  # that may carry results, read as they come
LATE_BYTES = 2 * 2**20  # of text behind them
BETWEEN_LINES, BETWEEN_BYTES = 50_000, 32 * 2**20  # of validations in between
FEW = 2_000  # lines of validations in a block
DENSE_BYTES = 2**16  # what is kept of a block that holds more
TOGETHER_LINES = 4_096
ENOUGH_DECIMALS = 4  # of a number that nothing ends: trainers print four or more
_DECIMALS = re.compile(rb"\.([0-9]{0,18})$")
_FRACTION = re.compile(rb"\.([0-9]{1,18})")
_DIGITS = re.compile(rb"[0-9]+")
_STOPPED = re.compile(rb"stopping_early: ?wallclock_cap")


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
    _last: bytearray = field(default_factory=bytearray)  # of what is late
    _between: deque[bytes] = field(default_factory=deque)
    _between_bytes: int = 0
    _last_of: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    _layouts: Layouts = field(init=False)

    def __post_init__(self) -> None:
        self._layouts = Layouts(self.forms)

    def hear(self, block: bytes, *, is_cut: bool = False) -> None:
        """A block of whole lines; is_cut: a single one that nothing ends."""
        if self._lines < FIRST_LINES or is_cut:
            if is_cut:
                self._catch_up()
            self._read(block, is_cut=is_cut)
            return
        if not any(literal in block for literal in self.wanted):
            return  # chatter does not push results out
        self._last += block  # small pieces are one: what they cost may not depend on where they were cut
        if len(self._last) < LATE_BYTES // 4:
            return
        self._late.append(bytes(self._last))
        self._late_bytes += len(self._last)
        self._last.clear()
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
        while self._between:
            self._keep([self._between.popleft() for _ in range(min(TOGETHER_LINES, len(self._between)))])
        self._between_bytes = 0
        while self._late:
            self._read(self._late.popleft())
        self._read(bytes(self._last))
        self._last.clear()
        self._late_bytes = 0

    def _read(self, block: bytes, *, is_cut: bool = False) -> None:
        lines = list(result_lines(block, self.wanted))
        self._lines += len(lines)
        if b"stopping_early" in block and any(map(_STOPPED.search, lines)):
            self.stopped_by_clock = True
        if is_cut and any(map(self._ends_inside, lines)):
            self.cut_off = True
        else:
            self._keep(lines)

    def _keep(self, lines: list[bytes]) -> None:
        for line, text, known in self._layouts.read(lines):
            if known.is_odd:
                self.unread[known.front] += 1
                self.last_unread = line
            if (heard := known.heard(text)) is not None:
                self._kept.append(heard)
                if heard.form is not None:
                    self._last_of[heard.form.kind, heard.form.anchor] = line

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


def _is_short_of_digits(line: bytes) -> bool:
    """Whether a line ends in a number with fewer digits than the others on it, or with few where it stands alone."""
    others = [len(digits) for digits in _FRACTION.findall(line)[:-1]]
    return line[-1:].isdigit() and _decimals(line) < max(others, default=ENOUGH_DECIMALS)


def _decimals(line: bytes) -> int:
    match = _DECIMALS.search(line.rstrip())
    return len(match[1]) if match else 0
