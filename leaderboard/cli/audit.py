"""speedrun audit: imported claims beside what their logs support."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats.track import Track, list_tracks, load_track

from ..upstream.audit import AuditRow
from ..upstream.audit import audit as audit_history
from ..upstream.audit_tables import details, markdown, page, terminal_table
from ..upstream.history import read_history
from ..upstream.open_claims import audit_claims, read_claims

Audited = dict[str, list[AuditRow]]  # speedrun audit: track -> rows


def audit(
    track: Annotated[str | None, typer.Option(help="One track; else all with an imported history.")] = None,
    record: Annotated[int | None, typer.Option(help="One row of the table, in full sentences.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Open claims instead of records, by pull request.")] = False,
    flagged: Annotated[bool, typer.Option("--flagged", help="Only rows with something to look at.")] = False,
    md: Annotated[bool, typer.Option("--md", help="As Markdown.")] = False,
    html: Annotated[bool, typer.Option("--html", help="As one HTML page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Compare every imported record with its own logs: n, mean, sd, p, time, and what a reader should look at.

    A list of things to look at, not accusations: a flag says that two numbers differ or that one is missing, never why.
    Works from records/ alone; `speedrun import` fills it.
    """
    if md + html + as_json > 1:
        raise UserError("expected at most one of --md, --html and --json, found more")
    sections = [(contest, _wanted(rows, record, flagged)) for contest, rows in _audited(track, claims)]
    if record is not None and not any(rows for _, rows in sections):
        raise UserError(f"expected the number of an imported record, found {record}")
    if as_json:
        answer: Audited = {contest.name: rows for contest, rows in sections}
        print(json_text(answer))
    elif md:
        print("\n".join(markdown(contest, rows) for contest, rows in sections if rows), end="")
    elif html:
        sys.stdout.write(page(sections))
    else:
        _print(sections, in_full=record is not None)


def _audited(track: str | None, claims: bool) -> list[tuple[Track, list[AuditRow]]]:
    contests = [load_track(track)] if track else list_tracks()
    if claims:
        boards = [(contest, board) for contest in contests if (board := read_claims(contest.name)) is not None]
        if not boards:
            raise UserError(
                "expected imported claims, found none; `speedrun import modded-nanogpt CHECKOUT` reads them"
            )
        return [(contest, audit_claims(board, contest)) for contest, board in boards]
    found = [(contest, history) for contest in contests if (history := read_history(contest.name)) is not None]
    if not found:
        raise UserError("expected an imported history, found none; `speedrun import modded-nanogpt CHECKOUT` makes one")
    return [(contest, audit_history(history, contest)) for contest, history in found]


def _wanted(rows: list[AuditRow], record: int | None, flagged: bool) -> list[AuditRow]:
    return [row for row in rows if (record is None or row.number == record) and (row.flags or not flagged)]


def _print(sections: list[tuple[Track, list[AuditRow]]], *, in_full: bool) -> None:
    console = Console()
    for contest, rows in sections:
        if not in_full:
            console.print(terminal_table(contest, rows, console.width))
            continue
        for row in rows:
            console.print(contest.name, style="bold")
            for line in details(row):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not in_full:
        console.print("* held no record. `--record N` says in full what a row's flags mean.", highlight=False)
