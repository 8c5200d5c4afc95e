"""The feed: new records as Atom (RFC 4287), newest first."""

from collections.abc import Sequence
from datetime import date
from xml.etree import ElementTree

from data.printing import one_line
from harness.formats import numbers

from ..board.columns import time_text
from . import addresses
from .rows import BoardRow

MAX_ENTRIES = 50
ATOM = "http://www.w3.org/2005/Atom"


def feed(rows: Sequence[BoardRow], base_url: str = "") -> bytes:
    """Of the newest records that have a date. base_url: of the published site; without it links are relative."""
    dated = [(row.date, row) for row in rows if row.date is not None and row.official]
    newest = sorted(dated, key=lambda pair: (pair[0], pair[1].track, *pair[1].rank), reverse=True)
    root = ElementTree.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    if base_url:
        root.set("xml:base", base_url)
    _text(root, "title", "Training speedruns: new records")
    _text(root, "id", base_url or "urn:speedrun:records")
    _text(root, "updated", _instant(newest[0][0] if newest else date(1970, 1, 1)))
    ElementTree.SubElement(root, "link", {"rel": "self", "href": addresses.FEED})
    ElementTree.SubElement(root, "link", {"rel": "alternate", "href": addresses.HOME})
    for day, row in newest[:MAX_ENTRIES]:
        _entry(root, day, row)
    ElementTree.indent(root, " ")
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _entry(root: ElementTree.Element, day: date, row: BoardRow) -> None:
    entry = ElementTree.SubElement(root, "entry")
    _text(entry, "title", one_line(f"{row.track}: {row.standing.title}"))
    _text(entry, "id", f"urn:speedrun:{row.address.removesuffix('.html').replace('/', ':')}")
    _text(entry, "updated", _instant(day))
    for name in row.standing.authors or ("unknown",):
        author = ElementTree.SubElement(entry, "author")
        _text(author, "name", one_line(name))
    ElementTree.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": row.address})
    _text(entry, "summary", summary(row))


def summary(row: BoardRow) -> str:
    """A record in one sentence."""
    found = row.standing
    parts = [
        time_text(found) or "no time",
        f"val_loss {numbers.loss(found.val_loss)}" if found.val_loss is not None else "",
    ]
    saved = f"{numbers.share(found.saving)} of the previous record's time saved" if found.saving is not None else ""
    return ", ".join(part for part in (*parts, f"n = {found.runs}", f"tier {found.tier}", saved) if part) + "."


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _instant(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
