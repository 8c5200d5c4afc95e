"""Reported results: self-timed scripts on a board, with a loss our judge measured. Tier `reported`.

Each is the `legacy.json` of a run in records/<track>/reported/. It holds no place, whatever it says: its time is its
own, or, where it claims none, the wall clock of the whole script.
"""

from harness import layout
from harness.errors import RecordError
from harness.legacy_record import LegacyRecord, read_legacy
from harness.standings import Standing
from harness.status import Status
from harness.track import Track

NS = 1_000_000_000


def reported_standings(track: Track) -> tuple[list[Standing], list[str]]:
    """The rows of a track's reported results, oldest first, and a sentence for each file that is none."""
    rows, broken = [], []
    for path in layout.reported_files(track.name):
        try:
            record = read_legacy(path)
            if record.track is None or record.track.name != track.name or record.measured is None:
                raise RecordError(f"expected a result on {track.name} with a measured loss, found none in {path}")
            rows.append(_row(path.stem, record))
        except RecordError as error:
            broken.append(str(error))
    return rows, broken


def before_local(rows: list[Standing], reported: list[Standing]) -> list[Standing]:
    """The rows of a board with reported results behind its records and before its local runs."""
    first = next((number for number, row in enumerate(rows) if row.tier == "local"), len(rows))
    return [*rows[:first], *reported, *rows[first:]]


def _row(name: str, record: LegacyRecord) -> Standing:
    seen, claim, machine = record.observed, record.claim, record.environment
    assert record.measured is not None
    own_ns = claim.train_time_ns if claim is not None and claim.train_time_ns else None
    time_ns = own_ns if own_ns is not None else seen.wall_ns if seen is not None else None
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
        val_loss=record.measured.score.val_loss,
        saving=None,
        hardware=f"{record.script.world_size}x {' / '.join(gpus)}" if gpus else f"{machine.cpu_cores}x CPU core",
        sandbox=record.sandbox or "none",
        status="complete" if record.status == Status.COMPLETE else str(record.status),
        reached_target=record.reached_target,
        steps=claim.step if claim is not None else None,
        flags=tuple(dict.fromkeys(finding.id for finding in record.findings)),
    )
