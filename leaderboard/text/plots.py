"""Plots: the points that are drawn, of progress, of loss curves, and of runs' scatter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from harness.errors import RecordError, UserError
from harness.formats import layout
from harness.formats.track import Track
from harness.records.record import Record, read_record
from harness.records.reported import read_reported
from harness.records.standings import Standing, newest_standing
from harness.stats.significance import DegenerateSample, mean_interval

from ..board.progress import read_progress
from ..board.record_names import Reference, ReportedFolder
from ..upstream.audit import losses_of
from ..upstream.history import ImportedRow
from ..upstream.imported import UNDATED

CURVE_POINTS = 256  # of one run
MOST_LABELS = 8
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ProgressPoint:
    """One record that held its track. value: seconds, steps or nats per token, as the track is decided."""

    place: int
    day: date | None
    value: float
    title: str
    techniques: tuple[str, ...]
    tier: str

    @property
    def label(self) -> str:
        return ", ".join(self.techniques) or self.title


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """One report of one run. loss: of training, nats per token."""

    record: str
    run: str
    step: int
    elapsed_s: float
    loss: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """Time (s) and loss (nats per token) of every run of a record, and the 95 % intervals of their means."""

    record: str
    times_s: tuple[float, ...]
    losses: tuple[float, ...]
    time_interval_s: Interval | None
    loss_interval: Interval | None


def unit(track: Track) -> str:
    """Of the values of a progression."""
    return {"train_time": "s", "steps": "steps", "val_loss": "nats per token"}[track.metric]


def value_of(row: Standing, track: Track) -> float | None:
    """What decides a row's place: steps, loss, or its time as on the machine of the board's first record."""
    if track.metric == "val_loss":
        return row.val_loss
    if track.metric == "steps":
        return row.steps
    return row.train_time_s if row.board_time_s is None else row.board_time_s


def progress_points(rows: Sequence[Standing], track: Track) -> list[ProgressPoint]:
    """The records of a board that may be compared, in the order of their places: of the newest major rules."""
    return [
        ProgressPoint(
            row.place, None if row.date == UNDATED else row.date, value, row.title, row.techniques, row.tier
        )
        for row in newest_standing(rows)
        if row.place is not None and (value := value_of(row, track)) is not None and value > 0
    ]  # fmt: skip


def largest_steps(points: Sequence[ProgressPoint], most: int = MOST_LABELS) -> list[int]:
    """Indices of the points that brought most and lie apart from each other, in order."""
    gains = sorted(((points[i - 1].value / points[i].value, i) for i in range(1, len(points))), reverse=True)
    chosen: list[int] = []
    for gain, i in gains:
        if gain > 1 and len(chosen) < most and all(abs(i - other) * 16 >= len(points) for other in chosen):
            chosen.append(i)
    return sorted(chosen)


def curve_points(reference: Reference) -> list[TrainingPoint]:
    """What the candidate's counted runs of a record reported. Raises UserError where there is nothing to draw."""
    if isinstance(reference, ImportedRow):
        raise UserError(
            f"expected a record of this checkout, found {reference.key}, which is imported; its logs have its curves: "
            "`speedrun log FILE --plot` draws one"
        )
    if isinstance(reference, ReportedFolder):
        raise UserError(f"expected a refereed record, found {reference.key}, a campaign of self-timed scripts")
    record = read_record(reference.folder)
    found: list[TrainingPoint] = []
    for run in record.runs:
        reports = read_progress(reference.folder / layout.RECORD_RUNS_DIR / Path(run.run_id).name)
        losses = [(report, report.train_loss) for report in reports if report.train_loss is not None]
        thinned = losses if len(losses) <= CURVE_POINTS else losses[:: -(-len(losses) // CURVE_POINTS)]
        found += [
            TrainingPoint(record.name, run.run_id, report.step, report.elapsed_s, loss) for report, loss in thinned
        ]  # fmt: skip
    if not found:
        raise UserError(f"expected runs that report their training loss, found none in {reference.key}")
    return found


def scatter(reference: Reference) -> Scatter:
    """Every run of a record. Raises RecordError for one that cannot be read."""
    if isinstance(reference, ImportedRow):
        return _imported_scatter(reference)
    if isinstance(reference, ReportedFolder):
        campaign = read_reported(reference.folder)
        if campaign.errors:
            raise RecordError(f"{reference.folder}: {campaign.errors[0].sentence}")
        stated = [values for run in campaign.runs if (values := run.result) is not None]
        return _scatter(reference.key, [time_s for time_s, _ in stated], [loss for _, loss in stated])
    return record_scatter(read_record(reference.folder))


def record_scatter(record: Record) -> Scatter:
    measured = [values for run in record.runs if (values := run.result) is not None]
    if not measured:
        raise RecordError(f"expected a record with a run that counts, found none in {record.name}")
    return _scatter(record.name, [time_s for time_s, _ in measured], [loss for _, loss in measured])


def _imported_scatter(reference: ImportedRow) -> Scatter:
    runs = [reference.history.runs[index] for index in reference.record.runs]
    times = [run.train_time_ms / 1000 for run in runs if run.train_time_ms is not None]
    return _scatter(reference.names[1], times, losses_of(reference.record, runs))


def _scatter(name: str, times: Sequence[float], losses: Sequence[float]) -> Scatter:
    return Scatter(name, tuple(times), tuple(losses), _interval(times), _interval(losses))


def _interval(values: Sequence[float]) -> Interval | None:
    try:
        found = mean_interval(values)
    except DegenerateSample:
        return None
    return found.low, found.high
