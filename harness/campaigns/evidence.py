"""Evidence: n, losses, times, intervals and p-values, derived from a bundle and its track. Pure; never typed.

Only valid runs have a loss and a time here; a counted run that failed is no number, but it is told, and it makes its
arm invalid. Where a sample allows no test (one run, losses all alike), there is no p-value, and nothing is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ..formats.track import Track
from ..stats.comparison import CONFIDENCE, Comparison, Span, compare, equal_loss, loss_difference
from ..stats.significance import DegenerateSample, mean_interval, t_test, z_test
from .campaign import Arm, CampaignRun

if TYPE_CHECKING:
    from .bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEvidence:
    """What the counted runs of one arm show."""

    arm: Arm
    n: int  # valid runs
    failed: int  # counted runs that are not valid
    losses: tuple[float, ...]  # nats per token, in slot order
    times_s: tuple[float, ...]
    mean_loss: float | None
    sd_loss: float | None
    mean_time_s: float | None
    sd_time_s: float | None
    time_interval_s: Span | None
    p_value: float | None  # of the track's test against its target
    valid: bool  # no run failed, and the track's test is passed where it has a target


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a whole campaign shows."""

    candidate: ArmEvidence
    baseline: ArmEvidence | None
    comparison: Comparison | None
    attempts: int
    uncounted: int  # attempts that the machine, the referee or a signal ended, and those without an outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedArm:
    """What the judge's losses of one arm's checkpoints show, whatever its runs state."""

    arm: Arm
    n: int  # checkpoints
    failed: int  # counted runs without one that counts
    losses: tuple[float, ...]  # nats per token, in slot order
    mean_loss: float | None
    sd_loss: float | None
    p_value: float | None  # of the track's test against its target
    valid: bool  # none failed, and the track's test is passed where it has a target
    above_stated_nats: float | None  # mean of judged - stated, of the runs that state a loss


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEvidence:
    """What the judge's losses show of a campaign of self-timed scripts. Its times stay what the scripts state."""

    candidate: JudgedArm
    baseline: JudgedArm | None
    loss_difference: Span | None  # nats, candidate - baseline, of pairs
    equal_loss: bool | None  # None: one arm
    equal_loss_margin_nats: float


def derive(bundle: "Bundle", track: Track) -> Evidence:
    """The evidence of a campaign under a track's rules."""
    has_baseline = bundle.plan.arm("baseline") is not None
    return Evidence(
        candidate=arm_evidence("candidate", bundle.counted("candidate"), track),
        baseline=arm_evidence("baseline", bundle.counted("baseline"), track) if has_baseline else None,
        comparison=_comparison(bundle, track) if has_baseline else None,
        attempts=len(bundle.tried) + bundle.lost,
        uncounted=sum(not attempt.counted for attempt in bundle.tried) + bundle.lost,
    )


def derive_judged(bundle: "Bundle", track: Track) -> JudgedEvidence | None:
    """The evidence of the judge's losses under the same rules; None where no checkpoint was to be judged."""
    if not bundle.plan.is_judged:
        return None
    sides: dict[int, dict[Arm, float | None]] = {}
    for attempt in bundle.stated:
        if attempt.counted and attempt.slot.pair is not None:
            sides.setdefault(attempt.slot.pair, {})[attempt.slot.arm] = attempt.run.judged_loss
    both = [(pair.get("candidate"), pair.get("baseline")) for _, pair in sorted(sides.items())]
    losses = [(a, b) for a, b in both if a is not None and b is not None]
    has_baseline, rules = bundle.plan.arm("baseline") is not None, track.rules
    return JudgedEvidence(
        candidate=_judged_arm("candidate", bundle, track),
        baseline=_judged_arm("baseline", bundle, track) if has_baseline else None,
        loss_difference=loss_difference(losses),
        equal_loss=equal_loss(losses, rules.equal_loss_margin_nats, rules.faster_alpha) if has_baseline else None,
        equal_loss_margin_nats=rules.equal_loss_margin_nats,
    )


def _judged_arm(arm: Arm, bundle: "Bundle", track: Track) -> JudgedArm:
    runs = [attempt.run for attempt in bundle.stated if attempt.counted and attempt.slot.arm == arm]
    judged = [(run, loss) for run in runs if (loss := run.judged_loss) is not None]
    losses, failed = tuple(loss for _, loss in judged), len(runs) - len(judged)
    above = [loss - run.result[1] for run, loss in judged if run.result is not None]
    p_value = _p_value(losses, track)
    return JudgedArm(
        arm=arm,
        n=len(losses),
        failed=failed,
        losses=losses,
        mean_loss=fmean(losses) if losses else None,
        sd_loss=stdev(losses) if len(losses) > 1 else None,
        p_value=p_value,
        valid=bool(losses) and not failed and _passes(p_value, track),
        above_stated_nats=fmean(above) if above else None,
    )


def arm_evidence(arm: Arm, runs: Sequence[CampaignRun], track: Track) -> ArmEvidence:
    """What these counted runs show."""
    measured = [found for run in runs if (found := run.result) is not None]
    times_s, losses = tuple(time_s for time_s, _ in measured), tuple(loss for _, loss in measured)
    p_value, failed = _p_value(losses, track), len(runs) - len(measured)
    return ArmEvidence(
        arm=arm,
        n=len(measured),
        failed=failed,
        losses=losses,
        times_s=times_s,
        mean_loss=fmean(losses) if losses else None,
        sd_loss=stdev(losses) if len(losses) > 1 else None,
        mean_time_s=fmean(times_s) if times_s else None,
        sd_time_s=stdev(times_s) if len(times_s) > 1 else None,
        time_interval_s=_interval(times_s),
        p_value=p_value,
        valid=bool(measured) and not failed and _passes(p_value, track),
    )


def _passes(p_value: float | None, track: Track) -> bool:
    return track.target_val_loss is None or (p_value is not None and p_value < track.significance.alpha)


def _p_value(losses: Sequence[float], track: Track) -> float | None:
    """Of the track's test; None where the track has no target or the sample allows none."""
    target, rule = track.target_val_loss, track.significance
    if target is None or rule.test == "welch":
        return None
    try:
        if rule.test == "z":
            return None if rule.sigma is None else z_test(losses, target, rule.sigma).p_value
        return t_test(losses, target).p_value
    except DegenerateSample:
        return None


def _interval(values: Sequence[float]) -> Span | None:
    try:
        found = mean_interval(values, CONFIDENCE)
    except DegenerateSample:
        return None
    return Span(estimate=found.estimate, low=found.low, high=found.high)


def _comparison(bundle: "Bundle", track: Track) -> Comparison | None:
    """Of the pairs whose runs are both valid."""
    sides: dict[int, dict[Arm, tuple[float, float] | None]] = {}
    for attempt in bundle.tried:
        if attempt.counted and attempt.slot.pair is not None:
            sides.setdefault(attempt.slot.pair, {})[attempt.slot.arm] = attempt.run.result
    whole = [pair for _, pair in sorted(sides.items()) if len(pair) == 2]
    both = [(a, b) for pair in whole if (a := pair["candidate"]) is not None and (b := pair["baseline"]) is not None]
    return compare(
        [(a[0], b[0]) for a, b in both],
        [(a[1], b[1]) for a, b in both],
        dropped=len(whole) - len(both),
        alpha=track.rules.faster_alpha,
        margin_nats=track.rules.equal_loss_margin_nats,
    )
