"""A reproduction: a record's source run again, and whether what the record says held. Pure.

The losses decide: the runs pass the track's test again, or are shown to be equivalent to the record's own by two
one-sided tests. Times are compared and told, but another machine may be slower without anybody being wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..campaigns import comparable
from ..campaigns.bundle import Bundle
from ..campaigns.evidence import derive
from ..errors import UserError
from ..formats import numbers
from ..formats.run import RunRecord, errors_of
from ..formats.track import Track
from ..stats.comparison import CONFIDENCE, Span
from ..stats.significance import DegenerateSample, equivalence_test, welch_interval
from ..status import ExitCode
from .challenge import what_it_shows

Verdict = Literal["reproduced", "not reproduced", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """Runs of the same source under a secret vocabulary: what was brought along, and not deciphered, fails there."""

    folder: str
    n: int
    mean_loss: float | None
    reached_target: bool | None  # None: no run counts, or the track has no target


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What `speedrun reproduce --json` prints for a record of this checkout."""

    record: str
    track: str
    campaign: str  # its folder
    verdict: Verdict
    reason: str
    runs: int  # valid ones, here
    mean_loss: float | None
    record_mean_loss: float | None
    loss_difference: Span | None  # nats, here - record, 95 %
    equal_loss: bool  # TOST within the track's margin
    equal_loss_margin_nats: float
    time_ratio: Span | None  # time here / time of the record, 95 %
    machine_differences: tuple[str, ...]
    relabelled: Relabelled | None
    can_challenge: bool  # `speedrun challenge` would take the campaign

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict == "reproduced" else ExitCode.MISSED

    def sentences(self) -> tuple[str, ...]:
        """The same in words, for a person."""
        return (f"{self.verdict}: {self.reason}", self._losses(), self._times(), *self._labels())

    def _losses(self) -> str:
        if self.mean_loss is None or self.record_mean_loss is None:
            return "Equal loss? No run here counts."
        means = f"{numbers.loss(self.mean_loss, 5)} here, {numbers.loss(self.record_mean_loss, 5)} in the record"
        if self.loss_difference is None:
            return f"Equal loss? Cannot be told, of so few runs or of other text: {means}."
        low, high = (numbers.signed_loss(x) for x in (self.loss_difference.low, self.loss_difference.high))
        shown = "Yes" if self.equal_loss else "Not shown"
        margin = f"within {self.equal_loss_margin_nats:g} nats"
        return f"Equal loss? {shown}, {margin}: {means} (difference {low} to {high} at 95 %)."

    def _times(self) -> str:
        where = "machines alike" if not self.machine_differences else f"another {', '.join(self.machine_differences)}"
        if self.time_ratio is None:
            return f"Time? Cannot be compared from so few runs ({where})."
        found = self.time_ratio
        ratio, low, high = (numbers.ratio(x, 3) for x in (found.estimate, found.low, found.high))
        return f"Time? {ratio} times the record's ({low} to {high} at 95 %; {where})."

    def _labels(self) -> tuple[str, ...]:
        if self.relabelled is None:
            return ()
        loss = (
            "no loss" if self.relabelled.mean_loss is None else f"val_loss {numbers.loss(self.relabelled.mean_loss, 5)}"
        )
        verdict = {True: "reached", False: "missed", None: "no target to reach"}[self.relabelled.reached_target]
        runs = f"{self.relabelled.n} run{'' if self.relabelled.n == 1 else 's'}"
        return (f"Under other labels? {loss}, target {verdict} ({runs}).",)


def assess(
    name: str, original: Sequence[RunRecord], bundle: Bundle, track: Track, relabelled: Bundle | None = None
) -> Reproduction:
    """Compare a campaign of a record's source with the record's own counted runs."""
    here, there = _measured(bundle.runs("candidate")), _measured(original)
    losses, before = [loss for _, loss in here], [loss for _, loss in there]
    margin, alpha = track.rules.equal_loss_margin_nats, track.rules.faster_alpha
    alike = _same_kind_of_text(bundle.runs("candidate"), original)
    difference = _difference(losses, before) if alike else None
    equal = alike and _equal(losses, before, margin, alpha)
    labels = None if relabelled is None else _relabelled(relabelled, track)
    verdict, reason, can_challenge = _verdict(bundle, track, difference, equal, margin, labels)
    return Reproduction(
        record=name,
        track=track.name,
        campaign=str(bundle.folder),
        verdict=verdict,
        reason=reason,
        runs=len(here),
        mean_loss=fmean(losses) if losses else None,
        record_mean_loss=fmean(before) if before else None,
        loss_difference=difference,
        equal_loss=equal,
        equal_loss_margin_nats=margin,
        time_ratio=_ratio([time for time, _ in here], [time for time, _ in there]),
        machine_differences=_differences(bundle, original),
        relabelled=labels,
        can_challenge=can_challenge,
    )


def _verdict(
    bundle: Bundle, track: Track, difference: Span | None, equal: bool, margin: float, labels: Relabelled | None
) -> tuple[Verdict, str, bool]:
    """Verdict, why, and whether a challenge can be made of it."""
    broken = errors_of(bundle.findings)
    if broken:
        return "undecided", f"the campaign does not hold: {broken[0].sentence}", False
    try:
        kind, sentence = what_it_shows(bundle, derive(bundle, track), track)
    except UserError as error:
        if equal and (labels is None or labels.reached_target is not False):
            return "reproduced", "the losses are equivalent to the record's own", False
        return "undecided", str(error), False
    if kind == "refutation":
        return "not reproduced", sentence, True
    if labels is not None and labels.reached_target is not True and track.target_val_loss is not None:
        return "not reproduced", "under other labels the same source misses the target", True
    if difference is not None and difference.low > margin:
        return "not reproduced", f"the losses are higher than the record's own by more than {margin:g} nats", True
    return "reproduced", sentence, True


def _same_kind_of_text(here: Sequence[RunRecord], there: Sequence[RunRecord]) -> bool:
    """Whether losses can be compared: text of one recipe, or the same shards. A record from before there were languages
    was made on other text than anybody gets now; its reproduction is judged by the track's test alone.
    """
    facts = [run.text and run.text.model_copy(update={"entropy": None}) for run in (*here, *there)]
    return all(fact == facts[0] for fact in facts)


def _measured(runs: Sequence[RunRecord]) -> list[tuple[float, float]]:
    return [found for run in runs if (found := run.result) is not None]


def _relabelled(bundle: Bundle, track: Track) -> Relabelled:
    losses = [loss for _, loss in _measured(bundle.runs("candidate"))]
    mean, target = fmean(losses) if losses else None, track.target_val_loss
    reached = None if target is None else mean is not None and mean <= target
    return Relabelled(folder=str(bundle.folder), n=len(losses), mean_loss=mean, reached_target=reached)


def _difference(here: Sequence[float], there: Sequence[float]) -> Span | None:
    try:
        found = welch_interval(here, there, CONFIDENCE)
    except DegenerateSample:
        return None
    return Span(estimate=found.estimate, low=found.low, high=found.high)


def _equal(here: Sequence[float], there: Sequence[float], margin: float, alpha: float) -> bool:
    try:
        return equivalence_test(here, there, margin, paired=False).passes(alpha)
    except DegenerateSample:
        return False


def _ratio(here: Sequence[float], there: Sequence[float]) -> Span | None:
    """Of geometric means."""
    found = _difference([math.log(time) for time in here], [math.log(time) for time in there])
    if found is None:
        return None
    return Span(estimate=math.exp(found.estimate), low=math.exp(found.low), high=math.exp(found.high))


def _differences(bundle: Bundle, original: Sequence[RunRecord]) -> tuple[str, ...]:
    """What of machine and software is not as it was, by name."""
    runs = bundle.runs("candidate")
    if not runs or not original:
        return ()
    return tuple(dict.fromkeys(key for key, _, _ in comparable.differences(original[0], runs[0])))
