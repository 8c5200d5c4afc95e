"""Standings: the rows of a leaderboard, derived from records and local runs. Pure; nothing is typed by hand.

A record's time is the mean over its valid runs. It was raced against the record before it on one machine, so the order
of acceptance is the order of the board; a time from another kind of machine is not compared with its neighbours, its
ratio to the baseline beside it is. Local runs stand below, one row each: they were refereed here, but nobody has
submitted them.
"""

import statistics
from dataclasses import dataclass
from datetime import date
from typing import Literal

from .record import Record
from .run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One row. What only records have is None for a local run."""

    place: int | None  # 1 is the first record; None for local runs
    name: str
    title: str
    authors: tuple[str, ...]
    date: date
    tier: str  # reported, refereed, reproduced; local for runs nobody submitted
    runs: int
    train_time_s: float | None  # mean over the runs
    train_time_sd_s: float | None
    val_loss: float | None  # mean over the runs
    saving: float | None  # share of the previous record's time that this one saves, on one machine where it was raced
    hardware: str
    sandbox: str
    status: str
    reached_target: bool | None
    train_time_low_s: float | None = None  # 95 % interval of the mean
    train_time_high_s: float | None = None
    p_value: float | None = None  # of the track's test against its target
    ratio: float | None = None  # mean time / the baseline's mean time, on the same machine
    baseline: str | None = None  # the record it was raced against
    placed_by: Literal["time", "ratio"] | None = None  # ratio: its machine is not the previous record's
    board_time_s: float | None = None  # its time, as it would be on the machine of the board's first record
    signer: str | None = None  # fingerprint of the key that signed it
    challenges: int = 0  # intact ones; refutations among them
    refutations: int = 0
    techniques: tuple[str, ...] = ()
    claim: str | None = None
    steps: int | None = None  # claimed, on a track that counts steps
    flags: tuple[str, ...] = ()  # imported records: what the audit would have a reader look at


def standings(records: list[Record], local: list[RunRecord]) -> list[Standing]:
    """Records in order of acceptance, as they come, then local runs, oldest first."""
    rows: list[Standing] = []
    previous: Record | None = None
    for place, record in enumerate(records, start=1):
        rows.append(_of_record(place, record, previous, rows[-1] if rows else None))
        previous = record
    return rows + [_of_run(run) for run in local]


def _of_record(place: int, record: Record, previous: Record | None, above: Standing | None) -> Standing:
    times, losses = _measured(record)
    mean_s = statistics.fmean(times) if times else None
    valid = sum(run.is_valid for run in record.runs)
    arm = record.evidence.candidate if record.evidence else None
    comparison = record.evidence.comparison if record.evidence else None
    span = arm.time_interval_s if arm else None
    ratio = comparison.ratio if comparison else None
    like = previous is None or machine(record.runs[0]) == machine(previous.runs[0])
    saving = _saving(record, previous, mean_s, ratio, like)
    intact = [challenge for challenge in record.challenges if challenge.is_intact]
    return Standing(
        place=place,
        name=record.name,
        title=record.statement.title,
        authors=record.statement.authors,
        date=record.statement.date,
        tier=record.tier,
        runs=len(record.runs),
        train_time_s=mean_s,
        train_time_sd_s=statistics.stdev(times) if len(times) > 1 else None,
        val_loss=statistics.fmean(losses) if losses else None,
        saving=saving,
        hardware=hardware(record.runs[0]),
        sandbox=_shared([run.sandbox or "none" for run in record.runs]),
        status="complete" if valid == len(record.runs) else f"{len(record.runs) - valid} runs not valid",
        reached_target=bool(losses) and all(run.reached_target is not False for run in record.runs if run.is_valid),
        train_time_low_s=span.low if span else None,
        train_time_high_s=span.high if span else None,
        p_value=arm.p_value if arm else None,
        ratio=ratio,
        baseline=_raced(record),
        placed_by="time" if like else "ratio",
        board_time_s=_board_time(mean_s, saving, like, above),
        signer=record.signer,
        challenges=len(intact),
        refutations=sum(challenge.kind == "refutation" for challenge in intact),
        techniques=record.statement.techniques,
        claim=record.statement.claim,
    )


def _measured(record: Record) -> tuple[list[float], list[float]]:
    """Times (s) and losses (nats per token) of the valid runs."""
    valid = [run for run in record.runs if run.is_valid]
    times = [run.phases.train_ns / 1e9 for run in valid if run.phases.train_ns is not None]
    return times, [run.score.val_loss for run in valid if run.score is not None]


def _raced(record: Record) -> str | None:
    arm = record.bundle.plan.arm("baseline") if record.bundle else None
    return arm.record if arm else None


def _saving(
    record: Record, previous: Record | None, mean_s: float | None, ratio: float | None, like: bool
) -> float | None:
    """From the race of the two where there was one; from their own times only on like machines."""
    if previous is None or mean_s is None:
        return None
    if ratio is not None and _raced(record) == previous.name:
        return 1 - ratio
    times, _ = _measured(previous)
    return 1 - mean_s / statistics.fmean(times) if times and like else None


def _board_time(mean_s: float | None, saving: float | None, like: bool, above: Standing | None) -> float | None:
    """Its own time while the board's records come from one kind of machine; from then on what its saving leaves of
    the time above it."""
    if above is None or (like and above.board_time_s == above.train_time_s):
        return mean_s
    if above.board_time_s is None or saving is None:
        return None
    return above.board_time_s * (1 - saving)


def _of_run(run: RunRecord) -> Standing:
    train_ns = run.phases.train_ns
    return Standing(
        place=None,
        name=run.run_id,
        title=run.submission.entry + (" (practice)" if run.practice else ""),
        authors=(),
        date=run.started_at.date(),
        tier="local",
        runs=1,
        train_time_s=None if train_ns is None or run.score is None else train_ns / 1e9,
        train_time_sd_s=None,
        val_loss=None if run.score is None else run.score.val_loss,
        saving=None,
        hardware=hardware(run),
        sandbox=run.sandbox or "none",
        status=_verdict(run),
        reached_target=run.reached_target,
    )


def _verdict(run: RunRecord) -> str:
    """The status, or the first rule a complete run broke."""
    return f"broke {run.errors[0].id}" if run.errors else str(run.status)


def hardware(run: RunRecord) -> str:
    """2x CPU core, 8x NVIDIA H100 80GB HBM3: what the run trained on."""
    if run.device == "cpu":
        return f"{run.environment.cpu_cores}x CPU core"
    names = sorted({gpu.name for gpu in run.environment.gpus})
    return f"{run.world_size}x {' / '.join(names) or 'unknown GPU'}"


def machine(run: RunRecord) -> tuple[str, str]:
    """What makes two times comparable: the hardware, and where that is the CPU, its model."""
    return hardware(run), run.environment.cpu_model if run.device == "cpu" else ""


def _shared(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "mixed"
