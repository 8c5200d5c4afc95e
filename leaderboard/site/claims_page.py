"""The page of a track's open claims: what authors state beside what their own logs hold. None is a record."""

from dataclasses import dataclass

from data.printing import one_line
from harness.formats import numbers
from harness.formats.track import Track

from ..text.claim_tables import INTRODUCTION
from ..upstream.claim_rows import ClaimRow
from ..upstream.open_claims import STATUSES
from . import addresses
from .rendering import Page
from .tables import Cell, Column, Table, cell
from .track_data import Collection

COLUMNS = (
    Column("claim", "claim", "short"),
    Column("what", "what", wide=True),
    Column("status", "status", "short"),
    Column("claimed", "claimed", "number", "what its authors state"),
    Column("time", "logs say", "number", "mean time of its logs, by the scripts' own clock"),
    Column(
        "baseline", "baseline", "number", "the record before it, in logs beside its own on the same kind of machine"
    ),
    Column("loss", "val_loss", "number", "mean of its logs; in brackets what is stated"),
    Column("runs", "n", "number", "runs in its logs; in brackets what is stated"),
    Column("p", "p", "number", "of the track's test over its logs; in brackets what is stated"),
    Column("lines", "lines", "number", "of its source, without empty ones"),
    Column("builds", "builds on"),
    Column("flags", "flags", explain="as the audit of records has them"),
    Column("date", "date", "short"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsView:
    """What claims.html shows."""

    track: Track
    introduction: str
    table: Table
    total: int
    whole: int
    beating: int
    statuses: tuple[tuple[str, str], ...]


def claims_page(collection: Collection) -> Page | None:
    """None for a track without claims."""
    rows = collection.claims
    if collection.track is None or not rows:
        return None
    view = ClaimsView(
        track=collection.track,
        introduction=INTRODUCTION,
        table=Table("claims", "Open claims", COLUMNS, tuple(map(_cells, rows))).without_empty_columns(),
        total=len(rows),
        whole=sum(row.is_whole for row in rows),
        beating=sum(bool(row.beats_record) for row in rows),
        statuses=tuple(STATUSES.items()),
    )
    return Page(addresses.claims(collection.name), "claims.html", f"Claims on {collection.name}", view)


def _cells(row: ClaimRow) -> tuple[Cell, ...]:
    name = f"#{row.key}" if row.pull_request else row.key
    return (
        cell(one_line(name, 40), addresses.web(row.url), sort=row.pull_request or 0),
        cell(one_line(row.title, 120), notes=[one_line(", ".join(row.authors), 80), one_line(row.note, 300)]),
        cell(row.status),
        _claimed(row),
        cell(numbers.seconds(row.time_s), sort=row.time_s),
        cell(
            numbers.seconds(row.baseline_time_s), sort=row.baseline_time_s,
            notes=[f"n = {row.baseline_runs}" if row.baseline_runs else ""],
        ),
        _either(numbers.loss(row.val_loss), numbers.loss(row.claimed_val_loss), row.val_loss or row.claimed_val_loss),
        _either(numbers.count(row.runs or None), numbers.count(row.claimed_runs), row.runs or row.claimed_runs),
        _either(numbers.p_value(row.p_value), numbers.p_value(row.claimed_p_value), row.p_value),
        cell(numbers.count(row.source_lines), sort=row.source_lines),
        cell(one_line(", ".join(row.parents), 120)),
        cell(", ".join(row.flags)),
        cell("" if row.date is None else row.date.isoformat()),
    )  # fmt: skip


def _claimed(row: ClaimRow) -> Cell:
    notes = ["below the standing record"] if row.beats_record else []
    if row.claimed_steps is not None:
        return cell(f"{row.claimed_steps:,} steps", sort=row.claimed_steps, notes=notes)
    if row.claimed_time_s is None and row.claimed_saving_s is not None:
        return cell(f"{-row.claimed_saving_s:+g} s", notes=["against the record"])
    return cell(numbers.seconds(row.claimed_time_s), sort=row.claimed_time_s, notes=notes)


def _either(logged: str, stated: str, sort: float | None) -> Cell:
    """What the logs hold, else in brackets what is stated."""
    return cell(logged or (f"({stated})" if stated else ""), sort=sort)
