"""Step times: how long the steps of a run took in its first, middle and last third, from progress.jsonl. Pure.

The steps are those that the submission reports, the times are the referee's at which the reports arrived.
"""

import json
from collections.abc import Iterable
from itertools import pairwise
from statistics import quantiles
from typing import get_args

from ..formats import numbers
from ..formats.node_check import PhaseName, StepTimes

Curve = tuple[tuple[int, int], ...]  # step, elapsed_ns
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)
MOST = 2**62  # of a step and of its time; more is no report of a run
MS = 1e6


def read_curve(content: bytes) -> Curve:
    """Step and elapsed_ns of every line of a progress.jsonl that has both; a line the disk has torn is none."""
    points = []
    for line in content.splitlines():
        try:
            point = json.loads(line)
            points.append((int(point["step"]), int(point["elapsed_ns"])))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return tuple(points)


def step_times(curves: Iterable[Curve]) -> tuple[StepTimes, ...]:
    """Of one run or of several together, by phase; a phase without an interval is left out.

    A third is one of the steps between the first report and the last, not of the time. An interval that is longer than
    a third says nothing of one: a rank reports ten times a second at most.
    """
    found: dict[PhaseName, list[float]] = {phase: [] for phase in PHASES}
    for curve in curves:
        points = [point for point in curve if 0 <= point[0] < MOST and 0 <= point[1] < MOST]
        if len(points) < 2:
            continue
        first, last = points[0][0], max(step for step, _ in points)
        for (step, at_ns), (later, later_ns) in pairwise(points):
            if later > step and later_ns >= at_ns and 3 * (later - step) <= last - first:
                third = 3 * (step + later - 2 * first) // (2 * (last - first))  # of the middle of the interval
                found[PHASES[min(max(third, 0), 2)]].append((later_ns - at_ns) / (later - step) / MS)
    return tuple(_of_phase(phase, times) for phase, times in found.items() if times)


def _of_phase(phase: PhaseName, times_ms: list[float]) -> StepTimes:
    low, median, high = quantiles(times_ms, n=4, method="inclusive") if len(times_ms) > 1 else times_ms * 3
    return StepTimes(phase=phase, intervals=len(times_ms), median_ms=median, low_ms=low, high_ms=high)


def in_words(times: StepTimes) -> str:
    """12.31 ms (11.9 to 12.9)"""
    median, low, high = (numbers.short(value) for value in (times.median_ms, times.low_ms, times.high_ms))
    return f"{median} ms ({low} to {high})"
