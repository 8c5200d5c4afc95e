"""What came out of runs against nanoGPT: each run as one row, and ratios with their intervals. Pure but for one log."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from harness.errors import UserError
from harness.formats.run import RunRecord
from harness.selftimed.record import SelfTimedRecord
from harness.stats.significance import DegenerateSample, ratio_interval
from harness.status import ExitCode, Status
from harness.system.clock import NS

from . import recipe

NANOGPT = "nanoGPT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of either side. None: it did not come so far."""

    sitting: int
    script: str
    run_id: str
    status: str
    sentence: str
    seed: int
    ranks: int
    source_sha256: str
    val_loss: float | None = None  # nats per token, the judge's
    reached: bool | None = None  # the target; nanoGPT need not
    seconds: float | None = None  # what ratios are made of
    prepare_s: float | None = None
    whole_s: float | None = None  # nanoGPT: first process to last; ours: PREPARE and TRAIN
    own_s: float | None = None  # nanoGPT: all its iterations by its own clock, evaluations included
    iterations: int | None = None  # nanoGPT: updates behind the checkpoint that was scored
    median_iteration_ms: float | None = None  # nanoGPT; together with the next one shows a disturbed machine
    busy_cores: float | None = None  # nanoGPT: its CPU time / wall clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """nanoGPT's seconds by ours; low and high: 95 % interval of the geometric mean, from paired log ratios."""

    each: tuple[float, ...]
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the sittings say of one script."""

    script: str
    runs: int
    reached: int
    mean_val_loss: float | None
    ratio: Ratio | None  # over sittings in which both runs are complete
    ratio_with_prepare: Ratio | None


def our_run(sitting: int, name: str, record: RunRecord) -> Run:
    train_ns, prepare_ns = record.time_ns, record.phases.prepare_ns
    train_s = None if train_ns is None or not record.is_valid else train_ns / NS
    prepare_s = None if prepare_ns is None else prepare_ns / NS
    return Run(
        sitting=sitting,
        script=name,
        run_id=record.run_id,
        status=str(record.status),
        sentence="; ".join([record.sentence, *(finding.sentence for finding in record.errors)]),
        seed=record.seed,
        ranks=record.world_size,
        source_sha256=record.submission.sha256,
        val_loss=None if record.score is None else record.score.val_loss,
        reached=record.exit_code == ExitCode.OK,
        seconds=train_s,
        prepare_s=prepare_s,
        whole_s=None if train_s is None or prepare_s is None else prepare_s + train_s,
    )


def nanogpt_run(sitting: int, seed: int, record: SelfTimedRecord, log: Path) -> Run:
    """With the times in its log; one that is not complete, or whose log cannot be read, has none."""
    score = None if record.measured is None else record.measured.score
    whole_s = None if record.observed is None else record.observed.wall_ns / NS
    status, sentences = str(record.status), [record.sentence]
    sentences += [finding.sentence for finding in record.findings if finding.severity == "error"]
    times = None
    if record.status == Status.COMPLETE and len(sentences) == 1 and score is not None:
        try:
            times = recipe.read_times(log)
        except UserError as error:
            sentences.append(str(error))
    return Run(
        sitting=sitting,
        script=NANOGPT,
        run_id=record.run_id,
        status=status,
        sentence="; ".join(sentences),
        seed=seed,
        ranks=record.script.world_size,
        source_sha256=record.script.checkout_sha256,
        val_loss=None if score is None else score.val_loss,
        seconds=None if times is None or whole_s is None else min(whole_s, times.training_s),
        whole_s=whole_s,
        own_s=None if times is None else times.own_s,
        iterations=None if times is None else times.iterations,
        median_iteration_ms=None if times is None else times.median_ms,
        busy_cores=None if record.observed is None else record.observed.busy_cores,
    )


def summarise(runs: list[Run]) -> list[Summary]:
    """One of each script of ours, in the order they first ran."""
    theirs = {run.sitting: run.seconds for run in runs if run.script == NANOGPT and run.seconds is not None}
    names = dict.fromkeys(run.script for run in runs if run.script != NANOGPT)
    return [_summary(name, [run for run in runs if run.script == name], theirs) for name in names]


def _summary(name: str, runs: list[Run], theirs: dict[int, float]) -> Summary:
    losses = [run.val_loss for run in runs if run.val_loss is not None]
    return Summary(
        script=name,
        runs=len(runs),
        reached=sum(run.reached is True for run in runs),
        mean_val_loss=fmean(losses) if losses else None,
        ratio=_ratio(runs, theirs, lambda run: run.seconds),
        ratio_with_prepare=_ratio(runs, theirs, lambda run: run.whole_s),
    )


def _ratio(runs: list[Run], theirs: dict[int, float], seconds: Callable[[Run], float | None]) -> Ratio | None:
    pairs = [(theirs[run.sitting], ours) for run in runs if run.sitting in theirs and (ours := seconds(run))]
    if not pairs:
        return None
    each = tuple(nanogpt / ours for nanogpt, ours in pairs)
    low, high = _interval(pairs)
    return Ratio(each=each, median=median(each), low=low, high=high)


def _interval(pairs: list[tuple[float, float]]) -> tuple[float, float] | tuple[None, None]:
    """None from one pair, or from pairs without any spread."""
    try:
        found = ratio_interval([a for a, _ in pairs], [b for _, b in pairs])
    except DegenerateSample:
        return None, None
    return found.low, found.high
