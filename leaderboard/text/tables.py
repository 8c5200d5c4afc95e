"""Standings as a table for a terminal, and the sentences below it."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from harness.formats import numbers
from harness.formats.track import Track
from harness.records.standings import Standing, newest_standing

from ..board.columns import MEANINGS, TERMINAL, BoardColumn, newest_first, shown_columns
from .terminal_plot import sparkline

ROOMY_WIDTH = 100  # from here on notes stand beside a text, not below it
TIERS = {
    "reported": "timed by the script itself, and imported rows show the claim of their table",
    "refereed": "our clock, data and judge, on a machine whose owner could still forge it",
    "reproduced": "refereed again by somebody else, under another key",
    "local": "refereed here, handed in by nobody",
}


ONE_CAMPAIGN = (
    "one campaign promises little (two equal batches of five runs upstream gave p = 0.0002 and 0.045): what counts is "
    "one that somebody else repeated"
)


BADGE = (
    "campaign: n, order and environment were fixed before the first run and every attempt is kept; times and losses "
    "are those that its scripts state, read again from their logs"
)


def terminal_table(rows: Sequence[Standing], title: str, width: int) -> Table:
    """A rich table, newest first; narrow terminals lose the columns that matter least. Colour repeats what the text
    says; cells are Text objects, never markup: titles and names come from submissions."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = shown_columns(rows, TERMINAL, width)
    for column in shown:
        table.add_column(
            column.header, justify="right" if column.sort and not column.notes_width else "left", overflow="fold",
            no_wrap=not column.width and column.key != "title", ratio=1 if column.key == "title" else None,
        )  # fmt: skip
    reigning = max((row.place for row in rows if row.place is not None and not row.older_rules), default=None)
    for row in newest_first(rows):
        table.add_row(*(Text(_cell(column, row, width)) for column in shown), style=_style(row, reigning))
    return table


def _cell(column: BoardColumn, row: Standing, width: int) -> str:
    if width < column.notes_width:
        return column.text(row)
    return column.shown(row) if width >= ROOMY_WIDTH else "\n".join([column.text(row), *column.notes(row)])


def progress_line(held: Sequence[Standing]) -> str:
    """The records' times from the first to the one that reigns, as one line; empty for fewer than two."""
    held = newest_standing(held)
    steps = all(row.steps is not None and row.train_time_s is None for row in held)
    found = [float(row.steps or 0) if steps else row.train_time_s for row in held]
    values = [value for value in found if value is not None and value > 0]
    if len(values) < 2:
        return ""
    first, last = (f"{value:,.0f} steps" if steps else numbers.seconds(value) for value in (values[0], values[-1]))
    drawn, under = sparkline(values), f", {held[-1].mark}" if held[-1].mark else ""
    return f"{first} {drawn} {last}, {numbers.short(values[0] / values[-1], 3)} times in {len(held)} records{under}"


def legend(rows: Sequence[Standing], track: Track) -> str:
    """What the numbers mean and how far they can be trusted, for the rows that are there."""
    parts = []
    if any(row.tier != "reported" for row in rows):
        parts.append(f"time: {MEANINGS['time']}")
    if any(row.saving is not None for row in rows):
        parts.append(f"saved: {MEANINGS['saved']}")
    if track.target_val_loss is not None and any(row.p_value is not None for row in rows):
        test = f"{track.significance.test}-test of the losses against {track.target_val_loss:g}"
        parts.append(f"p: {test}, below {track.significance.alpha:g} passes")
    for mark in dict.fromkeys(row.mark for row in rows if row.mark):
        parts.append(f"{mark}: made and verified under older rules, and not to be compared with newer rows")
    present = {row.tier for row in rows}
    if present - {"reported"}:
        parts.append(ONE_CAMPAIGN)
    if any(row.badge == "campaign" for row in rows):
        parts.append(BADGE)
    return "; ".join(parts + [f"{tier}: {text}" for tier, text in TIERS.items() if tier in present]) + "."


def _style(row: Standing, reigning: int | None) -> str:
    if row.place is not None:
        return "dim" if row.older_rules else "bold" if row.place == reigning else ""
    return "dim" if row.reached_target else "dim italic"
