"""The rules of two arms: what a machine may not do differently for one of them."""

import math
from collections.abc import Callable, Iterator
from statistics import fmean

from ..formats import numbers
from ..formats.run import RunRecord
from ..formats.track import Track
from ..system.clock import NS
from .record_rules import Breach, RuleInput

LEAST_SHARE = 0.01  # of the machine: less is the resolution of its counters
LEAST_WALL_NS = NS  # they grow by ticks of ten milliseconds and say nothing of a shorter run


def machine_taken_from_baseline(given: RuleInput, track: Track) -> Iterator[Breach]:
    """The baseline's runs had as much of the machine as the candidate's: not less by more than the effect claimed."""
    advantage, comparison = _machine_advantage(given), given.evidence.comparison
    if advantage is None or comparison is None or not comparison.ratio > 0:
        return
    effect = -math.log(comparison.ratio)
    if 0 < effect < advantage and advantage > LEAST_SHARE:
        yield Breach(
            "the baseline's runs had less of the machine than the candidate's, by more than the effect claimed",
            f"a difference below {numbers.percent(effect)}, by which the candidate is faster",
            f"{numbers.percent(advantage)} less, to other processes, the hypervisor or a quota",
        )


def machine_differs_between_arms(given: RuleInput, track: Track) -> Iterator[Breach]:
    """What other processes took from one arm alone is no merit of the other; shown where it is a part of the effect."""
    advantage, comparison = _machine_advantage(given), given.evidence.comparison
    if advantage is None or comparison is None or not comparison.ratio > 0:
        return
    effect = -math.log(comparison.ratio)
    if advantage > LEAST_SHARE and effect / 4 < advantage <= effect:
        yield Breach(
            "the baseline's runs had less of the machine than the candidate's",
            f"a difference below a quarter of the effect, {numbers.percent(effect)}",
            f"{numbers.percent(advantage)} less, to other processes, the hypervisor or a quota",
        )


def gpu_clocks_differ_between_arms(given: RuleInput, track: Track) -> Iterator[Breach]:
    """GPUs that ran slower for the baseline made a part of the effect. Never an error: what draws less power may clock
    higher by its own merit."""
    comparison, advantage = given.evidence.comparison, _mean_log_ratio(given, _clock_mhz)
    if advantage is None or comparison is None or not comparison.ratio > 0:
        return
    effect = -math.log(comparison.ratio)
    if effect > 0 and advantage > max(LEAST_SHARE, effect / 4):
        yield Breach(
            "the GPUs of the baseline's runs ran at lower clocks than the candidate's",
            f"a difference below a quarter of the effect, {numbers.percent(effect)}",
            f"{numbers.percent(advantage)} lower",
        )


def _machine_advantage(given: RuleInput) -> float | None:
    """Mean over the pairs of the log ratio of what each arm could have of its cores; above 0: the candidate had more.

    None where no pair says.
    """
    return _mean_log_ratio(given, _available)


def _mean_log_ratio(given: RuleInput, of: Callable[[RunRecord], float | None]) -> float | None:
    """Mean over the pairs of the log ratio of something positive, candidate to baseline; None where no pair has it."""
    both = zip(given.runs("candidate"), given.runs("baseline"), strict=False)
    pairs = [(a, b) for a, b in ((of(x), of(y)) for x, y in both) if a is not None and b is not None]
    return fmean(math.log(a / b) for a, b in pairs) if pairs else None


def _clock_mhz(run: RunRecord) -> float | None:
    return None if run.load is None else run.load.gpu_sm_mhz


def _available(run: RunRecord) -> float | None:
    """At least a thousandth: a logarithm is taken of it."""
    if run.load is None or run.load.wall_ns < LEAST_WALL_NS:
        return None
    return max(1e-3, run.load.available)
