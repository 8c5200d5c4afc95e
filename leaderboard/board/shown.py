"""What `speedrun show --json` prints of one record, made of what the terminal shows."""

from typing import Literal

from harness.formats.environment import Environment
from harness.formats.run import Finding
from harness.formats.section import Section
from harness.records.challenge import Kind
from harness.records.record import Statement
from harness.records.reported import ReportedStatement
from harness.records.source_changes import FileChange
from harness.records.standings import Standing
from harness.records.verdict import RoundedEvidence, WaivedFinding

from ..upstream.audit import AuditRow
from .show import ImportView, ReportedView, Shown, ShownAttempt, StatedRun


class ShownChallenge(Section):
    """One challenge of a record."""

    name: str
    kind: Kind | None  # None: it cannot be read
    intact: bool
    signature: str
    sentence: str | None
    findings: list[Finding]


class Difference(Section):
    """What changed since a parent, or since the baseline."""

    parent: str
    files: list[FileChange]


class ShownRecord(Section):
    """speedrun show, of a record of this checkout. None: it is too broken to say."""

    kind: Literal["record"]
    track: str
    name: str
    folder: str
    holds: bool
    standing: Standing | None
    statement: Statement | None
    evidence: RoundedEvidence | None
    runs: list[ShownAttempt]  # every attempt of its campaign, in order
    environment: Environment | None  # of its first run
    findings: list[Finding]
    waived: list[WaivedFinding]
    signature: str | None
    challenges: list[ShownChallenge]
    differences: list[Difference]
    reproduce: list[str]  # commands


class LoggedImport(Section):
    """One run of an imported record, as its log says; the indices are those of history.json."""

    folder: int
    file: str
    position: int
    val_loss: float | None
    train_time_ms: int | None
    step: int
    total: int | None
    validations: int
    machine: int
    script: int
    copy_of: int | None
    path: str  # of the log, in its repository


class ShownImport(Section):
    """speedrun show, of an imported record: what its table claims and what its logs hold."""

    kind: Literal["imported"]
    track: str
    number: str
    standing: Standing
    audit: AuditRow
    runs: list[LoggedImport]
    machines: list[tuple[str, str]]  # what -> as its logs say, machine after machine
    note: str
    links: dict[str, str]  # what -> address
    reproduce: list[str]


class ShownCampaign(Section):
    """speedrun show, of a campaign of scripts that timed themselves. None: it is too broken to say."""

    kind: Literal["campaign"]
    track: str
    name: str
    folder: str
    holds: bool
    standing: Standing | None
    statement: ReportedStatement | None
    evidence: RoundedEvidence | None
    runs: list[StatedRun]  # every attempt, in order
    environment: Environment | None  # of its first run
    findings: list[Finding]
    signature: str
    reproduce: list[str]


AnyShown = ShownRecord | ShownCampaign | ShownImport  # speedrun show


def answer(found: Shown | ReportedView | ImportView) -> AnyShown:
    """The same for a machine."""
    if isinstance(found, ReportedView):
        return _campaign(found)
    return _imported(found) if isinstance(found, ImportView) else _own(found)


def _own(found: Shown) -> ShownRecord:
    signature, record = found.report.signature, found.record
    return ShownRecord(
        kind="record",
        track=found.track,
        name=found.name,
        folder=str(found.folder),
        holds=found.report.holds,
        standing=found.standing,
        statement=None if record is None else record.statement,
        evidence=found.evidence,
        runs=list(found.runs),
        environment=record.runs[0].environment if found.environment and record else None,
        findings=list(found.findings),
        waived=list(found.waived),
        signature=None if signature is None else str(signature),
        challenges=[
            ShownChallenge(
                name=one.name,
                kind=one.kind,
                intact=one.is_intact,
                signature=str(one.signature),
                sentence=one.statement.sentence if one.statement else None,
                findings=list(one.findings),
            )
            for one in found.challenges
        ],
        differences=[Difference(parent=parent, files=list(files)) for parent, files in found.differences],
        reproduce=list(found.reproduce),
    )


def _campaign(found: ReportedView) -> ShownCampaign:
    one = found.campaign
    return ShownCampaign(
        kind="campaign",
        track=found.track,
        name=found.name,
        folder=str(found.folder),
        holds=not one.errors,
        standing=found.standing,
        statement=one.statement,
        evidence=one.evidence,
        runs=list(found.runs),
        environment=one.runs[0].environment if one.runs else None,
        findings=list(one.findings),
        signature=str(one.signature),
        reproduce=list(found.reproduce),
    )


def _imported(found: ImportView) -> ShownImport:
    return ShownImport(
        kind="imported",
        track=found.track,
        number=found.number,
        standing=found.standing,
        audit=found.audited,
        runs=[LoggedImport(**run._asdict(), path=path) for run, path in zip(found.runs, found.paths, strict=True)],
        machines=list(found.machines),
        note=found.note,
        links=dict(found.links),
        reproduce=list(found.reproduce),
    )
