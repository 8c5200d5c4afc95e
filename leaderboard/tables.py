"""Standings as tables: for a terminal, and as rows for pandas and for machines."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from harness.standings import Standing

if TYPE_CHECKING:
    import pandas as pd  # a third of a second: only where a frame is asked for

COLUMNS = (
    "place", "name", "title", "authors", "date", "tier", "runs", "train_time_s", "train_time_sd_s", "val_loss",
    "saving", "hardware", "sandbox", "status", "reached_target",
    "train_time_low_s", "train_time_high_s", "p_value", "ratio", "baseline", "placed_by", "board_time_s", "signer",
    "challenges", "refutations", "claim", "steps", "flags",
)  # fmt: skip

FLAG_NAMES_WIDTH = 140


def frame(rows: list[Standing]) -> "pd.DataFrame":
    """One row per standing, columns as in Standing; authors and flags joined by a comma."""
    import pandas as pd

    joined = [{"authors": ", ".join(row.authors), "flags": ", ".join(row.flags)} for row in rows]
    values = [{c: getattr(row, c) for c in COLUMNS} | texts for row, texts in zip(rows, joined, strict=True)]
    return pd.DataFrame(values, columns=list(COLUMNS))


def terminal_table(rows: list[Standing], title: str, width: int) -> Table:
    """A rich table; narrow terminals lose the columns that matter least."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("record", overflow="fold", ratio=1)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("saved", justify="right", no_wrap=True)
    table.add_column("val_loss", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("tier", no_wrap=True)
    optional = [("p", 78), ("flags", 84), ("status", 96), ("sandbox", 110), ("hardware", 130), ("authors", 150)]
    shown = [n for n, needed in optional if width >= needed and any(_optional(row, n, width) for row in rows)]
    for name in shown:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*_cells(row), *(Text(_optional(row, name, width)) for name in shown), style=_style(row))
    return table


def _cells(row: Standing) -> list[Text]:
    """Text objects, never markup: titles and names come from submissions."""
    label = row.title if row.place is not None else f"{row.title}, {row.name}"
    if row.place is None and row.status != "complete":
        label += f": {row.status}"
    return [
        Text("" if row.place is None else str(row.place)),
        Text(printable(label)),
        Text(_time(row)),
        Text("" if row.saving is None else f"{row.saving:+.1%}{' by ratio' if row.placed_by == 'ratio' else ''}"),
        Text(
            "" if row.val_loss is None else f"{row.val_loss:.4f}{'' if row.reached_target is not False else ' missed'}"
        ),
        Text(str(row.runs)),
        Text(row.tier + (", refuted" if row.refutations else "")),
    ]


def _optional(row: Standing, name: str, width: int) -> str:
    if name == "p":
        return "" if row.p_value is None else f"{row.p_value:.2g}"
    if name == "flags":  # by name where there is room
        return ", ".join(row.flags) if width >= FLAG_NAMES_WIDTH else str(len(row.flags) or "")
    if row.tier == "reported" and name in ("status", "sandbox"):
        return ""
    return ", ".join(map(printable, row.authors)) if name == "authors" else printable(str(getattr(row, name)))


def _time(row: Standing) -> str:
    if row.steps is not None:
        return f"{row.steps:,} steps"
    if row.train_time_s is None:
        return ""
    spread = "" if row.train_time_sd_s is None else f" ±{row.train_time_sd_s:.2f}"
    return f"{row.train_time_s:.2f}{spread} s"


def _style(row: Standing) -> str:
    if row.place is not None:
        return ""
    return "dim" if row.reached_target else "dim italic"


def printable(text: str) -> str:
    """Without control characters: a title must not move the cursor or change colours."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
