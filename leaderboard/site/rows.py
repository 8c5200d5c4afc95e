"""Rows: standings as cells of a table, each number linked to the runs behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from data.printing import one_line
from harness.formats import numbers
from harness.records.standings import Standing

from ..board.columns import HTML, BoardColumn, section, shown_columns
from ..upstream.imported import UNDATED
from . import addresses
from .tables import Cell, Column, Part, Table, cell, linked
from .track_data import Collection, Imported, Own, Reported


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


def newest_first(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Rows of one track in the order of every face of its board."""
    return sorted(rows[::-1], key=lambda row: section(row.standing))


TRACK = Column("track", "track", "short")


def standings_table(id: str, caption: str, rows: Sequence[BoardRow], *, with_track: bool = False) -> Table:
    """One row per standing, in the order given; columns that nobody fills are left out.

    with_track: rows of several tracks, each named; techniques give way to that.
    """
    tiers = tuple(dict.fromkeys(row.standing.tier for row in rows))
    shown = shown_columns((row.standing for row in rows), HTML)
    if with_track:
        shown = [column for column in shown if column.key != "techniques"]
    columns = [
        Column(
            one.header, one.header, "number" if one.sort else "short" if one.key in ("tier", "date") else "text",
            one.meaning, wide=one.key == "title",
        )
        for one in shown
    ]  # fmt: skip
    lines = [[_cell(one, row) for one in shown] for row in rows]
    if with_track:
        columns.insert(2, TRACK)
        for line, row in zip(lines, rows, strict=True):
            line.insert(2, cell(row.track, addresses.track(row.track)))
    return Table(id, caption, tuple(columns), tuple(map(tuple, lines)), tiers if len(tiers) > 1 else ())


def _cell(column: BoardColumn, row: BoardRow) -> Cell:
    """What the column says, with links: from numbers to the runs behind them."""
    found, runs = row.standing, f"{row.address}#runs"
    if column.key == "techniques":
        return linked((name, addresses.technique(name)) for name in found.techniques)
    links = {"title": row.address, "tier": f"{addresses.ABOUT}#tiers", "flags": f"{row.address}#flags"}
    links |= dict.fromkeys(("train_time_s", "saving", "val_loss", "runs", "p_value"), runs)
    notes: list[Part | str] = [] if column.notes_width else list(column.notes(found))
    if column.key == "title":
        notes += [Part(one_line(name, 60), addresses.author(name)) for name in found.authors]
    elif column.key == "tier":
        notes = [Part(note, f"{row.address}#challenges" if note == "refuted" else "") for note in column.notes(found)]
        notes.append(found.hardware)
    elif column.key == "train_time_s":
        notes.append(numbers.minutes(found.train_time_s))
    sort = column.sort(found) if column.sort else None
    return cell(one_line(column.text(found)), links.get(column.key, ""), sort=sort, notes=notes)
