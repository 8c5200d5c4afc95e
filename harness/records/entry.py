"""An entry: what a board needs of one record, small enough to be kept beside ten thousand others. Pure."""

import statistics
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a board whose entries an index knows needs none of them
    from ..formats.run import RunRecord
    from ..stats.comparison import Comparison
    from .record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry:
    """One record, without its place. Times in seconds, losses in nats per token; means are over the valid runs."""

    name: str
    title: str
    authors: tuple[str, ...]
    date: date
    tier: str
    techniques: tuple[str, ...]
    claim: str
    predecessors: frozenset[str]  # names of the records it builds on or was raced against
    began_at: datetime
    rules_version: str  # it was made under
    runs: int
    valid: int  # of these
    mean_time_s: float | None
    sd_time_s: float | None
    mean_loss: float | None
    reached_target: bool
    hardware: str
    machine: tuple[str, str]  # equal: their times can be compared
    sandbox: str
    time_low_s: float | None  # 95 % interval of the mean
    time_high_s: float | None
    p_value: float | None
    ratio: float | None  # its time / its baseline's, raced on the same machine; as the verdict gives the saving
    baseline: str | None  # the record that was
    signer: str | None
    challenges: int  # intact ones
    refutations: int  # among them
    parent: str | None  # the record it builds on, else the one it was raced against
    source_files: int | None
    source_lines: int | None
    source_bytes: int | None


def entry_of(record: "Record") -> RecordEntry:
    """Derived from the record's runs, all of it but the statement's words."""
    times, losses = _measured(record)
    arm = record.evidence.candidate
    comparison = record.evidence.comparison
    span = arm.time_interval_s
    raced = record.bundle.plan.arm("baseline")
    intact = [challenge for challenge in record.challenges if challenge.is_intact]
    return RecordEntry(
        name=record.name,
        title=record.statement.title,
        authors=record.statement.authors,
        date=record.statement.date,
        tier=record.tier,
        techniques=record.statement.techniques,
        claim=record.statement.claim,
        predecessors=record.predecessors,
        began_at=record.began_at,
        rules_version=record.rules_version,
        runs=len(record.runs),
        valid=sum(run.is_valid for run in record.runs),
        mean_time_s=statistics.fmean(times) if times else None,
        sd_time_s=statistics.stdev(times) if len(times) > 1 else None,
        mean_loss=statistics.fmean(losses) if losses else None,
        reached_target=bool(losses) and all(run.reached_target is not False for run in record.runs if run.is_valid),
        hardware=hardware(record.runs[0]),
        machine=machine(record.runs[0]),
        sandbox=_shared([run.sandbox or "none" for run in record.runs]),
        time_low_s=span.low if span else None,
        time_high_s=span.high if span else None,
        p_value=arm.p_value,
        ratio=paired_ratio(comparison) if comparison else None,
        baseline=raced.record if raced else None,
        signer=record.signer,
        challenges=len(intact),
        refutations=sum(challenge.kind == "refutation" for challenge in intact),
        parent=next(iter(record.statement.parents), raced.record if raced else None),
        source_files=record.source.files if record.source else None,
        source_lines=record.source.lines if record.source else None,
        source_bytes=record.source.size_bytes if record.source else None,
    )


def paired_ratio(comparison: "Comparison") -> float:
    """From the paired times; of the means where there is but one pair."""
    return comparison.ratio if comparison.saving is None else 1 - comparison.saving.estimate


def hardware(run: "RunRecord") -> str:
    """2x CPU core, 8x NVIDIA H100 80GB HBM3: what the run trained on."""
    if run.device == "cpu":
        return f"{run.environment.cpu_cores}x CPU core"
    names = sorted({gpu.name for gpu in run.environment.gpus})
    return f"{run.world_size}x {' / '.join(names) or 'unknown GPU'}"


def machine(run: "RunRecord") -> tuple[str, str]:
    """What makes two times comparable: the hardware, and where that is the CPU, its model."""
    return hardware(run), run.environment.cpu_model if run.device == "cpu" else ""


def _measured(record: "Record") -> tuple[list[float], list[float]]:
    """Times (s) and losses (nats per token) of the valid runs."""
    results = [run.result for run in record.runs if run.is_valid and run.result is not None]
    return [time for time, _ in results], [loss for _, loss in results]


def _shared(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "mixed"
