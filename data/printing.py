"""Printable text: what a stranger wrote must not move a cursor, change colours or break a line."""

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_KEPT = frozenset("\n\t")
_FORMULAS = "=+-@"
_LEADING = frozenset("\t\r\n")
_HIDING = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # control, format, surrogate, private, none, line breaks


def printable(text: str) -> str:
    """The text with a replacement character for every control, format or lone surrogate character."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in text)


def visible(text: str) -> str:
    """Lines with every invisible, direction-changing or unassigned character shown as a replacement character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDING else REPLACEMENT for c in text)


def one_line(text: str, limit: int = 200) -> str:
    """The text as one printable line of at most `limit` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def spreadsheet_text(value: object) -> object:
    """The value as a cell of a CSV file: text that a spreadsheet would run as a formula begins with an apostrophe.

    Formulas begin with = + - @ in any width, also behind blanks, a tab or a return; numbers stay what they are.
    """
    if not isinstance(value, str):
        return value
    start = unicodedata.normalize("NFKC", value).lstrip()[:1]
    return f"'{value}" if (start and start in _FORMULAS) or value[:1] in _LEADING else value
