"""Rows: standings as cells of a table, each number linked to the runs behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from data.printing import one_line
from harness.formats import numbers
from harness.records.standings import Standing

from ..upstream.imported import UNDATED
from . import addresses
from .tables import Cell, Column, Part, Table, cell, linked
from .track_data import Collection, Imported, Own, Reported

SAVED = "share of the previous record's time that this one saves"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """A standing, the track it stands on and the page that tells everything about it."""

    track: str
    address: str
    standing: Standing
    official: bool = True  # False: a reported row that held no record

    @property
    def date(self) -> date | None:
        return None if self.standing.date == UNDATED else self.standing.date

    @property
    def rank(self) -> tuple[bool, int]:
        """Its place; whatever has one under older major rules comes before."""
        return not self.standing.older_rules, self.standing.place or 0


def rows_of(collection: Collection) -> list[BoardRow]:
    """Imported rows, those of reported campaigns, then ours, oldest first."""
    imported = [
        BoardRow(
            track=collection.name, address=addresses.imported(collection.name, found.key),
            standing=found.standing, official=found.record.official,
        )
        for found in collection.imported
    ]  # fmt: skip
    own = [
        BoardRow(track=collection.name, address=addresses.record(collection.name, found.name), standing=found.standing)
        for found in collection.own
        if found.standing is not None
    ]
    reported = [
        BoardRow(
            track=collection.name, address=addresses.reported(collection.name, found.name), standing=found.standing,
            official=False,
        )
        for found in collection.reported
        if found.standing is not None
    ]  # fmt: skip
    return imported + reported + own


def address_of(collection: Collection, found: Own | Imported | Reported) -> str:
    if isinstance(found, Reported):
        return addresses.reported(collection.name, found.name)
    if isinstance(found, Imported):
        return addresses.imported(collection.name, found.key)
    return addresses.record(collection.name, found.name)


COLUMNS = (
    Column("place", "#", "number", "the order of acceptance, among records of one major version of the rules"),
    Column("record", "record", wide=True),
    Column("tier", "tier", "short", explain="how the number was obtained"),
    Column(
        "time", "time", "number", "GO to STOP on the referee's clock, mean over the runs; of imported rows the claim"
    ),
    Column("saved", "saved", "number", SAVED),
    Column("loss", "val_loss", "number", "mean over the runs, nats per token"),
    Column("runs", "n", "number", "runs that count"),
    Column("p", "p", "number", "of the track's test against its target"),
    Column("flags", "flags", "number", "things in the imported logs that a reader should look at"),
    Column(
        "lines", "lines", "number", "of its source, without empty ones; below: the change against what it builds on"
    ),
    Column("techniques", "techniques"),
    Column("date", "date", "short"),
)
TRACK = Column("track", "track", "short")


def standings_table(id: str, caption: str, rows: Sequence[BoardRow], *, with_track: bool = False) -> Table:
    """One row per standing, in the order given; columns that nobody fills are left out.

    with_track: rows of several tracks, each named; techniques give way to that.
    """
    tiers = tuple(dict.fromkeys(row.standing.tier for row in rows))
    columns, lines = COLUMNS, [_cells(row) for row in rows]
    if with_track:
        columns = (*COLUMNS[:2], TRACK, *COLUMNS[2:-2], COLUMNS[-1])
        lines = [(*line[:2], _track_cell(row), *line[2:-2], line[-1]) for row, line in zip(rows, lines, strict=True)]
    return Table(id, caption, columns, tuple(lines), tiers if len(tiers) > 1 else ()).without_empty_columns()


def _cells(row: BoardRow) -> tuple[Cell, ...]:
    found, runs = row.standing, f"{row.address}#runs"
    return (
        cell(_place(row), sort=found.place, notes=[found.mark] * bool(found.mark)),
        cell(one_line(found.title), row.address, notes=_authors(found.authors)),
        _tier(found, row.address),
        _time(found, runs),
        cell(numbers.share(found.saving), runs, sort=found.saving, notes=["by ratio"] * (found.placed_by == "ratio")),
        cell(
            numbers.loss(found.val_loss), runs, sort=found.val_loss,
            notes=["above the target"] if found.reached_target is False else [],
        ),
        cell(numbers.count(found.runs), runs, sort=found.runs),
        cell(numbers.p_value(found.p_value), runs, sort=found.p_value),
        cell(str(len(found.flags) or ""), f"{row.address}#flags", sort=len(found.flags)),
        _lines(found),
        linked((name, addresses.technique(name)) for name in found.techniques),
        cell("" if row.date is None else row.date.isoformat()),
    )  # fmt: skip


def _place(row: BoardRow) -> str:
    if row.standing.place is not None:
        return str(row.standing.place)
    if row.standing.tier != "reported" or row.standing.badge:
        return ""
    return f"({row.standing.name.rpartition(' ')[2]})"


def _authors(names: Iterable[str]) -> tuple[Part, ...]:
    return tuple(Part(one_line(name, 60), addresses.author(name)) for name in names)


def _time(found: Standing, runs: str) -> Cell:
    if found.steps is not None:
        return cell(f"{found.steps:,} steps", runs, sort=found.steps)
    interval = numbers.span_seconds(found.train_time_low_s, found.train_time_high_s)
    note = interval or numbers.minutes(found.train_time_s)
    return cell(numbers.seconds(found.train_time_s), runs, sort=found.train_time_s, notes=[note])


def _lines(found: Standing) -> Cell:
    change = "" if found.source_lines_change is None else f"{found.source_lines_change:+,}"
    return cell(numbers.count(found.source_lines), sort=found.source_lines, notes=[change])


def _tier(found: Standing, address: str) -> Cell:
    notes: list[Part | str] = [*([found.badge] if found.badge else []), found.hardware]
    if found.refutations:
        notes.append(Part("refuted", f"{address}#challenges"))
    return cell(found.tier, addresses.ABOUT + "#tiers", notes=notes)


def _track_cell(row: BoardRow) -> Cell:
    return cell(row.track, addresses.track(row.track))
