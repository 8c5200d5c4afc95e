"""The page of a record: its evidence, and the way from every number to its runs."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from data.printing import one_line
from harness.campaigns.bundle import Bundle, read_bundle
from harness.campaigns.evidence import ArmEvidence
from harness.errors import RecordError, UserError
from harness.formats import layout, numbers
from harness.formats.environment import Environment
from harness.formats.run import Finding, RunRecord
from harness.formats.track import Track
from harness.records.challenge import ChallengeStatement
from harness.records.record import Record
from harness.records.verification import VerificationReport
from harness.scoring import charges
from harness.system.clock import NS
from harness.system.plainfile import read_plain

from ..board.show import environment_of
from . import addresses
from .charts import CurveDot, Draw, Figure, RunPoint, curves, scatter
from .prose import prose, without_title
from .sparklines import Strip, strip
from .tables import Cell, Column, Part, Table, cell
from .track_data import Collection, Own

MAX_README_BYTES = 2**18
MAX_CURVE_BYTES = 2**22
CURVE_RUNS, CURVE_POINTS = 40, 64  # drawn at most
MAX_RUNS, MAX_FINDINGS, MAX_PACKAGES = 400, 200, 1000  # shown at most; data/<track>-runs.csv has every run


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One run of a record as the page shows it."""

    number: int
    run: RunRecord
    arm: str
    slot: int
    pair: int | None
    counted: bool

    @property
    def anchor(self) -> str:
        return f"run-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A finding, and the reason that waives it."""

    finding: Finding
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRow:
    """A challenge, what it says, and its runs."""

    report: VerificationReport
    statement: ChallengeStatement | None
    runs: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordView:
    """What record.html shows. record is None where its folder cannot be read: then there is little but findings."""

    own: Own
    track: Track
    record: Record | None
    is_reigning: bool = False
    arms: tuple[ArmEvidence, ...] = ()
    strip: Strip | None = None
    runs: Table | None = None
    findings: tuple[Judged, ...] = ()
    figures: tuple[Figure, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    challenges: tuple[ChallengeRow, ...] = ()
    parents: tuple[Part, ...] = ()
    raced: Part | None = None
    readme: Markup | None = None
    files: tuple[tuple[str, str], ...] = ()  # name -> raw address


def record_view(own: Own, collection: Collection, draw: Draw) -> RecordView:
    """Raises nothing: what cannot be read is not shown, and the findings say so."""
    assert collection.track is not None
    findings = tuple(
        [Judged(finding=finding) for finding in own.report.findings[:MAX_FINDINGS]]
        + [Judged(finding=waived.finding, reason=waived.reason) for waived in own.report.waived[:MAX_FINDINGS]]
    )
    record, track, here = own.record, collection.track, addresses.record(collection.name, own.name)
    if record is None or not record.runs:
        return RecordView(own=own, track=track, record=None, findings=findings)
    attempts = attempted(record)[:MAX_RUNS]
    arms = _arms(record, track)
    names = {other.name for other in collection.own}
    baseline = record.bundle.plan.arm("baseline")
    return RecordView(
        own=own,
        track=track,
        record=record,
        is_reigning=collection.reigning is own,
        arms=arms,
        strip=strip(arms[0].losses, track.target_val_loss),
        runs=_runs_table(attempts, collection.name, own.name),
        findings=findings,
        figures=tuple(_figures(own.report.path, attempts, track, here, draw)),
        environment=tuple((name, one_line(value)) for name, value in environment_of(record.runs[0])),
        packages=_packages(record.runs[0].environment),
        challenges=tuple(_challenge(n, report, own, collection.name) for n, report in enumerate(own.challenges)),
        parents=tuple(_lineage(name, names, collection.name) for name in record.statement.parents),
        raced=None if baseline is None else _lineage(baseline.record or "its own baseline", names, collection.name),
        readme=_readme(own.report.path),
        files=tuple(
            (name, addresses.raw_source(collection.name, own.name, number))
            for number, name in enumerate(record.submission.files)
        ),
    )


def attempted(record: Record) -> list[AttemptRow]:
    """Every attempt of its campaign in the order of the ledger."""
    return _attempts(record.bundle)


def _attempts(bundle: Bundle) -> list[AttemptRow]:
    return [
        AttemptRow(number=i, run=a.run, arm=a.slot.arm, slot=a.slot.index, pair=a.slot.pair, counted=a.counted)
        for i, a in enumerate(bundle.attempts)
    ]


def _packages(environment: Environment) -> tuple[tuple[str, str], ...]:
    found = sorted(environment.packages.items(), key=lambda pair: pair[0].lower())[:MAX_PACKAGES]
    return tuple((one_line(name, 80), one_line(version, 80)) for name, version in found)


def _challenge(number: int, report: VerificationReport, own: Own, track: str) -> ChallengeRow:
    """With its runs, where its campaign can be read."""
    found = own.record.challenges if own.record else ()
    told = next((challenge.statement for challenge in found if challenge.name == report.path.name), None)
    runs = _runs_table(challenge_attempts(report), track, own.name, number) if report.evidence else None
    return ChallengeRow(report=report, statement=told, runs=runs)


def challenge_attempts(report: VerificationReport) -> list[AttemptRow]:
    """Every attempt of a challenge's campaign; none where it cannot be read."""
    try:
        return _attempts(read_bundle(report.path))[:MAX_RUNS]
    except RecordError:
        return []


def _arms(record: Record, track: Track) -> tuple[ArmEvidence, ...]:
    found = (record.evidence.candidate, record.evidence.baseline)
    return tuple(arm for arm in found if arm is not None)


RUN_COLUMNS = (
    Column("run", "run", wide=True),
    Column("arm", "arm"),
    Column("pair", "pair", "number", "runs of a pair shared a seed and stood next to each other"),
    Column("seed", "seed", "number", "drawn by the harness before the first run"),
    Column("time", "time", "number", "GO to STOP on the referee's clock"),
    Column("loss", "val_loss", "number", "nats per token"),
    Column("prepare", "prepare", "number", "untimed, bounded by the track"),
    Column("score", "score", "number", "untimed"),
    Column("gap", "shadow gap", "number", "nats by which text that nobody could know is harder"),
    Column("probe", "probes", "number", "largest difference between two evaluators on one prefix, nats"),
    Column("status", "status"),
)


def _runs_table(attempts: list[AttemptRow], track: str, name: str, challenge: int | None = None) -> Table:
    rows = tuple(_run_cells(found, addresses.run(track, name, found.number, challenge)) for found in attempts)
    anchors = tuple(found.anchor if challenge is None else f"c{challenge}-{found.anchor}" for found in attempts)
    id, caption = (
        ("runs-table", "Runs") if challenge is None else (f"c{challenge}-runs", f"Runs of challenge {challenge + 1}")
    )
    return Table(id, caption, RUN_COLUMNS, rows, (), anchors).without_empty_columns()


def _run_cells(found: AttemptRow, address: str) -> tuple[Cell, ...]:
    run, (time_s, loss) = found.run, found.run.result or (None, None)
    score, phases = run.score, run.phases
    status = run.errors[0].id if run.errors else str(run.status)
    return (
        cell(one_line(run.run_id, 60), address),
        cell(found.arm, notes=[] if found.counted else ["does not count"]),
        cell("" if found.pair is None else str(found.pair), sort=found.pair),
        cell(str(run.seed), sort=run.seed),
        cell(numbers.seconds(time_s), address, sort=time_s, notes=_charged(run)),
        cell(numbers.loss(loss, 5), address, sort=loss),
        cell(_ns(phases.prepare_ns), sort=phases.prepare_ns),
        cell(_ns(phases.score_ns), sort=phases.score_ns),
        cell("" if score is None or score.shadow is None else numbers.signed_loss(score.shadow.gap, 4),
             sort=score.shadow.gap if score and score.shadow else None),
        cell("" if score is None else numbers.tiny(score.probes.max_abs_difference),
             sort=score.probes.max_abs_difference if score else None),
        cell(status, notes=[] if status == "complete" else [one_line(run.sentence)]),
    )  # fmt: skip


def _charged(run: RunRecord) -> list[str]:
    return [one_line(said, 300) for said in charges.told(run.charges, run.score)]


def _ns(value: int | None) -> str:
    return "" if value is None else numbers.seconds(value / NS)


def _figures(folder: Path, attempts: list[AttemptRow], track: Track, here: str, draw: Draw) -> Iterator[Figure]:
    counted = [found for found in attempts if found.counted]
    points = [point for found in counted[:CURVE_RUNS] for point in _curve(folder, found)]
    measured = [(found, found.run.result) for found in counted]
    dots = [
        RunPoint(found.run.run_id, found.arm, values[0], values[1], f"{here}#{found.anchor}")
        for found, values in measured
        if values is not None
    ]
    figures = (scatter(dots, track.target_val_loss, here, draw), curves(points, here, draw))
    yield from (figure for figure in figures if figure is not None)


def _curve(folder: Path, found: AttemptRow) -> list[CurveDot]:
    """Finite points of a run's progress.jsonl, thinned; none where it cannot be read."""
    if found.run.run_id != Path(found.run.run_id).name:
        return []  # an id that leaves its folder
    try:
        path = folder / layout.RECORD_RUNS_DIR / found.run.run_id / layout.PROGRESS_FILE
        lines = read_plain(path, MAX_CURVE_BYTES).splitlines()
    except UserError:
        return []
    points = [point for line in lines if (point := _curve_point(line, found)) is not None]
    if len(points) <= CURVE_POINTS:
        return points
    return [points[i * (len(points) - 1) // (CURVE_POINTS - 1)] for i in range(CURVE_POINTS)]


def _curve_point(line: bytes, found: AttemptRow) -> CurveDot | None:
    try:
        row = json.loads(line)
        step, elapsed_s, loss = int(row["step"]), row["elapsed_ns"] / NS, float(row["train_loss"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if not all(map(math.isfinite, (elapsed_s, loss))):
        return None
    return CurveDot(found.run.run_id, found.arm, step, round(elapsed_s, 4), round(loss, 5))


def _lineage(name: str, known: set[str], track: str) -> Part:
    return Part(name, addresses.record(track, name) if name in known else "")


def _readme(folder: Path) -> Markup | None:
    try:
        text = read_plain(folder / layout.README_FILE, MAX_README_BYTES).decode(errors="replace")
    except UserError:
        return None
    return prose(without_title(text), heading=3)
