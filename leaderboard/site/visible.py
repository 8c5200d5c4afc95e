"""Visible text: what a stranger wrote, without characters that hide, reorder or command."""

import unicodedata

_KEPT = frozenset("\n\t")
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_HIDING = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # control, format, surrogate, private, none, line breaks


def visible(text: str) -> str:
    """The text with every invisible, direction-changing or unassigned character shown as a replacement character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDING else _REPLACED for c in text)


def one_line(text: str, limit: int = 200) -> str:
    """The same on one line, cut where it is too long."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
