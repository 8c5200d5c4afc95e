"""Prose: Markdown that somebody wrote, as HTML that can do nothing but be read."""

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markupsafe import Markup

from data.printing import visible

MAX_PROSE_BYTES = 2**18
DEEPEST_HEADING = 6


def prose(markdown: str, heading: int = 2) -> Markup:
    """Without HTML, images and scripts; links only to the web; the highest heading becomes `heading`."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    for kind in ("fence", "code_block"):
        parser.add_render_rule(kind, _preformatted)
    tokens = parser.parse(visible(markdown[:MAX_PROSE_BYTES]))
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    shift = heading - min(levels, default=heading)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + shift, DEEPEST_HEADING)}"
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # on a phone it scrolls, also by keyboard
        for child in token.children or ():
            _tame(child)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - html is off: all text is escaped


def without_title(markdown: str) -> str:
    """Without the first heading, where a page has that text as its own."""
    first, _, rest = markdown.lstrip().partition("\n")
    return rest if first.startswith("# ") else markdown


def _preformatted(_: RendererProtocol, tokens: Sequence[Token], index: int, *__: object) -> str:
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'


def _tame(token: Token) -> None:
    """A link leads to the web or nowhere, and lends nobody our name."""
    if token.type != "link_open":
        return
    href = str(token.attrGet("href") or "")
    web = href.startswith(("https://", "http://"))
    token.attrs = {"href": href, "rel": "nofollow noopener noreferrer"} if web else {}
