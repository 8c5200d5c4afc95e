"""Downloads: the numbers of a track for machines, as JSON and CSV, every run among them."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from data.printing import spreadsheet_text

from .rows import BoardRow, address_of
from .track_data import Collection, Imported, Own, Reported

ROW_KEYS = (
    "place", "name", "title", "authors", "date", "tier", "official", "runs", "train_time_s", "train_time_low_s",
    "train_time_high_s", "train_time_sd_s", "steps", "val_loss", "p_value", "saving", "ratio", "placed_by", "hardware",
    "sandbox", "status", "reached_target", "challenges", "refutations", "techniques", "flags", "signer",
    "rules_version", "older_rules", "badge", "page",
)  # fmt: skip
RUN_KEYS = ("record", "run", "arm", "slot", "counted", "seed", "status", "train_time_s", "val_loss", "steps", "page")


def standings_json(track: str, rows: Sequence[BoardRow]) -> bytes:
    """The same rows as in the table, all columns."""
    return (
        json.dumps({"track": track, "standings": [_row(row) for row in rows]}, default=str, indent=1) + "\n"
    ).encode()


def standings_csv(rows: Sequence[BoardRow]) -> bytes:
    return _csv(ROW_KEYS, (_joined(_row(row)) for row in rows))


def runs_csv(collection: Collection) -> bytes:
    """Every run behind the rows: attempts of ours, counted or not, and the runs of imported logs."""
    return _csv(RUN_KEYS, _runs(collection))


def _row(row: BoardRow) -> dict[str, Any]:
    values = asdict(row.standing) | {"official": row.official, "page": row.address}
    values["date"] = None if row.date is None else row.date.isoformat()
    return {key: values[key] for key in ROW_KEYS}


def _joined(values: dict[str, Any]) -> dict[str, Any]:
    return {key: "; ".join(value) if isinstance(value, tuple) else value for key, value in values.items()}


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


def _csv(keys: Sequence[str], rows: Iterator[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet_text(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode("utf-8", "replace")
