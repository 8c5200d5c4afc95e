"""Plots as text: braille dots for a terminal, and letters where a name is needed.

Nothing is said by colour: series carry letters, so a plot reads the same in a pipe, in a file and for everybody's eyes.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.formats import numbers

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row, then column, of a cell
BLOCKS = "▁▂▃▄▅▆▇█"
LABEL_CELLS = 10
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Series:
    """Points in order of x. letter: drawn at the last one. steps: y holds until the next point."""

    xs: Sequence[float]
    ys: Sequence[float]
    letter: str = ""
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A letter at a point, wherever the lines are."""

    x: float
    y: float
    letter: str


@dataclass(slots=True)
class _Grid:
    """Dots and letters of one plot; columns and rows count dots from the upper left."""

    cells: int
    height: int
    dots: list[list[int]] = field(init=False)
    letters: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dots = [[0] * self.cells for _ in range(self.height)]

    def line(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1) + 1
        for i in range(steps):
            share = i / (steps - 1)
            column, row = (round(a + share * (b - a)) for a, b in zip(start, end, strict=True))
            self.dots[row // 4][column // 2] |= DOTS[row % 4][column % 2]

    def letter(self, place: tuple[int, int], letter: str) -> None:
        """In the cell of a dot, or the next free one beside it."""
        row, column = place[1] // 4, place[0] // 2
        free = (c for d in range(self.cells) for c in (column + d, column - d) if 0 <= c < self.cells)
        chosen = next((c for c in free if (row, c) not in self.letters), column)
        self.letters[row, chosen] = letter

    def lines(self) -> list[str]:
        return [
            "".join(self.letters.get((row, column), chr(BRAILLE + dots)) for column, dots in enumerate(cells)).rstrip(
                chr(BRAILLE)
            )
            for row, cells in enumerate(self.dots)
        ]


def plot(
    series: Sequence[Series], width: int = 72, height: int = 14, *, log: bool = False, marks: Sequence[Mark] = ()
) -> list[str]:
    """Lines of text at most `width` wide (but for very narrow ones) with the ends of both axes.

    log: the y axis is logarithmic, and points at or below zero are left out. None without two points.
    """
    kept = [_visible(one, log) for one in series]
    points = [point for one in kept for point in one]
    if len(points) < 2 or height < 2:
        return []
    x_ends, y_ends = _ends([x for x, _ in points]), _ends([_scaled(y, log) for _, y in points])
    grid = _Grid(max(width - LABEL_CELLS - 1, 4), height)

    def place(x: float, y: float) -> tuple[int, int]:
        bottom = height * 4 - 1
        return _place(x, *x_ends, grid.cells * 2), bottom - _place(_scaled(y, log), *y_ends, height * 4)

    for one, shown in zip(series, kept, strict=True):
        _draw(grid, [place(x, y) for x, y in shown], one)
    for mark in marks:
        if not log or mark.y > 0:
            grid.letter(place(mark.x, mark.y), mark.letter)
    labels = {0: y_ends[1], height - 1: y_ends[0]} | ({height // 2: sum(y_ends) / 2} if height > 6 else {})
    texts = {row: numbers.axis(math.exp(value) if log else value) for row, value in labels.items()}
    lines = [f"{texts.get(row, ''):>{LABEL_CELLS}} {line}" for row, line in enumerate(grid.lines())]
    left, right = map(numbers.axis, x_ends)
    return [*lines, " " * (LABEL_CELLS + 1) + left + right.rjust(grid.cells - len(left))]


def curve(xs: Sequence[float], ys: Sequence[float], width: int = 72, height: int = 14) -> list[str]:
    """Lines of text that show ys over xs, with the ends of both axes; none without two finite points."""
    return plot([Series(xs, ys)], width, height)


def robust_top(ys: Sequence[float], share: float = 0.85) -> float:
    """The value that so many of the ys stay below: a loss at step 0 would flatten the rest of a curve."""
    ordered = sorted(y for y in ys if math.isfinite(y))
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """One character per value, taller for a larger logarithm; evenly thinned, the first and the last among them."""
    found = [value for value in values if math.isfinite(value) and value > 0]
    if len(found) > width:
        found = [found[i * (len(found) - 1) // (width - 1)] for i in range(width)]
    if not found:
        return ""
    low, high = math.log(min(found)), math.log(max(found))
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((math.log(value) - low) * scale)] for value in found)


def strip(values: Sequence[float], interval: tuple[float, float] | None, ends: tuple[float, float], cells: int) -> str:
    """One row: a dot per value, ├─┤ over an interval and a bar at its middle, between two ends of an axis."""
    row = [" "] * cells
    low, high = _ends(list(ends))
    if interval is not None:
        start, end = (_place(min(max(value, low), high), low, high, cells) for value in interval)
        row[start : end + 1] = ["─"] * (end + 1 - start)
        row[start], row[end] = "├", "┤"
    for value in values:
        at = _place(min(max(value, low), high), low, high, cells)
        row[at] = "●" if row[at] in "●•" else "•"
    if interval is not None:
        row[_place(min(max(sum(interval) / 2, low), high), low, high, cells)] = "┃"
    return "".join(row)


def _visible(series: Series, log: bool) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in zip(series.xs, series.ys, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)
    ]


def _draw(grid: _Grid, places: list[tuple[int, int]], series: Series) -> None:
    if len(places) == 1:
        grid.line(places[0], places[0])
    for start, end in itertools.pairwise(places):
        if series.steps:
            corner = (end[0], start[1])
            grid.line(start, corner)
            grid.line(corner, end)
        else:
            grid.line(start, end)
    if places and series.letter:
        grid.letter(places[-1], series.letter)


def smoothed(ys: Sequence[float], share: float = 0.08) -> list[float]:
    """Running means over such a share of the points around each: the trend of a noisy curve."""
    reach = int(len(ys) * share / 2)
    windows = [ys[max(i - reach, 0) : i + reach + 1] for i in range(len(ys))]
    return [math.fsum(window) / len(window) for window in windows]


def _scaled(value: float, log: bool) -> float:
    return math.log(value) if log else value


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _place(value: float, low: float, high: float, places: int) -> int:
    return min(int((value - low) / (high - low) * places), places - 1)
