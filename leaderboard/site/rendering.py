"""Rendering: a page's values become HTML, every text of them escaped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from data.printing import one_line, visible
from harness.formats import numbers

from ..board.columns import size_sentence
from . import addresses

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).resolve().parent
TEMPLATES, ASSETS = HERE / "templates", HERE / "assets"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
SECTIONS = (
    ("Records", addresses.HOME),
    ("Authors", addresses.AUTHORS),
    ("Techniques", addresses.TECHNIQUES),
    ("Audit", addresses.AUDIT),
    ("Cheats", addresses.MUSEUM),
    ("Data", addresses.DATA),
    ("About", addresses.ABOUT),
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page to be: where it lies, the template that shows it, and what the template calls `page`."""

    address: str
    template: str
    title: str
    view: Any


class Renderer:
    """Templates, compiled once. Text is escaped by default, and made visible on its way into the page."""

    def __init__(self) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finalize,
        )
        self._environment.filters |= {
            "seconds": numbers.seconds, "loss": numbers.loss, "p": numbers.p_value,
            "share": numbers.share, "count": numbers.count, "size": numbers.size, "line": one_line,
            "source_size": size_sentence,
        }  # fmt: skip
        self._environment.globals |= {
            "policy": POLICY,
            "sections": SECTIONS,
            "at": addresses,
            "span": numbers.span_seconds,
        }
        self._templates: dict[str, Template] = {}

    def render(self, page: Page) -> bytes:
        """The page as UTF-8."""
        if page.template not in self._templates:
            self._templates[page.template] = self._environment.get_template(page.template)

        def link(address: str) -> str:
            return addresses.relative(page.address, address)

        values: Mapping[str, Any] = {"page": page.view, "title": page.title, "here": page.address, "link": link}
        return self._templates[page.template].render(values).encode("utf-8", "replace")


def _finalize(value: Any) -> Any:
    """What an expression in a template comes to: nothing for None, and no hidden characters."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
