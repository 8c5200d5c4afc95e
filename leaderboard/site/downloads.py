"""Downloads: the numbers of a track for machines, as JSON and CSV, every run among them."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..board.columns import KEYS, joined, values
from ..text.exports import csv_table, standings_json
from .rows import BoardRow, address_of
from .track_data import Collection, Imported, Own, Reported

RUN_KEYS = ("record", "run", "arm", "slot", "counted", "seed", "status", "train_time_s", "val_loss", "steps", "page")


def standings(track: str, rows: Sequence[BoardRow]) -> tuple[bytes, bytes]:
    """The rows of the table as JSON and as CSV: all columns, whether they held the record, and their pages."""
    found = [values(row.standing) | {"official": row.official, "page": row.address} for row in rows]
    return standings_json(track, found), csv_table((*KEYS, "official", "page"), map(joined, found))


def runs_csv(collection: Collection) -> bytes:
    """Every run behind the rows: attempts of ours, counted or not, and the runs of imported logs."""
    return csv_table(RUN_KEYS, _runs(collection))


def _runs(collection: Collection) -> Iterator[dict[str, Any]]:
    for found in collection.imported:
        yield from _of_imported(found, address_of(collection, found))
    for reported in collection.reported:
        yield from _of_reported(reported, address_of(collection, reported))
    for own in collection.own:
        yield from _of_own(own, address_of(collection, own))


def _of_own(own: Own, page: str) -> Iterator[dict[str, Any]]:
    record = own.record
    if record is None:
        return
    found = ((a.slot.arm, a.slot.index, a.counted, a.run) for a in record.bundle.attempts)
    for arm, slot, counted, run in found:
        time_s, loss = run.result or (None, None)
        values = (own.name, run.run_id, arm, slot, counted, run.seed, run.status, time_s, loss, None, page)
        yield dict(zip(RUN_KEYS, values, strict=True))


def _of_reported(found: Reported, page: str) -> Iterator[dict[str, Any]]:
    """Times and losses as the scripts state them; none of a campaign that does not hold."""
    if found.standing is None or found.campaign.bundle is None:
        return
    for attempt in found.campaign.bundle.stated:
        run, slot, (time_s, loss) = attempt.run, attempt.slot, attempt.run.result or (None, None)
        step = None if run.claim is None else run.claim.step
        values = (found.name, run.run_id, slot.arm, slot.index, attempt.counted, run.seed, run.status, time_s, loss)
        yield dict(zip(RUN_KEYS, (*values, step, page), strict=True))


def _of_imported(found: Imported, page: str) -> Iterator[dict[str, Any]]:
    for index in found.record.runs:
        run = found.history.runs[index]
        time_s = None if run.train_time_ms is None else run.train_time_ms / 1000
        path = f"{found.history.path(run)}#{run.position}"
        values = (found.standing.name, path, "candidate", None, True, None, "imported", time_s, run.val_loss, run.step)
        yield dict(zip(RUN_KEYS, (*values, page), strict=True))
