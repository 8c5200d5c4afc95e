"""The audit: what the logs of each imported record support, beside its claim.

A queue for readers, not a verdict: a flag says that two numbers differ or that one is missing, never why. Everything is
derived from the imported history; the logs themselves are not needed.
"""

import math
import statistics
from dataclasses import dataclass
from datetime import date
from typing import Any

from harness.formats import numbers
from harness.formats.track import Track
from harness.stats import significance

from .history import Day, History, ImportedRecord, ImportedRun, ShownByRuns

TIME_TOLERANCE = 0.01  # share of the claimed time
LOSS_TOLERANCE_NATS = 0.6e-4  # a claim of four decimals, rounded either way


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing to look at."""

    id: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One record: claimed, supported, flagged. Means are over the record's own runs without copies."""

    number: int
    official: bool
    date: date | None
    title: str
    authors: tuple[str, ...]
    claimed_time_s: float | None
    claimed_steps: int | None
    claimed_val_loss: float | None
    claimed_runs: int | None
    group: str
    runs: int
    val_loss: float | None  # mean, nats per token
    val_loss_sd: float | None
    val_loss_range: tuple[float, float] | None
    p_value: float | None  # of the track's test; None where it cannot be made
    steps_excess: float | None  # optimizer track: (target - mean) * sqrt(n), upstream asks for 0.004
    timed_runs: int
    time_s: float | None  # mean, by the scripts' own clock
    time_sd_s: float | None
    time_difference: float | None  # share by which the logs are slower than the claim
    hardware: tuple[str, ...]
    torch: tuple[str, ...]
    merged: Day | None  # UTC; `date` is what the table says
    baseline_runs: int  # of the record before it, beside its own on the same kind of machine
    baseline_time_s: float | None  # mean
    baseline_val_loss: float | None
    flags: tuple[Flag, ...]


def audit(history: History, track: Track) -> list[AuditRow]:
    """One row per imported record, in the order of its table."""
    return [_row(history, track, record) for record in history.records]


def with_shown(history: History, track: Track) -> History:
    """The same history, each record with what its runs show beside its claim."""
    rows = zip(history.records, audit(history, track), strict=True)
    return history.model_copy(
        update={"records": tuple(record.model_copy(update={"shown": shown(record, row)}) for record, row in rows)}
    )


def shown(record: ImportedRecord, row: AuditRow) -> ShownByRuns:
    """What a record is stored with: derived from its runs and its claim, never read from anywhere."""
    claim = record.claim
    return ShownByRuns(
        runs=row.runs,
        time_s=_rounded(row.time_s),
        val_loss=_rounded(row.val_loss),
        time_off_s=_off(claim.train_time_s, row.time_s),
        val_loss_off=_off(claim.val_loss, row.val_loss),
        runs_off=None if claim.runs is None else claim.runs - row.runs,
        flags=tuple(flag.id for flag in row.flags),
    )


def _off(claimed: float | None, found: float | None) -> float | None:
    return None if claimed is None or found is None else _rounded(claimed - found)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _row(history: History, track: Track, record: ImportedRecord) -> AuditRow:
    runs = [history.runs[i] for i in record.runs]
    losses = losses_of(record, runs)
    timed = [run for run in runs if run.train_time_ms is not None and _has_the_gpus(history, track, run)]
    times = [run.train_time_ms / 1000 for run in timed if run.train_time_ms is not None]
    claim, steps = record.claim, track.metric == "steps"
    mean_time = statistics.fmean(times) if times and not steps else None
    values: dict[str, Any] = {
        "runs": len(runs),
        "val_loss": statistics.fmean(losses) if losses else None,
        "val_loss_sd": statistics.stdev(losses) if len(losses) > 1 else None,
        "val_loss_range": (min(losses), max(losses)) if losses else None,
        "p_value": _p_value(losses, track),
        "steps_excess": _excess(losses, track) if steps else None,
        "timed_runs": len(times),
        "time_s": mean_time,
        "time_sd_s": statistics.stdev(times) if len(times) > 1 and not steps else None,
        "time_difference": mean_time / claim.train_time_s - 1 if mean_time and claim.train_time_s else None,
        "hardware": hardware(history, runs),
        "merged": record.merged,
        **_baseline(history, record),
        "torch": tuple(sorted({history.machines[run.machine].torch or "not stated" for run in runs})),
    }
    return AuditRow(
        number=record.number, official=record.official, date=record.date, title=record.title, authors=record.authors,
        claimed_time_s=claim.train_time_s, claimed_steps=claim.steps, claimed_val_loss=claim.val_loss,
        claimed_runs=claim.runs, group=record.group, **values,
        flags=tuple(Flag(*flag) for flag in _flags(history, track, record, values)),
    )  # fmt: skip


def _baseline(history: History, record: ImportedRecord) -> dict[str, Any]:
    runs = [history.runs[i] for i in record.baseline]
    times = [run.train_time_ms / 1000 for run in runs if run.train_time_ms is not None]
    losses = [run.val_loss for run in runs if run.val_loss is not None]
    return {
        "baseline_runs": len(runs),
        "baseline_time_s": statistics.fmean(times) if times else None,
        "baseline_val_loss": statistics.fmean(losses) if losses else None,
    }


def losses_of(record: ImportedRecord, runs: list[ImportedRun]) -> list[float]:
    """The losses the claim is about: at the claimed step, or at the end."""
    return list(record.losses) or [run.val_loss for run in runs if run.val_loss is not None]


def hardware(history: History, runs: list[ImportedRun]) -> tuple[str, ...]:
    """8x NVIDIA H100 80GB HBM3: every kind of machine the logs name."""
    machines = [history.machines[run.machine] for run in runs]
    return tuple(sorted({f"{m.gpu_count}x {m.gpu}" if m.gpu else "not stated" for m in machines}))


def _has_the_gpus(history: History, track: Track, run: ImportedRun) -> bool:
    count = history.machines[run.machine].gpu_count
    return count is None or track.metric == "steps" or count == track.hardware.world_size


def _p_value(losses: list[float], track: Track) -> float | None:
    if track.target_val_loss is None:
        return None
    try:
        if track.significance.test == "z" and track.significance.sigma:
            return significance.z_test(losses, track.target_val_loss, track.significance.sigma).p_value
        return significance.t_test(losses, track.target_val_loss).p_value
    except significance.DegenerateSample:
        return None


def _excess(losses: list[float], track: Track) -> float | None:
    if not losses or track.target_val_loss is None:
        return None
    return significance.steps_excess(track.target_val_loss - statistics.fmean(losses), len(losses))


# --- flags: each rule yields at most one id and sentence ---


def _flags(history: History, track: Track, record: ImportedRecord, values: dict[str, Any]) -> list[tuple[str, str]]:
    lost = _about_lost(history, record)
    if not record.runs and record.stated is not None:
        return [*lost, ("claimed-only", "its numbers are what its authors state; no log of its runs was read")]
    if not record.runs and not record.link:
        return [*lost, ("no-logs", "the table links no log")]
    found = _about_links(history, track, record) + lost
    if not record.runs:
        return [*found, ("no-logs", "no run in the repository supports the row")]
    return (
        found
        + _about_runs(history, track, record)
        + _about_losses(track, record, values)
        + _about_claims(record, values)
    )


def _about_lost(history: History, record: ImportedRecord) -> list[tuple[str, str]]:
    lost = history.lost_below(record.folder)
    if not lost:
        return []
    files = "file of its folder" if len(lost) == 1 else "files of its folder"
    return [("lost-files", f"{len(lost)} {files} could not be read ({lost[0].why}), so it may have more runs")]


def _about_links(history: History, track: Track, record: ImportedRecord) -> list[tuple[str, str]]:
    link = record.link
    if link is None:
        return []
    flags: list[tuple[str, str]] = []
    linked = [history.runs[i] for i in link.runs]
    if not link.exists:
        elsewhere = f"; a log of that name is {history.path(linked[0])}" if linked else ""
        flags.append(("link-missing", f"the linked path does not exist{elsewhere}"))
    others = [run for run in linked if not _has_the_gpus(history, track, run)]
    if others:
        flags.append(("linked-log-other-gpus", f"the linked log ran on {', '.join(hardware(history, others))}"))
    elif linked and set(link.runs).isdisjoint(record.runs):
        flags.append(("linked-log-not-its-own", "the linked log's script is not the record's"))
    losses = [run.val_loss for run in linked if run.val_loss is not None]
    if track.metric != "steps" and losses and track.target_val_loss and min(losses) > track.target_val_loss:
        flags.append(("linked-log-above-target", f"the linked log ends at {numbers.fixed(min(losses), 4)}"))
    return flags


def _about_runs(history: History, track: Track, record: ImportedRecord) -> list[tuple[str, str]]:
    runs, flags = [history.runs[i] for i in record.runs], []
    if len(runs) == 1:
        flags.append(("single-run", "one run: no spread, so no test"))
    if record.left_out:
        flags.append(("truncated-run", f"{record.left_out} of its runs stop before the last step and are left out"))
    if copies := _copies(history, record):
        flags.append(("copied-logs", f"{copies} other logs of the archive repeat its runs"))
    scripts = {run.script for run in runs}
    if track.metric != "steps":
        flags += _about_scripts(history, scripts) + _about_hardware(history, track, runs)
    return flags


def _copies(history: History, record: ImportedRecord) -> int:
    """How many runs that are not its own have the validations of one that is."""
    firsts = [number if run.copy_of is None else run.copy_of for number, run in enumerate(history.runs)]
    own = {firsts[number] for number in record.runs}
    return sum(first in own for number, first in enumerate(firsts) if number not in record.runs)


def _about_scripts(history: History, scripts: set[int]) -> list[tuple[str, str]]:
    flags = []
    if len(scripts) > 1:
        flags.append(("mixed-scripts", f"its runs embed {len(scripts)} different scripts"))
    strange = sum(history.scripts[i].committed is False for i in scripts)
    if strange:
        flags.append(
            ("script-not-committed", f"{strange} of {len(scripts)} embedded scripts never were the repository's")
        )
    return flags


def _about_hardware(history: History, track: Track, runs: list[ImportedRun]) -> list[tuple[str, str]]:
    flags = []
    other = [run for run in runs if not _has_the_gpus(history, track, run)]
    if other:
        named = ", ".join(hardware(history, other))
        flags.append(("other-gpu-count", f"{len(other)} of its runs on {named}; their times are left out"))
    models = track.hardware.gpu_models
    gpus = {history.machines[run.machine].gpu for run in runs} - {""}
    strangers = sorted(gpu for gpu in gpus if models and not any(model in gpu for model in models))
    if strangers:
        flags.append(("other-hardware", f"its runs used {', '.join(strangers)}; the track is for {', '.join(models)}"))
    return flags


def _about_losses(track: Track, record: ImportedRecord, values: dict[str, Any]) -> list[tuple[str, str]]:
    flags, mean, target = [], values["val_loss"], track.target_val_loss
    if mean is None or target is None:
        return [("no-loss", "its logs hold no final loss")]
    if mean > target:
        flags.append(("mean-above-target", f"the mean of its logs is {numbers.fixed(mean, 4)}, the target {target:g}"))
    excess, p_value, alpha = values["steps_excess"], values["p_value"], track.significance.alpha
    if excess is not None:
        if excess < significance.STEPS_EXCESS_NATS and not math.isclose(excess, significance.STEPS_EXCESS_NATS):
            flags.append(
                ("below-its-rule", f"(target - mean) * sqrt(n) is {numbers.fixed(excess, 4)}, the rule asks for 0.004")
            )
    elif p_value is not None and p_value >= alpha:
        waived = "; systems-only, so the test is waived" if record.systems_only else ""
        flags.append(
            (
                "p-not-below-alpha",
                f"p = {numbers.short(p_value, 3)} over {values['runs']} runs, the rule asks for {alpha:g}{waived}",
            )
        )
    return flags


def _about_claims(record: ImportedRecord, values: dict[str, Any]) -> list[tuple[str, str]]:
    claim, flags = record.claim, []
    if claim.train_time_s is not None and values["time_s"] is None:
        flags.append(("no-time-in-logs", "its logs hold no time"))
    difference = values["time_difference"]
    if difference is not None and abs(difference) > TIME_TOLERANCE:
        flags.append(
            ("time-differs", f"its logs take {numbers.fixed(values['time_s'], 2)} s, {difference:+.1%} of the claim")
        )
    claimed_runs = claim.runs if claim.runs is not None or record.stated is None else record.stated.runs
    if claimed_runs is not None and claimed_runs != values["runs"]:
        flags.append(("runs-differ", f"{claimed_runs} runs claimed, {values['runs']} found"))
    if claim.val_loss is not None and abs(values["val_loss"] - claim.val_loss) > LOSS_TOLERANCE_NATS:
        flags.append(
            (
                "loss-differs",
                f"mean loss {numbers.fixed(claim.val_loss, 4)} claimed, {numbers.fixed(values['val_loss'], 5)} found",
            )
        )
    most = max((quoted.runs for quoted in record.quoted), default=0)
    if most > values["runs"]:
        flags.append(
            ("quotes-more-runs", f"its README lists {most} losses, {values['runs']} runs are in the repository")
        )
    return flags
