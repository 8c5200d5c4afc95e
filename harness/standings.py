"""Standings: the rows of a leaderboard, derived from records and local runs. Pure; nothing is typed by hand.

A record's time is the mean over its valid runs. Local runs stand below, one row each: they were refereed here,
but nobody has submitted them.
"""

import statistics
from dataclasses import dataclass
from datetime import date

from .record import Record
from .run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One row."""

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
    saving: float | None  # share of the previous record's time that this one saves
    hardware: str
    sandbox: str
    status: str
    reached_target: bool | None


def standings(records: list[Record], local: list[RunRecord]) -> list[Standing]:
    """Records in order of acceptance, oldest first, then local runs, oldest first."""
    rows: list[Standing] = []
    for place, record in enumerate(records, start=1):
        previous = rows[-1].train_time_s if rows else None
        rows.append(_of_record(place, record, previous))
    return rows + [_of_run(run) for run in local]


def _of_record(place: int, record: Record, previous_s: float | None) -> Standing:
    runs = [run for run in record.runs if run.is_valid]
    times = [run.phases.train_ns / 1e9 for run in runs if run.phases.train_ns is not None]
    losses = [run.score.val_loss for run in runs if run.score is not None]
    mean_s = statistics.fmean(times) if times else None
    return Standing(
        place=place,
        name=record.name,
        title=record.statement.title,
        authors=record.statement.authors,
        date=record.statement.date,
        tier=record.runs[0].tier,
        runs=len(record.runs),
        train_time_s=mean_s,
        train_time_sd_s=statistics.stdev(times) if len(times) > 1 else None,
        val_loss=statistics.fmean(losses) if losses else None,
        saving=1 - mean_s / previous_s if mean_s is not None and previous_s else None,
        hardware=hardware(record.runs[0]),
        sandbox=_shared([run.sandbox or "none" for run in record.runs]),
        status="complete" if len(runs) == len(record.runs) else f"{len(record.runs) - len(runs)} runs not valid",
        reached_target=bool(losses) and all(run.reached_target is not False for run in runs),
    )


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


def _shared(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "mixed"
