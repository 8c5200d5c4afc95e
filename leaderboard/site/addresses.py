"""Addresses: where every page of the site lies, and how one page links to another.

An address is a path below the site's folder, `/` between its parts and perhaps a #fragment at its end. No part of it
is ever text of a submission: what could be anything gets a number or a digest.
"""

import hashlib
import posixpath
import re
from urllib.parse import quote

HOME = "index.html"
ABOUT = "about.html"
AUDIT = "audit.html"
MUSEUM = "museum.html"
DATA = "data.html"
AUTHORS = "authors/index.html"
TECHNIQUES = "techniques/index.html"
FEED = "feed.xml"
STYLE = "assets/style.css"
SCRIPT = "assets/app.js"
THEME = "assets/theme.js"
PRIVATE = ".build"  # what the next build wants to know; no page links to it

_CAMPAIGN = re.compile(r"[0-9TZ-]{21}c[0-9a-f]{6}\Z")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")


def track(name: str, page: int = 1) -> str:
    return f"tracks/{name}/{'index' if page == 1 else f'page-{page}'}.html"


def chunk(name: str, number: int) -> str:
    """Rows of a long table, for the script of its page."""
    return f"tracks/{name}/rows-{number}.js"


def record(track: str, name: str) -> str:
    return f"records/{track}/{name}/index.html"


def source(track: str, name: str) -> str:
    return f"records/{track}/{name}/source.html"


def difference(track: str, name: str) -> str:
    return f"records/{track}/{name}/diff.html"


def raw_source(track: str, name: str, number: int) -> str:
    """Text whatever it is: a source file called x.html must not become a page of ours."""
    return f"records/{track}/{name}/source-{number}.txt"


def run(track: str, name: str, number: int, challenge: int | None = None) -> str:
    """The run.json of an attempt of a record's campaign, or of one of its challenges."""
    return f"records/{track}/{name}/{'' if challenge is None else f'challenge-{challenge}-'}run-{number}.json"


def reported(track: str, name: str) -> str:
    """Of one that is not named as campaigns are, by a digest of its name."""
    return f"records/{track}/{name if _CAMPAIGN.match(name) else 'named-' + _digest(name)}/campaign.html"


def stated_run(track: str, name: str, number: int, form: str) -> str:
    """The record (json) or the log (txt) of an attempt of a reported campaign."""
    return f"records/{track}/{name}/run-{number}.{form}"


def imported(track: str, key: str) -> str:
    return f"records/{track}/reported-{key}.html"


def author(name: str) -> str:
    """Whoever has the same name has the same page; two who differ have two, on any file system."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "name"
    return f"authors/{readable}-{_digest(name)}.html"


def technique(name: str) -> str:
    return f"techniques/{name if _PLAIN.match(name) and name != 'index' else 'named-' + _digest(name)}.html"


def audit(track: str) -> str:
    """A track's imported records beside their logs."""
    return f"audit/{track}.html"


def claims(track: str) -> str:
    """What others claim on a track, and no table has accepted."""
    return f"claims/{track}.html"


def standings(track: str, form: str) -> str:
    """Of a track's rows, as json or csv."""
    return f"data/{track}.{form}"


def runs(track: str) -> str:
    """Of every run behind a track's rows."""
    return f"data/{track}-runs.csv"


def relative(here: str, there: str) -> str:
    """What a page at `here` writes to link to `there`; an address of the web stays as it is."""
    if there.startswith("https://"):
        return there
    path, hash, fragment = there.partition("#")
    found = posixpath.relpath(path, posixpath.dirname(here) or ".") if path else ""
    return quote(found) + hash + quote(fragment)


def web(url: str) -> str:
    """The URL if it is plainly one of the web, else nothing: only those become links."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\")
    return url if url.startswith("https://") and plain else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
