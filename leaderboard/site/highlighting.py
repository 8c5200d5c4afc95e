"""Highlighting: source as lines of HTML, by pygments; what it cannot take stays plain."""

from html import escape

from markupsafe import Markup

from .visible import visible

MAX_HIGHLIGHTED = 300_000  # characters of one file; the page must stay light
MAX_SHOWN = 900_000
_LEXERS = {".py": "python", ".toml": "toml", ".json": "json", ".cu": "cuda", ".cpp": "cpp", ".c": "c", ".sh": "bash"}


def source_text(content: bytes) -> str:
    """Bytes of a file as text in which nothing hides; what is not UTF-8 shows as replacement characters."""
    return visible(content.decode(errors="replace").replace("\r\n", "\n"))


def highlighted(name: str, text: str) -> list[Markup]:
    """One piece of HTML for each line."""
    lexer = _LEXERS.get(name[name.rfind(".") :] if "." in name else "")
    if lexer is None or len(text) > MAX_HIGHLIGHTED:
        return [Markup(escape(line)) for line in text.split("\n")]  # noqa: S704 - escaped on this line
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    made = highlight(text, get_lexer_by_name(lexer, stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True))
    lines = [Markup(line) for line in made.split("\n")]  # noqa: S704 - the formatter escapes
    return lines[: text.count("\n") + 1]  # it ends its output with a newline, whether the text does or not
