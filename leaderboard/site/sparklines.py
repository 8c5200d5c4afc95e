"""Strips: drawings small enough for a sentence: runs as dots, a record going down."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.formats import numbers

WIDTH, HEIGHT, MARGIN = 360, 44, 10


@dataclass(frozen=True, slots=True)
class Strip:
    """Where dots, mean and target lie, in pixels from the left."""

    dots: tuple[float, ...]
    mean: float
    target: float | None
    low: str  # the numbers at both ends
    high: str
    width: int = WIDTH
    height: int = HEIGHT


def strip(losses: Sequence[float], target: float | None) -> Strip | None:
    """None for no loss."""
    if not losses:
        return None
    marks = [*losses, *([] if target is None else [target])]
    low, high = min(marks), max(marks)
    reach = (high - low) or 1.0

    def at(value: float) -> float:
        return round(MARGIN + (value - low) / reach * (WIDTH - 2 * MARGIN), 1)

    return Strip(
        dots=tuple(map(at, losses)),
        mean=at(sum(losses) / len(losses)),
        target=None if target is None else at(target),
        low=numbers.loss(low),
        high=numbers.loss(high),
    )


def spark(values: Sequence[float], width: int = 260, height: int = 48) -> str:
    """The points of a polyline that steps down with a record, the value on a log axis; empty for fewer than two."""
    kept = [value for value in values if value > 0]
    if len(kept) < 2:
        return ""
    logs = [math.log(value) for value in kept]
    low, reach = min(logs), (max(logs) - min(logs)) or 1.0
    xs = [round(2 + i * (width - 4) / (len(logs) - 1), 1) for i in range(len(logs))]
    ys = [round(height - 3 - (value - low) / reach * (height - 6), 1) for value in logs]
    points = [f"{xs[0]},{ys[0]}"]
    for i in range(1, len(xs)):
        points += [f"{xs[i]},{ys[i - 1]}", f"{xs[i]},{ys[i]}"]
    return " ".join(points)
