"""Show: everything about one record, derived again from its runs or from its logs."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.campaigns.evidence import Evidence
from harness.errors import RecordError, UserError
from harness.formats import layout, numbers
from harness.formats.run import Finding, RunRecord
from harness.formats.track import load_track
from harness.records.challenge import Challenge
from harness.records.record import Record, read_records_of, source_files
from harness.records.reported import ReportedCampaign, read_all_reported, read_reported
from harness.records.source_changes import FileChange, changes
from harness.records.standings import Standing
from harness.records.verdict import WaivedFinding
from harness.records.verification import VerificationReport, verify_record
from harness.scoring import charges
from harness.selftimed.record import SelfTimedRecord
from harness.system.clock import NS

from ..upstream.audit import AuditRow, audit
from ..upstream.history import ImportedRow, ImportedRun
from ..upstream.imported import imported_standings
from .board import read_board
from .record_names import OwnRecord, ReportedFolder
from .reported import campaign_standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAttempt:
    """One run of a record's campaign. time and loss only where it got so far."""

    run_id: str
    arm: str
    seed: int
    counted: bool
    status: str
    time_s: float | None
    prepare_s: float | None
    val_loss: float | None
    findings: tuple[str, ...]
    charged: tuple[str, ...] = ()  # a sentence for each charge on its answers that is in time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record of this checkout. Nothing in it was typed but the record's own statement."""

    track: str
    name: str
    folder: Path
    standing: Standing | None  # None: it cannot be read, so it holds no place
    record: Record | None
    report: VerificationReport
    runs: tuple[ShownAttempt, ...]
    environment: tuple[tuple[str, str], ...]
    challenges: tuple[Challenge, ...]
    differences: tuple[tuple[str, tuple[FileChange, ...]], ...]  # parent -> files
    reproduce: tuple[str, ...]  # commands

    @property
    def evidence(self) -> Evidence | None:
        return self.report.evidence

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.report.findings

    @property
    def waived(self) -> tuple[WaivedFinding, ...]:
        return self.report.waived


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """A record of another competition: what its table claims and what its logs hold."""

    track: str
    number: str
    standing: Standing
    audited: AuditRow
    runs: tuple[ImportedRun, ...]
    paths: tuple[str, ...]  # of the runs' logs, in the repository
    machines: tuple[tuple[str, str], ...]
    note: str
    links: tuple[tuple[str, str], ...]  # what -> address upstream
    reproduce: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRun:
    """One run of a reported campaign: time and loss as its script states them, wall_s on the referee's clock."""

    run_id: str
    arm: str
    seed: int | None  # None: the script's own
    counted: bool
    status: str
    time_s: float | None
    val_loss: float | None
    wall_s: float | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedView:
    """A campaign of scripts that timed themselves. Nothing in it was typed but its words."""

    track: str
    name: str
    folder: Path
    standing: Standing | None  # None: something of it does not hold, so it has no row
    campaign: ReportedCampaign
    runs: tuple[StatedRun, ...]
    environment: tuple[tuple[str, str], ...]
    reproduce: tuple[str, ...]


def show_reported(reference: ReportedFolder) -> ReportedView:
    """Read a reported campaign again, all of it, and gather what is known."""
    beside = read_all_reported(reference.folder.parent.parent)  # what another one told before is a finding too
    same = (one for one in beside if one.folder.absolute() == reference.folder.absolute())
    found = next(same, None) or read_reported(reference.folder)
    try:
        standing = campaign_standing(found, load_track(reference.track).major)
    except UserError:
        standing = None
    path = shlex.quote(_shortest(reference.folder))
    return ReportedView(
        track=reference.track, name=reference.folder.name, folder=reference.folder, standing=standing, campaign=found,
        runs=tuple(stated_runs(found)), environment=tuple(environment_of(found.runs[0])) if found.runs else (),
        reproduce=(f"speedrun verify {path}", f"speedrun export upstream {path} FOLDER"),
    )  # fmt: skip


def stated_runs(found: ReportedCampaign) -> Iterable[StatedRun]:
    """Every attempt, in the order of the ledger."""
    for attempt in () if found.bundle is None else found.bundle.stated:
        run, (time_s, loss) = attempt.run, attempt.run.result or (None, None)
        yield StatedRun(
            run_id=run.run_id, arm=attempt.slot.arm, seed=run.seed, counted=attempt.counted, status=str(run.status),
            time_s=time_s, val_loss=loss, wall_s=None if run.observed is None else run.observed.wall_ns / NS,
            findings=tuple(dict.fromkeys(finding.id for finding in run.findings)),
        )  # fmt: skip


def show_own(reference: OwnRecord) -> Shown:
    """Verify a record and gather what is known of it. Raises UserError where there is no folder at all."""
    folder = reference.folder
    records, _ = read_records_of(folder.parent)
    report = verify_record(folder, records)[0]
    record = report.record
    first = record.runs[0] if record is not None and record.runs else None
    return Shown(
        track=reference.track,
        name=folder.name,
        folder=folder,
        standing=_standing(reference),
        record=record,
        report=report,
        runs=tuple(_attempted(a.run, a.slot.arm, a.counted) for a in record.bundle.attempts) if record else (),
        environment=tuple(environment_of(first)) if first else (),
        challenges=record.challenges if record else (),
        differences=tuple(_differences(folder, record, records)) if record else (),
        reproduce=_commands(reference, record),
    )


def show_imported(reference: ImportedRow) -> ImportView:
    history, record, track = reference.history, reference.record, load_track(reference.track)
    runs = tuple(history.runs[index] for index in record.runs)
    machines = [history.machines[index] for index in dict.fromkeys(run.machine for run in runs)]
    links = []
    if record.pull_request is not None:
        links.append(("pull request", f"{history.source.repository}/pull/{record.pull_request}"))
    if record.folder is not None:
        links.append(("folder of its logs", history.url(record.folder)))
    if record.link is not None:
        links.append(("linked by its table", history.url(record.link.path)))
    return ImportView(
        track=reference.track,
        number=reference.number,
        standing=imported_standings(track, official_only=False)[reference.index],
        audited=audit(history, track)[reference.index],
        runs=runs,
        paths=tuple(history.path(run) for run in runs),
        machines=tuple((key, str(value)) for machine in machines for key, value in machine._asdict().items() if value),
        note=record.note,
        links=tuple(links),
        reproduce=(f"speedrun reproduce {reference.key} --dry-run",),
    )


def _standing(reference: OwnRecord) -> Standing | None:
    """The record's row on its board, where its track and its folder stand in this checkout."""
    if reference.folder.parent.absolute() != (layout.records_root() / reference.track).absolute():
        return None
    try:
        rows = read_board(load_track(reference.track)).rows
    except UserError:
        return None
    return next((row for row in rows if row.name == reference.folder.name and row.place is not None), None)


def _attempted(run: RunRecord, arm: str, counted: bool) -> ShownAttempt:
    phases = run.phases
    return ShownAttempt(
        run_id=run.run_id, arm=arm, seed=run.seed, counted=counted, status=str(run.status),
        time_s=None if run.time_ns is None else run.time_ns / NS,
        prepare_s=None if phases.prepare_ns is None else phases.prepare_ns / NS,
        val_loss=None if run.score is None else run.score.val_loss,
        findings=tuple(finding.id for finding in run.findings),
        charged=tuple(charges.told(run.charges, run.score)),
    )  # fmt: skip


def environment_of(run: RunRecord | SelfTimedRecord) -> Iterable[tuple[str, str]]:
    """Where and with what a run ran: name and value of everything that is known."""
    found = run.environment
    if isinstance(run, SelfTimedRecord):
        yield "script", f"{run.script.entry} of {run.script.checkout}, started by {run.script.launcher}"
        yield "arguments", " ".join(run.script.arguments) or "none"
        if settings := [*(f"{name}={value}" for name, value in run.script.environment.items()), *run.script.secrets]:
            yield "settings", " ".join(settings)
    yield "sandbox", run.sandbox or "none"
    yield "ranks", f"{run.script.world_size if isinstance(run, SelfTimedRecord) else run.world_size} on {run.device}"
    if found.gpus:
        yield "GPUs", f"{len(found.gpus)}x {' / '.join(sorted({gpu.name for gpu in found.gpus}))}"
        yield "driver", ", ".join(sorted({gpu.driver for gpu in found.gpus}))
        yield "power limit", ", ".join(sorted({f"{gpu.power_limit_w} W" for gpu in found.gpus}))
        yield "largest SM clock", ", ".join(sorted({f"{gpu.max_sm_clock_mhz} MHz" for gpu in found.gpus}))
        yield "ECC", ", ".join(sorted({gpu.ecc for gpu in found.gpus}))
    yield "CPU", f"{found.cpu_cores} cores, {found.cpu_model}"
    yield "memory", numbers.size(found.memory_bytes)
    yield "kernel", found.kernel
    yield "Python", found.python
    yield "torch", (found.torch or "none") + (f", CUDA {found.cuda}" if found.cuda else "")
    if isinstance(run, RunRecord):
        yield "packages", f"{len(found.packages)}, all listed in {layout.LOCK_FILE}"
        yield "harness", f"commit {found.commit or 'unknown'}, rules {run.track.rules_version}"
        yield "dataset", f"{run.track.dataset} ({run.data_at_go or 'never shown'} at GO)"


def _differences(
    folder: Path, record: Record, records: list[Record]
) -> Iterable[tuple[str, tuple[FileChange, ...]]]:  # fmt: skip
    """Lines added and removed against every parent that can be read; against its own baseline where there is none."""
    named = {other.name: other for other in records}
    try:
        new = source_files(folder, "candidate", record.submission)
        for parent in record.statement.parents:
            if parent in named:
                old = source_files(folder.parent / parent, "candidate", named[parent].submission)
                yield parent, changes(old, new)
        if not record.statement.parents and (folder / layout.BASELINE_DIR).is_dir():
            assert record.bundle.baseline is not None
            yield "its baseline", changes(source_files(folder, "baseline", record.bundle.baseline), new)
    except RecordError:
        return  # the findings say what is wrong with it


def _commands(reference: OwnRecord, record: Record | None) -> tuple[str, ...]:
    path = shlex.quote(_shortest(reference.folder))
    plan = record.bundle.plan if record else None
    how = f"--nproc {plan.world_size} --runs {plan.runs_per_arm}" if plan else "--runs 1"
    track = shlex.quote(reference.track)
    return (
        f"speedrun verify {path}",
        f"speedrun run {path} --track {track} {how}",
        f"speedrun reproduce {shlex.quote(reference.key)}",
    )


def _shortest(folder: Path) -> str:
    """As from the root of the checkout, where it lies in there."""
    absolute = folder.absolute()
    return str(absolute.relative_to(layout.ROOT)) if absolute.is_relative_to(layout.ROOT) else str(absolute)
