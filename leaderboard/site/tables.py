"""Tables of the site: cells that a template and the page's script show alike.

A cell is text, perhaps with links, and a value to sort by. The first rows of a table stand in the page; the script
draws all others from the same cells, so nothing is ever written in two ways.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from data.printing import visible

from . import addresses


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of text, linked where it has an address."""

    text: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one field."""

    parts: tuple[Part, ...] = ()
    sort: float | str | None = None  # None sorts last, whichever way
    notes: tuple[Part, ...] = ()  # a second, smaller line


@dataclass(frozen=True, slots=True)
class Column:
    """A column; wide: takes the room that is left."""

    key: str
    title: str
    kind: Literal["text", "short", "number"] = "text"  # short: never broken over lines
    explain: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, in their first order."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...] = field(repr=False)
    choices: tuple[str, ...] = ()  # texts of the column `tier` that a reader may choose from
    anchors: tuple[str, ...] = ()  # of the rows, where a number elsewhere leads to them

    def without_empty_columns(self) -> "Table":
        """The same without columns in which no row says anything."""
        kept = [i for i, _ in enumerate(self.columns) if not self.rows or any(row[i].parts for row in self.rows)]
        columns = tuple(self.columns[i] for i in kept)
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return Table(self.id, self.caption, columns, rows, self.choices, self.anchors)


def cell(text: str, address: str = "", *, sort: float | str | None = None, notes: Sequence[Part | str] = ()) -> Cell:
    """One text; empty text makes an empty cell."""
    small = tuple(note if isinstance(note, Part) else Part(note) for note in notes if note)
    return Cell((Part(text, address),) if text else (), text.lower() if sort is None and text else sort, small)


def linked(texts: Iterable[tuple[str, str]]) -> Cell:
    """Several texts with their addresses."""
    parts = tuple(Part(text, address) for text, address in texts)
    return Cell(parts, parts[0].text.lower() if parts else None)


def chunk_script(rows: Sequence[tuple[Cell, ...]], here: str) -> bytes:
    """Rows for the page's script: every cell as [parts, sort, notes], a part as text or [text, link]."""
    packed = json.dumps([[_packed(cell, here) for cell in row] for row in rows], separators=(",", ":"))
    return f"speedrunRows({packed});\n".encode()


def _packed(cell: Cell, here: str) -> list[Any]:
    sides: list[Any] = [[_piece(part, here) for part in cell.parts], cell.sort]
    return [*sides, [_piece(part, here) for part in cell.notes]] if cell.notes else sides


def _piece(part: Part, here: str) -> Any:
    text = visible(part.text)
    return [text, addresses.relative(here, part.address)] if part.address else text
