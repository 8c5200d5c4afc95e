"""Standings as tables: for a terminal, and as rows for pandas and for machines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from data.printing import printable
from harness.formats import numbers
from harness.formats.track import Track
from harness.records.standings import Standing, newest_standing

from ..upstream.imported import UNDATED
from .terminal_plot import sparkline

if TYPE_CHECKING:
    import pandas as pd  # a third of a second: only where a frame is asked for

COLUMNS = (
    "place", "name", "title", "authors", "date", "tier", "runs", "train_time_s", "train_time_sd_s", "val_loss",
    "saving", "hardware", "sandbox", "status", "reached_target",
    "train_time_low_s", "train_time_high_s", "p_value", "ratio", "baseline", "placed_by", "board_time_s", "signer",
    "challenges", "refutations", "claim", "steps", "techniques", "flags",
    "source_files", "source_lines", "source_bytes", "source_lines_change", "source_bytes_change",
    "rules_version", "older_rules", "badge",
)  # fmt: skip

FLAG_NAMES_WIDTH = 140
ROOMY_WIDTH = 100
OPTIONAL = (
    ("p", 78), ("flags", 84), ("date", 94), ("status", 104), ("lines", 116), ("hardware", 124), ("sandbox", 134),
    ("authors", 150),
)  # fmt: skip
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


def frame(rows: Sequence[Standing]) -> "pd.DataFrame":
    """One row per standing, columns as in Standing; authors, techniques and flags joined by a comma."""
    import pandas as pd

    several = ("authors", "techniques", "flags")
    joined = [{name: ", ".join(getattr(row, name)) for name in several} for row in rows]
    values = [{c: getattr(row, c) for c in COLUMNS} | texts for row, texts in zip(rows, joined, strict=True)]
    return pd.DataFrame(values, columns=list(COLUMNS))


def terminal_table(rows: Sequence[Standing], title: str, width: int) -> Table:
    """A rich table; narrow terminals lose the columns that matter least. Colour repeats what the text says."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right")
    table.add_column("record", overflow="fold", ratio=1)
    table.add_column("tier", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("saved", justify="right", no_wrap=True)
    table.add_column("val_loss", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    shown = [n for n, needed in OPTIONAL if width >= needed and any(_optional(row, n, width) for row in rows)]
    for name in shown:
        table.add_column(name, overflow="fold")
    reigning = max((row.place for row in rows if row.place is not None and not row.older_rules), default=None)
    for row in older_below(rows):
        cells = (*_cells(row, width), *(Text(_optional(row, name, width)) for name in shown))
        table.add_row(*cells, style=_style(row, reigning))
    return table


def older_below(rows: Sequence[Standing]) -> list[Standing]:
    """Records, then those of older major rules, then what has no place; else in the order they come."""
    return sorted(rows, key=lambda row: (row.place is None, row.place is not None and row.older_rules))


def progress_line(held: Sequence[Standing]) -> str:
    """The records' times from the first to the one that reigns, as one line; empty for fewer than two."""
    held = newest_standing(held)
    steps = all(row.steps is not None and row.train_time_s is None for row in held)
    found = [float(row.steps or 0) if steps else row.train_time_s for row in held]
    values = [value for value in found if value is not None and value > 0]
    if len(values) < 2:
        return ""
    unit = "steps" if steps else "s"
    drawn, under = sparkline(values), f", {held[-1].mark}" if held[-1].mark else ""
    return (
        f"{numbers.grouped(values[0])} {unit} {drawn} {numbers.grouped(values[-1])} {unit}, "
        f"{numbers.short(values[0] / values[-1], 3)} times in {len(held)} records{under}"
    )


def legend(rows: Sequence[Standing], track: Track) -> str:
    """What the numbers mean and how far they can be trusted, for the rows that are there."""
    parts = []
    if any(row.tier != "reported" for row in rows):
        parts.append("time: GO to STOP on the referee's clock, mean of n runs ± half its 95 % interval")
    if any(row.saving is not None for row in rows):
        parts.append("saved: share of the time of the record before, on one machine")
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


def _cells(row: Standing, width: int) -> list[Text]:
    """Text objects, never markup: titles and names come from submissions."""
    label = marked_title(row) if row.place is not None else f"{marked_title(row)}, {row.name}"
    if row.place is None and row.status not in ("complete", "imported"):
        label += f": {row.status}"
    return [
        Text("" if row.place is None else str(row.place)),
        Text(printable(label)),
        Text(_tier_cell(row, width)),
        Text(time_cell(row)),
        Text(saved_cell(row)),
        Text(_loss_cell(row, width)),
        Text(str(row.runs)),
    ]


def marked_title(row: Standing) -> str:
    """The title, and the rules it was made under where these are no longer the track's."""
    return f"{row.title} ({row.mark})" if row.mark else row.title


def saved_cell(row: Standing) -> str:
    """+3.2%, and whether another machine was the yardstick."""
    if row.saving is None:
        return ""
    return numbers.signed_percent(row.saving) + (" by ratio" if row.placed_by == "ratio" else "")


def _tier_cell(row: Standing, width: int) -> str:
    """reported, campaign: the badge underneath where the width is needed for titles."""
    return row.shown_tier if width >= ROOMY_WIDTH else row.shown_tier.replace(f", {row.badge}", f"\n{row.badge}")


def _loss_cell(row: Standing, width: int) -> str:
    """2.5123, and whether that missed the target: underneath where the width is needed for titles."""
    if row.val_loss is None:
        return ""
    found = numbers.loss(row.val_loss)
    if row.reached_target is not False:
        return found
    return f"{found} missed" if width >= ROOMY_WIDTH else f"{found}\nmissed"


def _optional(row: Standing, name: str, width: int) -> str:
    if name == "p":
        return numbers.plain_p_value(row.p_value)
    if name == "flags":  # by name where there is room
        return ", ".join(row.flags) if width >= FLAG_NAMES_WIDTH else str(len(row.flags) or "")
    if name == "lines":
        return lines_cell(row)
    if name == "date":
        return "" if row.date == UNDATED else str(row.date)
    if name == "status" and row.status == "complete":
        return ""
    if row.tier == "reported" and name in ("status", "sandbox"):
        return ""
    return ", ".join(map(printable, row.authors)) if name == "authors" else printable(str(getattr(row, name)))


def lines_cell(row: Standing) -> str:
    """1,015 (+23): lines of source, and the change against what it builds on."""
    if row.source_lines is None:
        return ""
    return f"{row.source_lines:,}" + ("" if row.source_lines_change is None else f" ({row.source_lines_change:+,})")


def time_cell(row: Standing) -> str:
    """3.54 ±0.15 s: the mean and half of its 95 % interval, where there is one."""
    if row.steps is not None and row.train_time_s is None:
        return f"{row.steps:,} steps"
    if row.train_time_s is None:
        return ""
    if row.train_time_low_s is None or row.train_time_high_s is None:
        return numbers.fixed_seconds(row.train_time_s, 2)
    half = (row.train_time_high_s - row.train_time_low_s) / 2
    return f"{numbers.fixed(row.train_time_s, 2)} ±{numbers.fixed_seconds(half, 2)}"


def _style(row: Standing, reigning: int | None) -> str:
    if row.place is not None:
        return "dim" if row.older_rules else "bold" if row.place == reigning else ""
    return "dim" if row.reached_target else "dim italic"
