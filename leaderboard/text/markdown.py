"""Markdown: standings as a table, in which the words of strangers stay words.

Whatever could be markup, HTML, a link, a mention or an issue in them is written as an entity.
"""

import re
from collections.abc import Sequence

from data.printing import printable
from harness.formats import numbers
from harness.formats.track import Track
from harness.records.standings import Standing

from ..upstream.imported import UNDATED
from .tables import marked_title, saved_cell

_PLAIN = frozenset(" ,.;+-/%'=?()")  # of ASCII punctuation: means nothing inside a cell
_WWW = re.compile(r"www(?=\.)", re.IGNORECASE)


def as_words(text: str) -> str:
    """Text that shows as it is, and does nothing."""
    safe = "".join(c if c.isalnum() or c in _PLAIN or not c.isascii() else f"&#{ord(c)};" for c in printable(text))
    return _WWW.sub(lambda match: f"{match[0][:-1]}&#{ord(match[0][-1])};", safe)


def standings_table(rows: Sequence[Standing], track: Track) -> list[str]:
    """Lines of a table: newest first, as readers look for the record that stands; older major rules below."""
    if not rows:
        return [f"No record yet: `speedrun run train_gpt.py --track {track.name}`."]
    header = ["#", "record", "tier", "steps" if track.metric == "steps" else "time", "saved", "val_loss", "n", "p",
              "authors", "date"]  # fmt: skip
    right = {"#", "steps", "time", "saved", "val_loss", "n", "p"}
    lines = [_line(header), _line(["---:" if name in right else "---" for name in header])]
    return lines + [
        _line(_cells(row)) for row in sorted(rows, key=lambda row: (not row.older_rules, row.place or 0), reverse=True)
    ]


def _cells(row: Standing) -> list[str]:
    missed = " missed" if row.reached_target is False else ""
    return [
        "" if row.place is None else str(row.place),
        as_words(marked_title(row)),
        row.shown_tier,
        _time(row),
        saved_cell(row),
        numbers.loss(row.val_loss) + ("" if row.val_loss is None else missed),
        str(row.runs),
        numbers.plain_p_value(row.p_value),
        as_words(", ".join(row.authors)),
        "" if row.date == UNDATED else str(row.date),
    ]


def _time(row: Standing) -> str:
    if row.steps is not None and row.train_time_s is None:
        return f"{row.steps:,}"
    if row.train_time_s is None:
        return ""
    span = ""
    if row.train_time_low_s is not None and row.train_time_high_s is not None:
        span = f" ± {numbers.half_width(row.train_time_low_s, row.train_time_high_s)}"
    mean = numbers.grouped(row.train_time_s) + span if row.train_time_s < 1000 else numbers.whole(row.train_time_s)
    return f"{mean} s"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
