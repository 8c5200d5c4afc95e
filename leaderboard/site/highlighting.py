"""Highlighting: source as lines of HTML, by pygments; what it cannot take stays plain."""

import hashlib
from collections.abc import Callable, Sequence
from html import escape
from importlib.metadata import version

from markupsafe import Markup

from data.printing import visible

MAX_HIGHLIGHTED = 200_000  # characters of one file; more would take long
PAGE_CHARACTERS = 1_200_000  # of HTML that source takes in one page, which must stay light
LINE_CHARACTERS = 45  # around each line
_LEXERS = {".py": "python", ".toml": "toml", ".json": "json", ".cu": "cuda", ".cpp": "cpp", ".c": "c", ".sh": "bash"}


def source_text(content: bytes) -> str:
    """Bytes of a file as text in which nothing hides; what is not UTF-8 shows as replacement characters."""
    return visible(content.decode(errors="replace").replace("\r\n", "\n"))


Keep = Callable[[str, Callable[[], str]], str]  # (key, how to make it) -> a piece of HTML, perhaps from a cache


def at_once(_: str, make: Callable[[], str]) -> str:
    """Keeps nothing."""
    return make()


class Allowance:
    """How much HTML a page may still take: what a stranger's file is long enough to fill must end somewhere."""

    def __init__(self, characters: int = PAGE_CHARACTERS) -> None:
        self.left = characters

    def take(self, lines: Sequence[Markup]) -> bool:
        """Whether these lines go in; then they are counted."""
        cost = sum(len(line) + LINE_CHARACTERS for line in lines)
        if cost > self.left:
            return False
        self.left -= cost
        return True


def fitting(name: str, text: str, allowance: Allowance, keep: Keep = at_once) -> tuple[list[Markup], bool]:
    """A file's lines, highlighted if that fits, else plain, else the first of them; and whether it is cut."""
    for lines in (highlighted(name, text, keep), plain(text)):
        if allowance.take(lines):
            return lines, False
    kept: list[Markup] = []
    for line in plain(text):
        if not allowance.take([line]):
            break
        kept.append(line)
    return kept, True


def plain(text: str) -> list[Markup]:
    return [Markup(escape(line)) for line in text.split("\n")]  # noqa: S704 - escaped on this line


def highlighted(name: str, text: str, keep: Keep = at_once) -> list[Markup]:
    """One piece of HTML for each line."""
    lexer = _LEXERS.get(name[name.rfind(".") :] if "." in name else "")
    if lexer is None or len(text) > MAX_HIGHLIGHTED:
        return plain(text)
    made = keep(
        hashlib.sha256(f"{version('pygments')}\0{lexer}\0{text}".encode()).hexdigest(), lambda: _made(lexer, text)
    )
    lines = [Markup(line) for line in made.split("\n")]  # noqa: S704 - the formatter escapes
    return lines[: text.count("\n") + 1]  # it ends its output with a newline, whether the text does or not


def _made(lexer: str, text: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    found: str = highlight(text, get_lexer_by_name(lexer, stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True))
    return found
