"""Replaying: what a campaign of imported records' own scripts shows beside what is published of them. Tier `reported`.

The scripts time and validate themselves, here as they did there, so nothing is verified: two sets of the same kind of
claim are compared. Of two records raced here the ratio is compared too: a node that is slower is slower for both. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.campaigns.bundle import Bundle
from harness.campaigns.campaign import ARMS, Arm
from harness.campaigns.evidence import derive
from harness.formats import numbers
from harness.formats.run import errors_of
from harness.formats.track import Track
from harness.records.reproduction import Verdict
from harness.selftimed.record import SelfTimedRecord
from harness.stats.comparison import CONFIDENCE, Span
from harness.stats.significance import DegenerateSample, Interval, equivalence_test, mean_interval, welch_interval
from harness.status import ExitCode, Status
from harness.system.clock import NS

from .history import ImportedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What `speedrun reproduce --json` prints for an imported record that was run."""

    record: str
    verdict: Verdict
    reason: str
    tier: str
    campaign: str  # its folder
    runs: tuple[str, ...]  # run ids, here
    losses: tuple[float, ...]  # nats per token, as the script printed them here
    times_s: tuple[float, ...]  # by the script's own clock
    time_s: float | None  # their mean
    time_interval_s: Span | None
    published_time_s: float | None  # what its table claims
    logged_losses: tuple[float, ...]
    logged_times_s: tuple[float, ...]
    loss_difference: Span | None  # here - logs
    time_ratio: float | None  # of the means: here / logs
    differences: tuple[str, ...]  # of source and environment

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict == "reproduced" else ExitCode.MISSED

    def sentences(self) -> tuple[str, ...]:
        said = [f"{self.verdict} (reported): {self.reason}", self.time_sentence()]
        return (*said, *(f"Differs: {sentence}" for sentence in self.differences))

    def time_sentence(self) -> str:
        """The published time and the one here, by the script's own clock."""
        published = (
            "none is published" if self.published_time_s is None else f"published {_seconds(self.published_time_s)}"
        )
        logs = f"{len(self.logged_times_s)} log{'' if len(self.logged_times_s) == 1 else 's'}"
        logged = f", mean {_seconds(fmean(self.logged_times_s))} in {logs}" if self.logged_times_s else ""
        here = "here none" if self.time_s is None else f"here {_seconds(self.time_s)}{_interval(self.time_interval_s)}"
        ratio = "" if self.time_ratio is None else f", {numbers.fixed(self.time_ratio, 3)} times what its logs say"
        return f"Time? By the script's own clock: {published}{logged}; {here}{ratio}."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRace:
    """The same for two imported records that were raced, interleaved, on one machine."""

    record: Replay
    against: Replay
    verdict: Verdict
    reason: str
    tier: str
    campaign: str
    pairs: int  # both runs have a time and a loss
    ratio: float | None  # mean time of the record / mean time of the other one, here, of pairs
    ratio_interval: Span | None  # of paired times
    published_ratio: float | None
    is_inside: bool | None  # the published ratio, in the interval; None: cannot be told

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict == "reproduced" else ExitCode.MISSED

    def sentences(self) -> tuple[str, ...]:
        said = [f"{self.verdict} (reported): {self.reason}"]
        for each in (self.record, self.against):
            said += [f"{each.record}: {sentence}" for sentence in each.sentences()]
        return (*said, self._ratio())

    def _ratio(self) -> str:
        published = "none is published" if self.published_ratio is None else numbers.ratio(self.published_ratio)
        names = f"time of {self.record.record} / time of {self.against.record}"
        if self.ratio is None:
            return f"Ratio? {names}: published {published}; here no pair has both times."
        span = self.ratio_interval
        pairs = f"{self.pairs} pair{'' if self.pairs == 1 else 's'}"
        low, high = ("", "") if span is None else (numbers.ratio(span.low), numbers.ratio(span.high))
        interval = "" if span is None else f"95 % interval {low} to {high}, "
        place = {True: "; the published one lies inside", False: "; the published one lies outside", None: ""}
        return (
            f"Ratio? {names}: published {published}; here {numbers.ratio(self.ratio)} ({interval}{pairs})"
            f"{place[self.is_inside]}."
        )


def compare(
    bundle: Bundle, track: Track, rows: Sequence[ImportedRow], differences: Sequence[tuple[str, ...]]
) -> Replay | ReplayedRace:
    """What a closed campaign of one record, or of two, shows. differences: of source and environment, of each row."""
    arms = [
        _replay(bundle, arm, row, track, differs) for arm, row, differs in zip(ARMS, rows, differences, strict=False)
    ]
    return arms[0] if len(arms) == 1 else _race(bundle, track, arms[0], arms[1])


def _replay(bundle: Bundle, arm: Arm, row: ImportedRow, track: Track, differences: tuple[str, ...]) -> Replay:
    """What the runs of an arm printed beside what the logs of its record say."""
    done = [run for run in bundle.counted(arm) if isinstance(run, SelfTimedRecord)]
    claims = [run.claim for run in done if run.claim is not None and run.status == Status.COMPLETE and not run.errors]
    losses = tuple(claim.val_loss for claim in claims if claim.val_loss is not None)
    times_s = tuple(claim.train_time_ns / NS for claim in claims if claim.train_time_ns)
    logged = [row.history.runs[number] for number in row.record.runs]
    before = row.record.losses or tuple(run.val_loss for run in logged if run.val_loss is not None)
    before_s = tuple(run.train_time_ms / 1000 for run in logged if run.train_time_ms)
    difference = _difference(losses, before)
    verdict, reason = _verdict(losses, before, difference, track, len(done))
    if broken := errors_of(bundle.findings):
        verdict, reason = "undecided", f"the campaign does not hold: {broken[0].sentence}"
    return Replay(
        record=row.key,
        verdict=verdict,
        reason=reason,
        tier="reported",
        campaign=str(bundle.folder),
        runs=tuple(run.run_id for run in done),
        losses=losses,
        times_s=times_s,
        time_s=fmean(times_s) if times_s else None,
        time_interval_s=_of_mean(times_s),
        published_time_s=row.record.claim.train_time_s,
        logged_losses=before,
        logged_times_s=before_s,
        loss_difference=difference,
        time_ratio=fmean(times_s) / fmean(before_s) if times_s and before_s else None,
        differences=differences,
    )


def _race(bundle: Bundle, track: Track, record: Replay, against: Replay) -> ReplayedRace:
    found = derive(bundle, track).comparison
    ratio = published = None
    if found is not None and found.saving is not None:
        saving = found.saving
        ratio = Span(estimate=1 - saving.estimate, low=1 - saving.high, high=1 - saving.low)
    if record.published_time_s and against.published_time_s:
        published = record.published_time_s / against.published_time_s
    inside = None if ratio is None or published is None else ratio.low <= published <= ratio.high
    verdict, reason = _race_verdict(record, against, None if found is None else found.verdict, published)
    return ReplayedRace(
        record=record,
        against=against,
        verdict=verdict,
        reason=reason,
        tier="reported",
        campaign=str(bundle.folder),
        pairs=0 if found is None else found.pairs,
        ratio=None if found is None else found.ratio,
        ratio_interval=ratio,
        published_ratio=published,
        is_inside=inside,
    )


def _race_verdict(record: Replay, against: Replay, here: str | None, published: float | None) -> tuple[Verdict, str]:
    """Both records have to hold by their losses, and the faster one has to be shown faster here too."""
    for each in (record, against):
        if each.verdict == "not reproduced":
            return "not reproduced", f"{each.record}: {each.reason}"
    for each in (record, against):
        if each.verdict == "undecided":
            return "undecided", each.reason if each.reason.startswith(
                "the campaign"
            ) else f"{each.record}: {each.reason}"
    if published is None or published == 1:
        return "undecided", "the losses of both hold, and what is published names no faster one"
    faster, slower = (record, against) if published < 1 else (against, record)
    if here == ("faster" if published < 1 else "slower"):
        return "reproduced", f"the losses of both hold, and {faster.record} is faster here too"
    if here in ("faster", "slower"):
        return "not reproduced", f"{slower.record} is faster here, {faster.record} is said to be"
    return "undecided", f"the losses of both hold, and {faster.record} is not shown to be faster here"


def _difference(here: tuple[float, ...], there: tuple[float, ...]) -> Span | None:
    try:
        return _span(welch_interval(here, there, CONFIDENCE))
    except DegenerateSample:
        return None


def _of_mean(times_s: tuple[float, ...]) -> Span | None:
    try:
        return _span(mean_interval(times_s, CONFIDENCE))
    except DegenerateSample:
        return None


def _span(found: Interval) -> Span:
    return Span(estimate=found.estimate, low=found.low, high=found.high)


def _verdict(
    here: tuple[float, ...], there: tuple[float, ...], difference: Span | None, track: Track, runs: int
) -> tuple[Verdict, str]:
    """Equivalent within the track's margin, higher by more than it, or neither."""
    margin, alpha = track.rules.equal_loss_margin_nats, track.rules.faster_alpha
    if len(here) < runs:
        return "not reproduced", f"{runs - len(here)} of {runs} runs printed no validation loss"
    try:
        if equivalence_test(here, there, margin, paired=False).passes(alpha):
            return "reproduced", f"the printed losses are those of its logs within {margin:g} nats"
    except DegenerateSample:
        return "undecided", f"too few runs to compare: {len(here)} here, {len(there)} in its logs"
    if difference is not None and difference.low > margin:
        return "not reproduced", f"the printed losses are higher than those of its logs by more than {margin:g} nats"
    return "undecided", f"the printed losses are neither shown equal within {margin:g} nats nor shown higher"


def _seconds(value_s: float) -> str:
    return numbers.fixed_seconds(value_s)


def _interval(span: Span | None) -> str:
    return "" if span is None else f" (95 % interval {numbers.fixed(span.low, 3)} to {numbers.fixed(span.high, 3)})"
