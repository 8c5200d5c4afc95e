"""The audit page of a track: every imported record's claim beside what its logs support."""

from collections import Counter
from dataclasses import dataclass

from data.printing import one_line
from harness.formats.track import Track

from ..upstream.audit_tables import COLUMNS, INTRODUCTION, MEANINGS, cells
from . import addresses
from .rendering import Page
from .tables import Cell, Column, Part, Table, cell
from .track_data import Collection, Imported

SHOWN = tuple(
    Column(
        name, name, "text" if name in ("record", "flags") else "short" if name == "date" else "number",
        MEANINGS.get(name, ""), wide=name == "record",
    )
    for name in COLUMNS
)  # fmt: skip


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
        table=Table("audit", f"Audit of {collection.name}", SHOWN, rows).without_empty_columns(),
        flags=tuple(counts.most_common()),
        flagged=sum(bool(found.audited.flags) for found in collection.imported),
        total=len(rows),
    )
    return Page(addresses.audit(collection.name), "audit.html", f"Audit of {collection.name}", view)


def _cells(found: Imported, page: str) -> tuple[Cell, ...]:
    """As the audit has them, with links and values to sort by."""
    row = found.audited
    texts = cells(row) | {"#": found.key + ("" if row.official else "*")}
    sort = {
        "#": row.number, "claim": row.claimed_time_s if row.claimed_steps is None else row.claimed_steps,
        "mean time": row.time_s, "differs": row.time_difference, "n": row.runs, "mean loss": row.val_loss,
        "sd": row.val_loss_sd, "p": row.p_value,
    }  # fmt: skip
    links = {name: f"{page}#runs" for name in sort} | {"#": "", "claim": page, "record": page}
    flags = Cell(tuple(Part(flag.id, f"{page}#flags") for flag in row.flags), len(row.flags) or None)
    return tuple(
        flags if name == "flags" else cell(one_line(texts[name]), links.get(name, ""), sort=sort.get(name))
        for name in COLUMNS
    )
