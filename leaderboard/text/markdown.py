"""Markdown: standings as a table, in which the words of strangers stay words.

Whatever could be markup, HTML, a link, a mention or an issue in them is written as an entity.
"""

import re
from collections.abc import Sequence

from data.printing import printable
from harness.formats.track import Track
from harness.records.standings import Standing

from ..board.columns import MARKDOWN, newest_first, shown_columns

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
    shown = shown_columns(rows, MARKDOWN)
    lines = [_line([c.header for c in shown]), _line(["---:" if c.sort else "---" for c in shown])]
    return lines + [_line([as_words(c.shown(row)) for c in shown]) for row in newest_first(rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
