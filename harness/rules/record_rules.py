"""The rules of a record as a whole, each a pure function from facts to what breaks it.

The docstring of a rule says why it is there; `speedrun rules` prints it. Numbers come from track.toml; no rule reads
a file. The rules of single runs are in run_rules.py, the table that gives each its severity is in rules.py.
"""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from ..campaigns import comparable
from ..formats import numbers
from ..formats.run import RunRecord
from ..formats.track import Track
from ..system.clock import NS

if TYPE_CHECKING:
    from ..campaigns.bundle import Bundle
    from ..campaigns.evidence import ArmEvidence, Evidence


ARMS: tuple[Literal["candidate"], Literal["baseline"]] = ("candidate", "baseline")


class StatedClaim(Protocol):
    """What a rule reads of a record's statement (record.json)."""

    @property
    def track(self) -> str: ...
    @property
    def date(self) -> date: ...
    @property
    def claim(self) -> str: ...  # "speed" or "systems"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInput:
    """Everything a rule may look at; no rule reads a file."""

    bundle: "Bundle"
    evidence: "Evidence"
    statement: StatedClaim
    reigning: str | None  # the standing record this one wants to beat; None: there is none yet
    history: tuple[RunRecord, ...]  # the baseline's own runs, from its record
    record_bytes: int | None  # of the record's folder; None: not made yet
    pinned: Mapping[str, str]  # shard -> digest, as the dataset's manifest states them

    def runs(self, arm: Literal["candidate", "baseline"]) -> list[RunRecord]:
        """The counted runs of an arm, in the order of their slots; none of an arm that is not there."""
        return self.bundle.runs(arm)


@dataclass(frozen=True, slots=True)
class Breach:
    """What a rule has to say when it is broken."""

    sentence: str
    expected: str
    found: str


# ----------------------------------------------------------------------------------------------------- statistics


def significance(given: RuleInput, track: Track) -> Iterator[Breach]:
    """The mean loss is at or below the target, by the track's test."""
    arm, test = given.evidence.candidate, track.significance
    if track.target_val_loss is None or arm.p_value is None or arm.p_value < test.alpha:
        return
    yield Breach(
        f"the losses do not show a mean at or below the target {track.target_val_loss:g}",
        f"p < {test.alpha:g} by the one-sided {test.test}-test",
        f"p = {numbers.plain_p_value(arm.p_value, 3)}, {_mean_loss(arm)}",
    )


def _mean_loss(arm: "ArmEvidence") -> str:
    return "no loss" if arm.mean_loss is None else f"mean {numbers.loss(arm.mean_loss, 5)} of {arm.n} runs"


def degenerate_sample(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Without a p-value nothing is shown; so a sample no test can take fails."""
    if track.target_val_loss is not None and given.evidence.candidate.p_value is None:
        losses = ", ".join(numbers.short(loss, 7) for loss in given.evidence.candidate.losses[:8]) or "no loss"
        yield Breach("the losses are no sample a test can take", "two or more finite losses that differ", losses)


def faster_than_parent(given: RuleInput, track: Track) -> Iterator[Breach]:
    """The candidate beat the standing record on one machine, runs interleaved."""
    comparison = given.evidence.comparison
    if track.metric != "train_time" or (given.reigning is None and given.bundle.baseline is None):
        return
    if comparison is None:
        yield Breach(
            "the candidate was not raced against the standing record",
            f"a campaign with two arms, the baseline being {given.reigning}",
            f"{len(given.evidence.candidate.times_s)} runs of the candidate alone",
        )
        return
    if comparison.p_faster is None or not comparison.p_faster < track.rules.faster_alpha:
        found = "no p-value" if comparison.p_faster is None else f"p = {numbers.plain_p_value(comparison.p_faster, 3)}"
        yield Breach(
            "the pairs do not show that the candidate is faster",
            f"p < {track.rules.faster_alpha:g} by the one-sided paired t-test on log time",
            f"{found}, ratio of mean times {numbers.ratio(comparison.ratio)}",
        )


def lower_loss_than_parent(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Where the lowest loss wins: the candidate's losses are below the standing record's, by Welch's test."""
    if track.metric != "val_loss" or (given.reigning is None and given.bundle.baseline is None):
        return
    from ..stats.significance import DegenerateSample, welch_test

    baseline = given.evidence.baseline
    try:
        p_value = welch_test(given.evidence.candidate.losses, () if baseline is None else baseline.losses).p_value
        found = f"p = {numbers.plain_p_value(p_value, 3)}"
    except DegenerateSample as error:
        p_value, found = 1.0, str(error)
    if not p_value < track.significance.alpha:
        yield Breach(
            "the runs do not show a lower loss than the standing record's",
            f"p < {track.significance.alpha:g} by the one-sided Welch test",
            found,
        )


def baseline_is_reigning(given: RuleInput, track: Track) -> Iterator[Breach]:
    """What was beaten is the standing record, not an older or a home-made one."""
    raced = next((arm.record for arm in given.bundle.plan.arms if arm.arm == "baseline"), None)
    if given.reigning is not None and given.bundle.baseline is not None and raced != given.reigning:
        yield Breach("the baseline is not the standing record", given.reigning, raced or "a source of its own")


def equal_loss(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A "systems" claim says the numbers stay: shown by an equivalence test, never waived."""
    comparison = given.evidence.comparison
    if given.statement.claim != "systems" or (comparison is not None and comparison.equal_loss):
        return
    yield Breach(
        "a systems claim needs losses shown to be equal",
        f"mean losses within {track.rules.equal_loss_margin_nats:g} nats by two one-sided tests",
        "no baseline to compare with" if comparison is None else "a difference that may be larger",
    )


def min_runs(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Few runs show little, and their variance is a guess."""
    valid = sum(run.is_valid for run in given.runs("candidate"))
    if valid < track.rules.min_runs:
        yield Breach("too few valid runs of the candidate", f"at least {track.rules.min_runs}", str(valid))


# ----------------------------------------------------------------------------------------------- seeds and choosing


def repeated_seed(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Runs of one seed are one observation, not several."""
    for seed, count in Counter(run.seed for run in given.runs("candidate")).items():
        if count > 1:
            yield Breach("runs of the candidate share a seed", "a seed of its own for each", f"{seed}, {count} times")


def equal_weights(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Two seeds that give the same model: the seed is ignored, so the runs are one observation."""
    for arm in ARMS:
        runs = given.runs(arm)
        for values, what in (
            ([run.weights.sha256 for run in runs if run.weights], "weights"),
            ([repr(run.score.loss_sum) for run in runs if run.score and arm == "candidate"], "loss, to the last digit"),
        ):
            for value, count in Counter(values).items():
                if count > 1:
                    sentence = f"{count} runs of the {arm} with different seeds came to the same {what}"
                    yield Breach(sentence, "another model from another seed", value[:16])


def uncounted_attempts(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Who may interrupt whatever looks slow is choosing runs; a campaign bears only so much bad luck after GO."""
    uncounted = sum(
        not attempt.counted and (attempt.run.stamps is None or attempt.run.stamps.go_ns is not None)
        for attempt in given.bundle.attempts
    )
    slots = len(given.bundle.plan.slots)
    if uncounted > track.rules.uncounted_share * slots:
        yield Breach(
            "too many attempts ended without counting after the clock had started, or without saying whether it had",
            f"at most {numbers.percent(track.rules.uncounted_share, 0)} of {slots} slots",
            str(uncounted),
        )


def own_track(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A record is a record of the contest it ran in."""
    if not given.statement.track == given.bundle.plan.track.name == track.name:
        yield Breach(
            "statement, plan and track name different contests",
            track.name,
            f"statement {given.statement.track}, plan {given.bundle.plan.track.name}",
        )


def date_of_runs(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Acceptance order is the order of the board: nobody backdates a record before its runs."""
    last = max((run.started_at.astimezone(UTC).date() for run in given.runs("candidate")), default=None)
    if last is not None and given.statement.date < last - timedelta(days=1):  # a day: the author's time zone
        yield Breach("the record is dated before its runs", f"{last} or later", str(given.statement.date))


# ----------------------------------------------------------------------------------------------- machine and limits


def budget_margin(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A run close to a limit is killed on a slightly slower machine."""
    limits_s = {"prepare": track.budget.prepare_s, "train": track.budget.train_s, "score": track.budget.score_s}
    for phase, limit_s in limits_s.items():
        if phase == "train" and track.metric == "val_loss":
            continue  # there the budget is the contest
        times = [getattr(run.phases, f"{phase}_ns") or 0 for run in given.runs("candidate")]
        longest_s = max(times, default=0) / NS
        if longest_s > track.rules.budget_share * limit_s:
            expected = f"at most {numbers.percent(track.rules.budget_share, 0)} of {limit_s:g} s"
            yield Breach(f"{phase} comes close to its budget", expected, f"{numbers.short(longest_s, 3)} s")


def time_spread(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Times that scatter tell of a busy machine, or of runs that decide for themselves when to stop."""
    for arm in (given.evidence.candidate, given.evidence.baseline):
        if arm is None or arm.sd_time_s is None or arm.mean_time_s is None:
            continue
        spread = arm.sd_time_s / arm.mean_time_s
        if spread > track.rules.time_spread:
            expected = f"a standard deviation of at most {numbers.percent(track.rules.time_spread)} of the mean"
            yield Breach(f"the times of the {arm.arm} scatter", expected, numbers.percent(spread))


def baseline_in_its_own_interval(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A baseline that is slower here than in its own record, on like hardware, was perhaps held back."""
    baseline, here = given.evidence.baseline, given.runs("baseline")
    like = [run.time_ns for run in given.history if run.time_ns and here and _alike(run, here[0])]
    if not like or baseline is None or baseline.mean_time_s is None:
        return
    then_s = statistics.fmean(like) / NS
    offset = baseline.mean_time_s / then_s - 1
    if abs(offset) > track.rules.baseline_offset:
        yield Breach(
            "the baseline's time is not what its own record shows on like hardware",
            f"within {numbers.percent(track.rules.baseline_offset, 0)} of {numbers.short(then_s)} s",
            f"{numbers.short(baseline.mean_time_s)} s ({numbers.signed_percent(offset)})",
        )


def _alike(a: RunRecord, b: RunRecord) -> bool:
    """Whether two machines are of one kind, so that their times can be compared at all. Software may differ."""
    x, y = (comparable.machine_fingerprint(run.environment, run.device, run.world_size) for run in (a, b))
    return all(x[key] == y[key] for key in ("device", "GPUs", "world_size", "CPU model"))


def record_size(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Records live in git for ever, so they stay small."""
    if given.record_bytes is not None and given.record_bytes > track.rules.record_bytes:
        expected, found = f"at most {track.rules.record_bytes:,} bytes", f"{given.record_bytes:,}"
        yield Breach("the record is too big", expected, found)
