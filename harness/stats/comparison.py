"""A comparison: two arms that raced on one machine, pair by pair. Pure.

The runs of a pair shared a seed and stood next to each other, so the offset of a node and its slow drift cancel from
their difference. Times are compared by the logarithm of their ratio, losses by their difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..formats import numbers
from .power import Design
from .significance import (
    DegenerateSample,
    Interval,
    Test,
    equivalence_test,
    faster_test,
    paired_interval,
    ratio_interval,
)

CONFIDENCE = 0.95
Verdict = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An estimate and its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the pairs show. None: these numbers allow no such statement (one pair, no spread)."""

    pairs: int  # both runs valid
    dropped: int  # pairs of which a run is not valid
    ratio: float  # mean time of the candidate / mean time of the baseline
    saving: Span | None  # share of the baseline's time that the candidate saves, from paired log times
    p_faster: float | None  # paired one-sided t on log time
    p_slower: float | None
    alpha: float  # of both, and of the test for equal loss
    verdict: Verdict
    more_pairs: (
        int | None
    )  # a new campaign of so many more pairs would settle it, at power 0.9; None: settled, or never
    loss_difference: Span | None  # nats, candidate - baseline
    equal_loss: bool  # shown by two one-sided tests to differ by less than the margin
    equal_loss_margin_nats: float

    def sentences(self) -> tuple[str, ...]:
        """The same in words, for a person."""
        loss = loss_sentence(self.loss_difference, self.equal_loss, self.equal_loss_margin_nats)
        return (self._speed(), *self._settling(), loss)

    def _speed(self) -> str:
        pairs = f"{self.pairs} pair{'' if self.pairs == 1 else 's'}"
        if self.saving is None:
            return f"Faster? Cannot be told from {pairs}; the ratio of mean times is {numbers.ratio(self.ratio)}."
        low, high = (numbers.spaced_percent(share) for share in (self.saving.low, self.saving.high))
        p_value = self.p_faster if self.saving.estimate > 0 else self.p_slower
        shown = f"(saving {low} to {high} at 95 %, {pairs}, p = {numbers.plain_p_value(p_value)})"
        size = numbers.spaced_percent(abs(self.saving.estimate))
        if self.verdict == "undecided":
            return f"Faster? Undecided: {size} {'faster' if self.saving.estimate > 0 else 'slower'} {shown}."
        return f"Faster? {'Yes, by' if self.verdict == 'faster' else 'No, it is slower by'} {size} {shown}."

    def _settling(self) -> tuple[str, ...]:
        if self.verdict != "undecided":
            return ()
        if self.more_pairs is None:
            return ("How many more? No number of pairs would settle a difference as small as this.",)
        total = self.pairs + self.more_pairs
        return (
            f"How many more? A new campaign of {total} pairs would settle a difference of this size nine times in ten; "
            "runs added to this one would not count.",
        )


def loss_sentence(difference: Span | None, equal: bool, margin_nats: float) -> str:
    """Whether two arms have equal loss, in words."""
    if difference is None:
        return f"At equal loss? {'Yes, to the last digit.' if equal else 'Cannot be told.'}"
    estimate, low, high = (numbers.signed_loss(x) for x in (difference.estimate, difference.low, difference.high))
    shown = "Yes" if equal else "Not shown"
    return (
        f"At equal loss? {shown}, within {margin_nats:g} nats: the difference is {estimate} nats (95 % interval {low} "
        f"to {high})."
    )


def compare(
    times_s: Sequence[tuple[float, float]],
    losses: Sequence[tuple[float, float]],
    *,
    dropped: int,
    alpha: float,
    margin_nats: float,
) -> Comparison | None:
    """Compare pairs of (candidate, baseline), seconds and nats per token; None where there is not one pair."""
    if not times_s:
        return None
    candidate, baseline = [pair[0] for pair in times_s], [pair[1] for pair in times_s]
    faster, slower = _test(candidate, baseline), _test(baseline, candidate)
    verdict = _verdict(faster, slower, alpha)
    return Comparison(
        pairs=len(times_s),
        dropped=dropped,
        ratio=fmean(candidate) / fmean(baseline),
        saving=_saving(candidate, baseline),
        p_faster=None if faster is None else faster.p_value,
        p_slower=None if slower is None else slower.p_value,
        alpha=alpha,
        verdict=verdict,
        more_pairs=_more_pairs(faster, alpha) if verdict == "undecided" else None,
        loss_difference=loss_difference(losses),
        equal_loss=equal_loss(losses, margin_nats, alpha),
        equal_loss_margin_nats=margin_nats,
    )


def _test(candidate: Sequence[float], baseline: Sequence[float]) -> Test | None:
    try:
        return faster_test(candidate, baseline)
    except DegenerateSample:
        return None


def _verdict(faster: Test | None, slower: Test | None, alpha: float) -> Verdict:
    if faster is not None and faster.passes(alpha):
        return "faster"
    return "slower" if slower is not None and slower.passes(alpha) else "undecided"


def _saving(candidate: Sequence[float], baseline: Sequence[float]) -> Span | None:
    try:
        ratio = ratio_interval(candidate, baseline, CONFIDENCE)
    except DegenerateSample:
        return None
    return Span(estimate=1 - ratio.estimate, low=1 - ratio.high, high=1 - ratio.low)


def _more_pairs(test: Test | None, alpha: float) -> int | None:
    """Pairs beyond these that a test needs, if the truth is what was seen: a rough number, for planning only."""
    if test is None or not test.sd:
        return None
    needed = Design(test="t", alpha=alpha, sd=test.sd).runs(abs(test.mean))
    return None if needed is None else max(1, needed - test.n)


def loss_difference(losses: Sequence[tuple[float, float]]) -> Span | None:
    """Nats, candidate - baseline, of pairs of both; None where they allow no interval."""
    try:
        found: Interval = paired_interval([a for a, _ in losses], [b for _, b in losses], CONFIDENCE)
    except DegenerateSample:
        return None
    return Span(estimate=found.estimate, low=found.low, high=found.high)


def equal_loss(losses: Sequence[tuple[float, float]], margin_nats: float, alpha: float) -> bool:
    """Whether pairs of losses are shown to differ by less than a margin."""
    if len(losses) > 1 and all(a == b for a, b in losses):
        return True
    try:
        test = equivalence_test([a for a, _ in losses], [b for _, b in losses], margin_nats)
    except DegenerateSample:
        return False
    return test.passes(alpha)
