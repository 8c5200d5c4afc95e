"""A curve as text: braille dots for a terminal, two by four to a cell."""

import itertools
import math
from collections.abc import Sequence

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row, then column, of a cell
LABEL_CELLS = 10


def curve(xs: Sequence[float], ys: Sequence[float], width: int = 72, height: int = 14) -> list[str]:
    """Lines of text that show ys over xs, with the ends of both axes; none without two finite points."""
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    cells = max(width - LABEL_CELLS - 1, 4)
    if len(points) < 2 or height < 2:
        return []
    (left, right), (low, high) = (_ends([p[axis] for p in points]) for axis in (0, 1))
    grid = [[0] * cells for _ in range(height)]
    places = [(_place(x, left, right, cells * 2), height * 4 - 1 - _place(y, low, high, height * 4)) for x, y in points]
    for (column, row), (next_column, next_row) in itertools.pairwise(places):
        for i in range(steps := max(abs(next_column - column), abs(next_row - row), 1) + 1):
            share = i / max(steps - 1, 1)
            _dot(grid, round(column + share * (next_column - column)), round(row + share * (next_row - row)))
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    lines = [
        f"{labels.get(number, ''):>{LABEL_CELLS}} " + "".join(chr(BRAILLE + dots) for dots in row).rstrip(chr(BRAILLE))
        for number, row in enumerate(grid)
    ]
    ends = f"{left:g}", f"{right:g}"
    return [*lines, " " * (LABEL_CELLS + 1) + ends[0] + ends[1].rjust(cells - len(ends[0]))]


def robust_top(ys: Sequence[float], share: float = 0.85) -> float:
    """The value that so many of the ys stay below: a loss at step 0 would flatten the rest of a curve."""
    ordered = sorted(y for y in ys if math.isfinite(y))
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _place(value: float, low: float, high: float, places: int) -> int:
    return min(int((value - low) / (high - low) * places), places - 1)


def _dot(grid: list[list[int]], column: int, row: int) -> None:
    grid[row // 4][column // 2] |= DOTS[row % 4][column % 2]
