"""The page of a track: who reigns, how it got there, every row, the rules."""

from dataclasses import dataclass
from typing import Any

from data.printing import one_line
from harness.formats.track import Track
from harness.records.standings import newest_standing
from harness.rules.registry import RULES
from harness.rules.source_rules import SOURCE_RULES

from ..board.columns import time_text
from . import addresses
from .charts import ChartPoint, Draw, Figure, progress
from .rendering import Page
from .rows import BoardRow, address_of, newest_first, rows_of, standings_table
from .tables import Part, Table, chunk_script
from .track_data import Collection

PAGE_ROWS = 250
CHUNK_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    id: str
    severity: str
    why: str
    answers: str
    number: str  # "rules.min_runs = 3", empty where it has none
    waivable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackView:
    """What track.html shows; one of several pages where the table is long."""

    collection: Collection
    track: Track | None
    table: Table
    total: int
    number: int
    pages: tuple[str, ...]  # addresses
    chunks: tuple[str, ...]
    reigning: BoardRow | None
    rows: tuple[BoardRow, ...]
    figure: Figure | None
    rules: tuple[RuleView, ...]
    broken: tuple[tuple[Part, str], ...]  # a record that does not verify, and why


def track_pages(collection: Collection, draw: Draw) -> tuple[list[Page], dict[str, bytes]]:
    """Its pages, and the scripts that hold rows beyond the first page."""
    rows = newest_first(rows_of(collection))
    table = standings_table("standings", f"Records of {collection.name}", rows)
    starts = range(0, max(len(rows), 1), PAGE_ROWS)
    pages = tuple(addresses.track(collection.name, number) for number, _ in enumerate(starts, 1))
    chunks = _chunks(collection.name, table) if len(pages) > 1 else {}
    here = pages[0]
    figure = progress(_points(rows), _unit(collection.track), here, draw)
    views = [
        TrackView(
            collection=collection, track=collection.track, total=len(rows), number=number, pages=pages,
            table=_part(table, start), chunks=tuple(chunks) if number == 1 else (),
            reigning=next((row for row in rows if row.address == _reigning(collection)), None),
            rows=tuple(rows), figure=figure if number == 1 else None, rules=_rules(collection.track),
            broken=_broken(collection),
        )
        for number, start in enumerate(starts, 1)
    ]  # fmt: skip
    title = collection.track.title if collection.track else collection.name
    made = [Page(address, "track.html", title, view) for address, view in zip(pages, views, strict=True)]
    return made, chunks


def _part(table: Table, start: int) -> Table:
    return Table(table.id, table.caption, table.columns, table.rows[start : start + PAGE_ROWS], table.choices)


def _chunks(track: str, table: Table) -> dict[str, bytes]:
    here, rows = addresses.track(track), table.rows
    starts = range(0, len(rows), CHUNK_ROWS)
    return {addresses.chunk(track, n): chunk_script(rows[s : s + CHUNK_ROWS], here) for n, s in enumerate(starts, 1)}


def _reigning(collection: Collection) -> str:
    found = collection.reigning
    return address_of(collection, found) if found else ""


def _broken(collection: Collection) -> tuple[tuple[Part, str], ...]:
    return tuple(
        (Part(one_line(found.name, 80), address_of(collection, found)), one_line(found.problem, 600))
        for found in collection.broken
    )


def _unit(track: Track | None) -> str:
    return "steps" if track is not None and track.metric == "steps" else "seconds"


def _points(rows: list[BoardRow]) -> list[ChartPoint]:
    """The progression, oldest first: by date, or by place where all happened within a week."""
    comparable = {id(one) for one in newest_standing(row.standing for row in rows)}
    official = [
        row for row in rows[::-1] if row.official and id(row.standing) in comparable and _value(row) is not None
    ]
    days = [row.date for row in official if row.date is not None]
    dated = len(days) == len(official) and bool(days) and (max(days) - min(days)).days >= 7
    return [
        ChartPoint(
            when=row.date.isoformat() if dated and row.date is not None else number,
            value=_value(row) or 0.0,
            label=f"{row.standing.title}: {time_text(row.standing)}, {row.standing.tier}, {row.date or 'undated'}",
            techniques=", ".join(row.standing.techniques[:2]),
            address=row.address,
            tier=row.standing.tier,
        )
        for number, row in enumerate(official, 1)
    ]


def _value(row: BoardRow) -> float | None:
    return row.standing.steps or row.standing.board_time_s or row.standing.train_time_s


def _rules(track: Track | None) -> tuple[RuleView, ...]:
    if track is None:
        return ()
    of_runs = [(rule.id, str(rule.severity), rule.why, rule.answers, rule.number) for rule in RULES]
    of_source = [
        (str(name), "error" if name in track.rules.blocking else "warning", f"Expected: {rule.expected}.", rule.answers,
         rule.number)
        for name, rule in SOURCE_RULES.items()
    ]  # fmt: skip
    return tuple(
        RuleView(
            id=id, severity=severity, why=why, answers=answers, number=_number(track, number),
            waivable=id in track.rules.waivable,
        )
        for id, severity, why, answers, number in of_runs + of_source
    )  # fmt: skip


def _number(track: Track, key: str | None) -> str:
    if not key:
        return ""
    value: Any = track
    for part in key.split("."):
        value = getattr(value, part)
    shown = (", ".join(value) or "none") if isinstance(value, tuple) else value
    return f"{key} = {shown}"
