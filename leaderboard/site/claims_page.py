"""The page of a track's open claims: what authors state beside what their own logs hold. None is a record."""

from collections.abc import Sequence
from dataclasses import dataclass

from data.printing import one_line
from harness.formats.track import Track

from ..text.claim_tables import INTRODUCTION, MEANINGS, MEASURED, cells
from ..upstream.claim_rows import ClaimRow
from ..upstream.open_claims import STATUSES
from . import addresses
from .rendering import Page
from .tables import Column, Table, cell
from .track_data import Collection

SHORT = ("claim", "status", "date")


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
        table=_table(rows),
        total=len(rows),
        whole=sum(row.is_whole for row in rows),
        beating=sum(bool(row.beats_record) for row in rows),
        statuses=tuple(STATUSES.items()),
    )
    return Page(addresses.claims(collection.name), "claims.html", f"Claims on {collection.name}", view)


def _table(rows: Sequence[ClaimRow]) -> Table:
    """As the board of claims has it, with links, values to sort by and what there is no room for elsewhere."""
    texts = [cells(row) for row in rows]
    columns = tuple(
        Column(
            name, name, "number" if name in MEASURED else "short" if name in SHORT else "text", MEANINGS.get(name, ""),
            wide=name == "what",
        )
        for name in texts[0]
    )  # fmt: skip
    lines = []
    for row, found in zip(rows, texts, strict=True):
        claimed = row.claimed_time_s if row.claimed_steps is None else row.claimed_steps
        sort = {
            "claim": row.pull_request or 0, "claimed": claimed, "in its logs": row.time_s, "n": row.runs,
            "baseline": row.baseline_time_s, "val_loss": row.val_loss or row.claimed_val_loss, "p": row.p_value,
            "lines": row.source_lines,
        }  # fmt: skip
        stated = claimed is None and row.claimed_saving_s is not None
        notes = {
            "what": [one_line(", ".join(row.authors), 80), one_line(row.note, 300)],
            "claimed": ["against the record"] * stated + ["below the standing record"] * bool(row.beats_record),
        }
        links = {"claim": addresses.web(row.url)}
        lines.append(
            tuple(
                cell(
                    one_line(text, 40 if name == "claim" else 120),
                    links.get(name, ""),
                    sort=sort.get(name),
                    notes=notes.get(name, ()),
                )
                for name, text in found.items()
            )
        )
    return Table("claims", "Open claims", columns, tuple(lines)).without_empty_columns()
