"""Replaying: an imported record's own script, run as it is, beside what its logs say. Tier `reported`.

The script times and validates itself, here as it did there, so nothing is verified: two sets of the same kind of claim
are compared.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.errors import RunFailure
from harness.formats import numbers
from harness.formats.environment import gpus
from harness.formats.observer import Observer
from harness.formats.track import Track
from harness.records.reproduction import Verdict
from harness.selftimed.execution import execute_self_timed
from harness.selftimed.grammars import MODDED_NANOGPT
from harness.selftimed.record import SelfTimedRecord
from harness.selftimed.run_state import SelfTimedRequest
from harness.selftimed.workcopy import find_checkout
from harness.stats.comparison import CONFIDENCE, Span
from harness.stats.significance import DegenerateSample, equivalence_test, welch_interval
from harness.status import ExitCode, Status
from harness.system.clock import NS, utc_now

from .history import ImportedRow
from .recover import RecoveredRun, write_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What `speedrun reproduce --json` prints for an imported record that was run."""

    record: str
    verdict: Verdict
    reason: str
    tier: str
    runs: tuple[str, ...]  # run ids, here
    losses: tuple[float, ...]  # nats per token, as the script printed them here
    times_s: tuple[float, ...]  # by the script's own clock
    logged_losses: tuple[float, ...]
    logged_times_s: tuple[float, ...]
    loss_difference: Span | None  # here - logs
    time_ratio: float | None  # of the means
    differences: tuple[str, ...]  # of the environment

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict == "reproduced" else ExitCode.MISSED

    def sentences(self) -> tuple[str, ...]:
        ratio = (
            "cannot be compared"
            if self.time_ratio is None
            else f"{numbers.fixed(self.time_ratio, 3)} times what its logs say"
        )
        said = [f"{self.verdict} (reported): {self.reason}", f"Time? By the script's own clock {ratio}."]
        return (*said, *(f"Differs: {sentence}" for sentence in self.differences))


def replay(
    row: ImportedRow,
    found: RecoveredRun,
    track: Track,
    *,
    runs: int,
    python: Path | None,
    data_root: Path,
    runs_root: Path,
    require_sandbox: str | None,
    wait: bool,
    observer: Observer,
) -> Replay:
    """Run the script so many times. Raises RunFailure where a run is stopped or its script fails."""
    name = row.key.replace("/", "-")
    folder = runs_root / "replays" / f"{utc_now():%Y-%m-%dT%H-%M-%SZ}-{name}"
    folder.mkdir(parents=True)
    script = write_source(found, folder)
    ranks = found.machine.gpu_count or 1 if found.machine else 1
    request = SelfTimedRequest(
        checkout=find_checkout(script, folder),
        arguments=(),
        launcher="torchrun",
        world_size=ranks,
        device="cuda" if gpus() else "cpu",
        track=track,
        data_root=data_root,
        runs_root=runs_root,
        grammars=MODDED_NANOGPT,
        budget_s=track.budget.prepare_s + track.budget.train_s + track.budget.score_s,
        require_sandbox=require_sandbox,
        wait=wait,
        python=python,
    )
    done = []
    for _ in range(runs):
        record, place = execute_self_timed(request, observer)
        if record.status != Status.COMPLETE:
            raise RunFailure(record.status, f"{record.sentence}; {place}")
        done.append(record)
    return compare(row, found, track, done)


def compare(row: ImportedRow, found: RecoveredRun, track: Track, done: list[SelfTimedRecord]) -> Replay:
    """What the runs printed beside what the logs of the record say."""
    claims = [record.claim for record in done if record.claim is not None]
    losses = tuple(claim.val_loss for claim in claims if claim.val_loss is not None)
    times_s = tuple(claim.train_time_ns / NS for claim in claims if claim.train_time_ns)
    logged = [row.history.runs[number] for number in row.record.runs]
    before = row.record.losses or tuple(run.val_loss for run in logged if run.val_loss is not None)
    before_s = tuple(run.train_time_ms / 1000 for run in logged if run.train_time_ms)
    difference = _difference(losses, before)
    verdict, reason = _verdict(losses, before, difference, track, len(done))
    return Replay(
        record=row.key,
        verdict=verdict,
        reason=reason,
        tier="reported",
        runs=tuple(record.run_id for record in done),
        losses=losses,
        times_s=times_s,
        logged_losses=before,
        logged_times_s=before_s,
        loss_difference=difference,
        time_ratio=fmean(times_s) / fmean(before_s) if times_s and before_s else None,
        differences=found.differences,
    )


def _difference(here: tuple[float, ...], there: tuple[float, ...]) -> Span | None:
    try:
        found = welch_interval(here, there, CONFIDENCE)
    except DegenerateSample:
        return None
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
