"""The audit page of a track: every imported record's claim beside what its logs support."""

from collections import Counter
from dataclasses import dataclass

from data.printing import one_line
from harness.formats import numbers
from harness.formats.track import Track

from ..upstream.audit import AuditRow
from ..upstream.audit_tables import INTRODUCTION
from . import addresses
from .rendering import Page
from .tables import Cell, Column, Part, Table, cell
from .track_data import Collection, Imported

COLUMNS = (
    Column("number", "#", "number"),
    Column("record", "record", wide=True),
    Column("claim", "claim", "number", "what the table says"),
    Column("time", "logs say", "number", "mean time of its logs, by the scripts' own clock"),
    Column("differs", "differs", "number", "share by which the logs are slower than the claim"),
    Column("runs", "n", "number"),
    Column("loss", "mean loss", "number"),
    Column("sd", "sd", "number"),
    Column("p", "p", "number"),
    Column("flags", "flags"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """What audit.html shows."""

    track: Track
    introduction: str
    table: Table
    flags: tuple[tuple[str, int], ...]  # how often each is raised, most first
    flagged: int
    total: int


def audit_page(collection: Collection) -> Page | None:
    """None for a track without imported records."""
    if not collection.imported or collection.track is None:
        return None
    rows = tuple(_cells(found, addresses.imported(collection.name, found.key)) for found in collection.imported)
    counts = Counter(flag.id for found in collection.imported for flag in found.audited.flags)
    view = AuditView(
        track=collection.track,
        introduction=INTRODUCTION,
        table=Table("audit", f"Audit of {collection.name}", COLUMNS, rows).without_empty_columns(),
        flags=tuple(counts.most_common()),
        flagged=sum(bool(found.audited.flags) for found in collection.imported),
        total=len(rows),
    )
    return Page(addresses.audit(collection.name), "audit.html", f"Audit of {collection.name}", view)


def _cells(found: Imported, page: str) -> tuple[Cell, ...]:
    row, runs = found.audited, f"{page}#runs"
    return (
        cell(found.key + ("" if row.official else "*"), sort=row.number),
        cell(one_line(row.title), page, notes=[] if row.date is None else [row.date.isoformat()]),
        _claim(row, page),
        cell(numbers.seconds(row.time_s), runs, sort=row.time_s),
        cell(numbers.share(row.time_difference), runs, sort=row.time_difference),
        cell(str(row.runs), runs, sort=row.runs),
        cell(numbers.loss(row.val_loss), runs, sort=row.val_loss),
        cell(numbers.loss(row.val_loss_sd, 5), runs, sort=row.val_loss_sd),
        cell(numbers.p_value(row.p_value), runs, sort=row.p_value),
        Cell(tuple(Part(flag.id, f"{page}#flags") for flag in row.flags), len(row.flags) or None),
    )


def _claim(row: AuditRow, page: str) -> Cell:
    if row.claimed_steps is not None:
        return cell(f"{row.claimed_steps:,} steps", page, sort=row.claimed_steps)
    return cell(numbers.seconds(row.claimed_time_s), page, sort=row.claimed_time_s)
