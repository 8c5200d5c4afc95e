"""Printable text: what a stranger wrote must not move a cursor, change colours or break a line."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """The text with a replacement character for every control, format or lone surrogate character."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in text)


def one_line(text: str, limit: int) -> str:
    """The text as one printable line of at most `limit` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
