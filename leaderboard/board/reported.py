"""Reported results: self-timed scripts on a board, with a loss our judge measured. Tier `reported`.

Each is the `legacy.json` of a run, in records/<track>/reported/ or among the local runs. It holds no place, whatever it
says: its time is its own, or, where it claims none, the wall clock of the whole script. Without a measured loss it has
neither time nor loss, and stands only among the local runs.
"""

from dataclasses import replace

from harness.errors import RecordError
from harness.formats import layout
from harness.formats.track import Track
from harness.records.standings import Standing
from harness.selftimed.record import SelfTimedRecord, read_self_timed
from harness.status import Status
from harness.system.clock import NS


def reported_standings(track: Track) -> tuple[list[Standing], list[str]]:
    """The rows of a track's reported results, oldest first, and a sentence for each file that is none."""
    rows, broken = [], []
    for path in layout.reported_files(track.name):
        try:
            record = read_self_timed(path)
            if record.track is None or record.track.name != track.name or record.measured is None:
                raise RecordError(f"expected a result on {track.name} with a measured loss, found none in {path}")
            rows.append(_row(path.stem, record))
        except RecordError as error:
            broken.append(str(error))
    return rows, broken


def local_standing(record: SelfTimedRecord) -> Standing:
    """The row of a self-timed run that nobody handed in: `reported` too, because nobody refereed it."""
    row = _row(record.run_id, record)
    return replace(row, title=f"{row.title} (local)")


def _row(name: str, record: SelfTimedRecord) -> Standing:
    measured, claim, machine = record.measured, record.claim, record.environment
    time_ns = None if measured is None else _time_ns(record)
    gpus = sorted({gpu.name for gpu in machine.gpus})
    return Standing(
        place=None,
        name=name,
        title=f"{record.script.checkout}/{record.script.entry}, unmodified",
        authors=(),
        date=record.started_at.date(),
        tier=record.tier,
        runs=1,
        train_time_s=None if time_ns is None else time_ns / NS,
        train_time_sd_s=None,
        val_loss=None if measured is None else measured.score.val_loss,
        saving=None,
        hardware=f"{record.script.world_size}x {' / '.join(gpus)}" if gpus else f"{machine.cpu_cores}x CPU core",
        sandbox=record.sandbox or "none",
        status="not measured" if record.status == Status.COMPLETE and measured is None else str(record.status),
        reached_target=record.reached_target,
        steps=claim.step if claim is not None else None,
        flags=tuple(dict.fromkeys(finding.id for finding in record.findings)),
    )


def _time_ns(record: SelfTimedRecord) -> int | None:
    if record.claim is not None and record.claim.train_time_ns:
        return record.claim.train_time_ns
    return None if record.observed is None else record.observed.wall_ns
