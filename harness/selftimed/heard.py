"""The lines of a log that carry results, in bounded memory and time: the first ones as they come, and the last ones.

A bound on what is kept must not be a bound on what is heard. Beyond FIRST_LINES the text itself is remembered, its last
LATE_BYTES, and read when the log is over: then the last results are there. Of what is forgotten, the lines of
validations are kept where they are few.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field

from .lines import Found, LaterResult, LinePattern, Reading, rank_label, read_later, read_line, shape

FIRST_LINES = 100_000  # that may carry results, read as they come
LATE_BYTES = 4 * 2**20  # of text behind them
BETWEEN_LINES = 50_000  # of validations in between
FEW = 2_000  # lines of validations in a block
DENSE_BYTES = 2**16  # what is kept of a block that holds more
MAX_SHAPES = 64
SHOWN_CHARACTERS = 60
ENOUGH_DECIMALS = 4  # of a number that nothing ends: trainers print four or more
_DECIMALS = re.compile(rb"\.([0-9]{0,18})$")
_FRACTION = re.compile(rb"\.([0-9]{1,18})")
_DIGITS = re.compile(rb"[0-9]+")
_STOPPED = re.compile(rb"stopping_early: ?wallclock_cap")


@dataclass(frozen=True, slots=True)
class HeardLine:
    """A line: a result (form and reading), or a later one. shape, rank: of what stands before it."""

    form: LinePattern | None
    reading: Reading | None
    shape: bytes = b""
    rank: bytes = b""
    later: LaterResult | None = None


@dataclass(slots=True)
class Heard:
    """Every line that may carry a result. wanted: what they hold; telling: what only validations hold."""

    forms: tuple[LinePattern, ...]
    wanted: tuple[bytes, ...]
    telling: tuple[bytes, ...]
    unread: Counter[bytes] = field(default_factory=Counter)  # lines that only begin like results, by shape
    last_unread: str = ""
    cut_off: bool = False  # the last line ends inside its number
    stopped_by_clock: bool = False
    forgotten: bool = False  # whether lines in the middle were not kept
    _kept: list[HeardLine] = field(default_factory=list)
    _lines: int = 0
    _late: deque[bytes] = field(default_factory=deque)
    _late_bytes: int = 0
    _between: deque[bytes] = field(default_factory=lambda: deque(maxlen=BETWEEN_LINES))
    _shapes: dict[bytes, bytes] = field(default_factory=dict)
    _last_of: dict[tuple[str, bytes], bytes] = field(default_factory=dict)

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
        if (
            sum(map(block.count, self.telling)) > FEW
        ):  # too dense to look through: its end, which may be the last of all
            block = block[block.find(b"\n", len(block) - DENSE_BYTES) + 1 :] if len(block) > DENSE_BYTES else block
        self._between.extend(lines_with(block, self.telling))

    def _catch_up(self) -> None:
        for line in self._between:
            self._keep(self._kept, line)
        self._between.clear()
        while self._late:
            self._read(self._late.popleft())
        self._late_bytes = 0

    def _read(self, block: bytes, *, is_cut: bool = False) -> None:
        for line in lines_with(block, self.wanted):
            self._lines += 1
            if b"stopping_early" in line and _STOPPED.search(line):
                self.stopped_by_clock = True
            self._keep(self._kept, line, is_cut=is_cut)

    def _keep(self, kept: list[HeardLine], line: bytes, *, is_cut: bool = False) -> None:
        found = read_line(line, self.forms)
        if found is None:
            if (later := read_later(line)) is not None:
                is_part = is_cut and _is_short_of_digits(line)
                self.cut_off |= is_part
                kept.extend([] if is_part else [HeardLine(None, None, later=later)])
            return
        front = self._shape(found.prefix)
        if found.reading is None or found.in_part:
            self._note_unread(line, front)
        if found.reading is None:
            return
        if is_cut and self._is_cut_off(found, line):
            self.cut_off = True
            return
        self._last_of[found.line.kind, found.line.anchor] = line
        kept.append(HeardLine(found.line, found.reading, front, rank_label(found.prefix)))

    def _note_unread(self, line: bytes, front: bytes) -> None:
        self.unread[front] += 1
        text = line[:SHOWN_CHARACTERS].decode(errors="replace")
        self.last_unread = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

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


def lines_with(block: bytes, wanted: tuple[bytes, ...]) -> list[bytes]:
    """The lines that hold one of the literals, in their order."""
    spans = set()
    for literal in wanted:
        at = block.find(literal)
        while at != -1:
            end = block.find(b"\n", at)
            end = len(block) if end == -1 else end
            spans.add((block.rfind(b"\n", 0, at) + 1, end))
            at = block.find(literal, end)
    return [block[start:end] for start, end in sorted(spans)]
