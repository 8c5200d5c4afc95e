"""Columns: what a board says of a row and how it writes it, once for terminal, Markdown, HTML, CSV, JSON and show."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from data.printing import printable
from harness.formats import numbers
from harness.records.standings import Standing

from ..upstream.imported import UNDATED

TERMINAL, MARKDOWN, HTML = "terminal", "markdown", "html"
EVERYWHERE = (TERMINAL, MARKDOWN, HTML)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    """One column. Those without a header are for machines only, who are given the field `key` of every Standing."""

    key: str
    header: str = ""
    meaning: str = ""
    text: Callable[[Standing], str] = lambda _: ""
    notes: Callable[[Standing], Sequence[str]] = lambda _: ()  # beside the text in brackets, or below it
    sort: Callable[[Standing], float | None] | None = None  # None: by the text
    faces: tuple[str, ...] = EVERYWHERE
    width: int = 0  # of terminals that are wide enough for it
    notes_width: int = 0  # and for its notes; where it is not 0, a page that can be linked to holds them

    def shown(self, row: Standing) -> str:
        """The text with its notes, on one line."""
        text, notes = self.text(row), ", ".join(self.notes(row))
        return f"{text} ({notes})" if text and notes else text


def _title(row: Standing) -> str:
    """The title; the name of what has no place, and whatever became of it but a result."""
    name = f", {row.name}" if row.place is None and row.status != "imported" else ""
    status = "" if row.status in ("complete", "imported") else f": {row.status}"
    return printable(row.title + (f" ({row.mark})" if row.mark else "") + name + status)


def _place(row: Standing) -> str:
    """Of imported rows that held no record the number in their table, in brackets."""
    if row.place is not None:
        return str(row.place)
    return f"({row.name.rpartition(' ')[2]})" if row.status == "imported" else ""


def time_text(row: Standing) -> str:
    """3.661 ± 0.221 s; 2,690 steps where no clock decides; empty where there is neither."""
    if row.train_time_s is None:
        return "" if row.steps is None else f"{numbers.count(row.steps)} steps"
    return numbers.seconds_within(row.train_time_s, row.train_time_low_s, row.train_time_high_s)


def date_text(row: Standing) -> str:
    """2026-11-27; empty where nobody knows the day."""
    return "" if row.date == UNDATED else row.date.isoformat()


COLUMNS = (
    BoardColumn(
        key="place", header="#", meaning="the order of acceptance, among records of one major version of the rules",
        text=_place, sort=lambda row: row.place,
    ),
    BoardColumn(key="name"),
    BoardColumn(key="title", header="record", text=_title),
    BoardColumn(
        key="tier", header="tier", meaning="how the number was obtained", text=lambda row: row.tier,
        notes=lambda row: [*([row.badge] if row.badge else []), *["refuted"] * (row.refutations > 0)],
    ),
    BoardColumn(
        key="train_time_s", header="time",
        meaning="GO to STOP on the referee's clock, mean of n runs ± half its 95 % interval", text=time_text,
        sort=lambda row: row.steps if row.train_time_s is None else row.train_time_s,
    ),
    BoardColumn(key="train_time_low_s"),
    BoardColumn(key="train_time_high_s"),
    BoardColumn(key="train_time_sd_s"),
    BoardColumn(key="steps"),
    BoardColumn(
        key="saving", header="saved", meaning="share of the time of the record before, on one machine",
        text=lambda row: numbers.share(row.saving), notes=lambda row: ["by ratio"] * (row.placed_by == "ratio"),
        sort=lambda row: row.saving,
    ),
    BoardColumn(
        key="val_loss", header="val_loss", meaning="mean of n runs, nats per token",
        text=lambda row: numbers.loss(row.val_loss), notes=lambda row: ["missed"] * (row.reached_target is False),
        sort=lambda row: row.val_loss,
    ),
    BoardColumn(
        key="runs", header="n", meaning="runs that count", text=lambda row: numbers.count(row.runs),
        sort=lambda row: row.runs,
    ),
    BoardColumn(
        key="p_value", header="p", meaning="of the track's test against its target", width=78,
        text=lambda row: numbers.p_value(row.p_value), sort=lambda row: row.p_value,
    ),
    BoardColumn(
        key="flags", header="flags", meaning="things in the imported logs that a reader should look at", width=84,
        notes_width=140, faces=(TERMINAL, HTML), text=lambda row: str(len(row.flags) or ""),
        notes=lambda row: row.flags, sort=lambda row: len(row.flags),
    ),
    BoardColumn(
        key="source_lines", header="lines", width=116, faces=(TERMINAL, HTML),
        meaning="of its source, without empty ones; beside it the change against what it builds on",
        text=lambda row: numbers.count(row.source_lines), sort=lambda row: row.source_lines,
        notes=lambda row: [] if row.source_lines_change is None else [f"{row.source_lines_change:+,}"],
    ),
    BoardColumn(key="source_lines_change"),
    BoardColumn(key="source_files"),
    BoardColumn(key="source_bytes"),
    BoardColumn(key="source_bytes_change"),
    BoardColumn(key="techniques", header="techniques", faces=(HTML,), text=lambda row: ", ".join(row.techniques)),
    BoardColumn(
        key="hardware", header="hardware", width=124, faces=(TERMINAL,), text=lambda row: printable(row.hardware)
    ),
    BoardColumn(
        key="sandbox", header="sandbox", width=134, faces=(TERMINAL,),
        text=lambda row: "" if row.tier == "reported" else printable(row.sandbox),
    ),
    BoardColumn(
        key="authors", header="authors", width=150, faces=(TERMINAL, MARKDOWN),
        text=lambda row: ", ".join(map(printable, row.authors)),
    ),
    BoardColumn(key="date", header="date", width=94, text=date_text),
    *(BoardColumn(key=key) for key in (
        "status", "reached_target", "ratio", "baseline", "placed_by", "board_time_s", "signer", "challenges",
        "refutations", "claim", "rules_version", "older_rules", "badge",
    )),
)  # fmt: skip
KEYS = tuple(column.key for column in COLUMNS)
MEANINGS = {column.header: column.meaning for column in COLUMNS if column.header}


def shown_columns(rows: Iterable[Standing], face: str, width: int | None = None) -> list[BoardColumn]:
    """The columns of a face in which a row says something. width: of a terminal, in characters."""
    rows = tuple(rows)
    of_face = [column for column in COLUMNS if column.header and face in column.faces]
    roomy = [column for column in of_face if width is None or width >= column.width]
    return [column for column in roomy if any(map(column.text, rows))]


def newest_first(rows: Iterable[Standing]) -> list[Standing]:
    """Rows of a board, given oldest first, as every face shows them."""
    return sorted(tuple(rows)[::-1], key=section)


def section(row: Standing) -> int:
    """Records of today's major rules stand above those of older ones, and what has no place below both."""
    return 2 if row.place is None else int(row.older_rules)


def values(row: Standing) -> dict[str, Any]:
    """A row for machines: every field as it is, and no date where nobody knows the day."""
    found = {key: getattr(row, key) for key in KEYS}  # asdict copies all it finds, slowly
    return found | {"date": date_text(row) or None}


def joined(found: dict[str, Any]) -> dict[str, Any]:
    """The same for formats whose fields hold one text."""
    return {key: "; ".join(value) if isinstance(value, tuple) else value for key, value in found.items()}


def size_sentence(row: Standing | None) -> str:
    """3 files, 2,900 lines, 180,000 bytes; +120 lines, +5,000 bytes against what it builds on."""
    if row is None or row.source_lines is None:
        return ""
    files = f"{row.source_files} file{'' if row.source_files == 1 else 's'}"
    said = f"{files}, {row.source_lines:,} lines that are not empty, {row.source_bytes:,} bytes"
    if row.source_lines_change is None or row.source_bytes_change is None:
        return said
    return f"{said}; {row.source_lines_change:+,} lines, {row.source_bytes_change:+,} bytes against what it builds on"
