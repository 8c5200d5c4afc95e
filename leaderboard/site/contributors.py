"""Credits: what each author and each technique has brought, over all records."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from data.printing import one_line
from harness.formats import numbers

from . import addresses
from .rows import BoardRow
from .tables import Cell, Column, Table, cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """One name and the rows that carry it, oldest first."""

    name: str
    address: str
    rows: tuple[BoardRow, ...]

    @property
    def savings(self) -> list[float]:
        """Shares of time, of the rows where one is known."""
        return [row.standing.saving for row in self.rows if row.standing.saving is not None]

    @property
    def together(self) -> float | None:
        """The share of time that its records save one after the other: 1 - the product of what each leaves."""
        left = [1 - saving for saving in self.savings]
        return 1 - math.prod(left) if left else None

    @property
    def median(self) -> float | None:
        return statistics.median(self.savings) if self.savings else None

    @property
    def tracks(self) -> list[str]:
        return sorted({row.track for row in self.rows})


def authors(rows: Iterable[BoardRow]) -> list[Credit]:
    """By number of records, most first."""
    return _credits(rows, lambda row: row.standing.authors, addresses.author)


def techniques(rows: Iterable[BoardRow]) -> list[Credit]:
    """By number of records, most first."""
    return _credits(rows, lambda row: row.standing.techniques, addresses.technique)


def _credits(
    rows: Iterable[BoardRow], names: Callable[[BoardRow], Iterable[str]], address: Callable[[str], str]
) -> list[Credit]:
    found: dict[str, list[BoardRow]] = {}
    for row in rows:
        for name in dict.fromkeys(names(row)):
            found.setdefault(name, []).append(row)
    made = [Credit(name=name, address=address(name), rows=tuple(carried)) for name, carried in found.items()]
    return sorted(made, key=lambda credit: (-len(credit.rows), credit.name.lower()))


def credits_table(id: str, caption: str, noun: str, found: Sequence[Credit]) -> Table:
    """One row per name."""
    columns = (
        Column("name", noun, wide=True),
        Column("records", "records", "number"),
        Column("together", "saved together", "number", "share of time its records save, one after the other"),
        Column("median", "median saving", "number", "of one of its records"),
        Column("tracks", "tracks"),
        Column("latest", "latest", "short"),
    )
    return Table(id, caption, columns, tuple(_line(credit) for credit in found)).without_empty_columns()


def _line(credit: Credit) -> tuple[Cell, ...]:
    dates = [row.date for row in credit.rows if row.date is not None]
    return (
        cell(one_line(credit.name, 80), credit.address),
        cell(numbers.count(len(credit.rows)), sort=len(credit.rows)),
        cell(numbers.share(credit.together), sort=credit.together),
        cell(numbers.share(credit.median), sort=credit.median),
        Cell(tuple(cell(track, addresses.track(track)).parts[0] for track in credit.tracks), credit.tracks[0]),
        cell(max(dates).isoformat() if dates else ""),
    )
