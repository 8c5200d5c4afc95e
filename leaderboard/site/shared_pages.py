"""The pages that no single track owns: home, authors, techniques, audit, museum, data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import addresses
from .contributors import Credit, authors, credits_table, techniques
from .prose import prose, without_title
from .rendering import Page
from .rows import BoardRow, standings_table
from .sparklines import spark
from .tables import Column, Part, Table, cell

NEWEST = 12
SPARK_VALUES = 120
MAX_ROWS = 300  # of an author's or a technique's table: the page must stay light


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSummary:
    """What other pages need to know of a track; kept from one build to the next."""

    name: str
    title: str
    metric: str
    target: float | None
    device: str
    refereed: bool
    problem: str
    rows: tuple[BoardRow, ...]  # oldest first
    reigning: BoardRow | None
    runs: int  # in all of its records
    broken: tuple[tuple[str, str, str], ...]  # name, address, what is wrong
    flagged: int  # imported records with something to look at
    imported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A track on the home page."""

    summary: TrackSummary
    records: int
    spark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeView:
    cards: tuple[Card, ...]
    newest: Table
    records: int
    runs: int
    broken: tuple[tuple[Part, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditView:
    """An author or a technique."""

    noun: str
    credit: Credit
    table: Table
    hidden: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsView:
    noun: str
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class DataView:
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFrontView:
    summaries: tuple[TrackSummary, ...]
    notes: Markup


def shared_pages(summaries: Sequence[TrackSummary], museum: str, notes: str) -> Iterator[Page]:
    """Every page but those of tracks and records. museum, notes on the audit: Markdown, empty where there is none."""
    rows = [row for summary in summaries for row in summary.rows]
    yield Page(addresses.HOME, "home.html", "Training speedruns", _home(summaries, rows))
    yield Page(
        addresses.AUDIT,
        "audit_front.html",
        "Audit of imported records",
        AuditFrontView(summaries=tuple(summaries), notes=_document(notes)),
    )
    yield Page(addresses.MUSEUM, "museum.html", "The museum of cheats", _document(museum))
    yield Page(addresses.ABOUT, "about.html", "About these numbers", None)
    yield Page(addresses.DATA, "data.html", "Data", DataView(table=_downloads(summaries)))
    yield from _credit_pages(authors(rows), "author", addresses.AUTHORS, "Authors")
    yield from _credit_pages(techniques(rows), "technique", addresses.TECHNIQUES, "Techniques")


def _home(summaries: Sequence[TrackSummary], rows: list[BoardRow]) -> HomeView:
    newest = sorted((row for row in rows if row.official and row.date), key=_freshness, reverse=True)[:NEWEST]
    broken = [(Part(name, address), why) for s in summaries for name, address, why in s.broken]
    broken += [(Part(s.name, addresses.track(s.name)), s.problem) for s in summaries if s.problem]
    return HomeView(
        cards=tuple(_card(summary) for summary in sorted(summaries, key=lambda s: (-len(s.rows), s.name))),
        newest=standings_table("newest", "Newest records", newest, with_track=True),
        records=sum(row.official for row in rows),
        runs=sum(summary.runs for summary in summaries),
        broken=tuple(broken),
    )


def _freshness(row: BoardRow) -> tuple[str, str, bool, int]:
    return (str(row.date), row.track, *row.rank)


def _card(summary: TrackSummary) -> Card:
    official = [row for row in summary.rows if row.official]
    values = [row.standing.steps or row.standing.board_time_s or 0.0 for row in official]
    kept = values[:: max(len(values) // SPARK_VALUES, 1)]
    return Card(summary=summary, records=len(official), spark=spark(kept))


def _credit_pages(found: list[Credit], noun: str, index: str, title: str) -> Iterator[Page]:
    yield Page(index, "credits.html", title, CreditsView(noun=noun, table=credits_table("names", title, noun, found)))
    for credit in found:
        newest = credit.rows[::-1][:MAX_ROWS]
        table = standings_table("records", f"Records of {credit.name}", newest, with_track=True)
        view = CreditView(noun=noun, credit=credit, table=table, hidden=len(credit.rows) - len(newest))
        yield Page(credit.address, "credit.html", credit.name, view)


def _document(markdown: str) -> Markup:
    return prose(without_title(markdown), heading=2)


def _downloads(summaries: Sequence[TrackSummary]) -> Table:
    columns = (
        Column("track", "track", wide=True), Column("records", "records", "number"), Column("runs", "runs", "number"),
        Column("json", "standings"), Column("csv", "as a table"), Column("all", "every run"),
    )  # fmt: skip
    rows = tuple(
        (
            cell(s.name, addresses.track(s.name)),
            cell(f"{len(s.rows):,}", sort=len(s.rows)),
            cell(f"{s.runs:,}", sort=s.runs),
            cell("JSON", addresses.standings(s.name, "json")),
            cell("CSV", addresses.standings(s.name, "csv")),
            cell("CSV", addresses.runs(s.name)),
        )
        for s in summaries
        if not s.problem or s.rows
    )
    return Table("downloads", "Downloads", columns, rows)
