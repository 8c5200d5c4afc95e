"""speedrun import: another competition's history, read into records/."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from data.printing import printable
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import layout
from harness.formats.section import Section
from harness.formats.track import load_track

from ..upstream.checkout import Checkout
from ..upstream.claim_rows import ClaimRow, claim_rows
from ..upstream.history import History, encode, write_history
from ..upstream.importing import import_all
from ..upstream.open_claims import ClaimBoard, encode_claims, write_claims
from ..upstream.pull_requests import import_claims

KNOWN = ("modded-nanogpt",)
SHOWN_LOST = 12


class ImportedTrack(Section):
    """What was read of one track of another competition."""

    track: str
    records: int
    official: int
    runs: int
    logs: int
    copies: int
    claims: int
    claims_read: int  # from the checkout; the others are typed
    claims_whole: int  # of which a time or steps, n, a loss and p are known
    lost: list[tuple[str, str]]  # file, and why it could not be had
    bytes: int
    claims_bytes: int
    path: str
    written: bool


class ImportedTracks(Section):
    """speedrun import"""

    commit: str | None  # None: a plain folder without history
    tracks: list[ImportedTrack]


def import_(
    competition: Annotated[str, typer.Argument(help=f"One of {', '.join(KNOWN)}.")],
    checkout: Annotated[Path, typer.Argument(help="A work tree, a bare repository, or its files in a folder.")],
    out: Annotated[Path | None, typer.Option(help="Where <track>/history.json go; records/ of this checkout.")] = None,
    revision: Annotated[str, typer.Option(help="The commit to read.")] = "HEAD",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Read every record, log and open claim of another competition into two files per track.

    history.json has the records; the leaderboard and `speedrun audit` work from it alone. claims.json has what no table
    accepted: folders that no row links, and heads of pull requests that the checkout fetched, as by
    git fetch origin "+refs/pull/*/head:refs/pull/*/head". A claim is never a record.

    The same checkout gives the same bytes; text and source stay where they are: numbers, links and our own words come
    over. Files that cannot be had, or are not what git says they are, are named. Everything imported is `reported`.
    """
    if competition not in KNOWN:
        raise UserError(f"expected one of {', '.join(KNOWN)}, found {competition!r}")
    source = Checkout(checkout, revision)
    with _progress(as_json) as progress:
        imported = import_all(source, progress)
        boards = import_claims(source, imported, progress)
    histories = imported.histories
    places = {history.track: _place(out, history.track) for history in histories}
    if not dry_run:
        for history, board in zip(histories, boards, strict=True):
            places[history.track].parent.mkdir(parents=True, exist_ok=True)
            write_history(places[history.track], history)
            write_claims(places[history.track].with_name(layout.CLAIMS_FILE), board)
    summary = [
        _summary(history, board, places[history.track], written=not dry_run)
        for history, board in zip(histories, boards, strict=True)
    ]
    if as_json:
        print(json_text(ImportedTracks(commit=source.commit or None, tracks=summary)))
        return
    for row in summary:
        verb = "written to" if row.written else "would go to"
        counts = f"{row.records} records ({row.official} official), {row.runs} runs of {row.logs} logs"
        print(f"{row.track}: {counts}; {row.bytes:,} bytes {verb} {row.path}")
        claims = f"{row.claims} open claims, {row.claims_whole} of them whole"
        print(f"  {claims}; {row.claims_bytes:,} bytes beside it")
        for path, why in row.lost[:SHOWN_LOST]:
            print(f"speedrun: could not be read: {printable(path)} ({why})", file=sys.stderr)
        if len(row.lost) > SHOWN_LOST:
            print(f"speedrun: and {len(row.lost) - SHOWN_LOST} files more of {row.track}", file=sys.stderr)


def _place(out: Path | None, track: str) -> Path:
    place = layout.history_file(track)
    return place if out is None else out / track / place.name


def _summary(history: History, board: ClaimBoard, place: Path, *, written: bool) -> ImportedTrack:
    rows = _rows(board, history)
    return ImportedTrack(
        track=history.track,
        records=len(history.records),
        official=sum(record.official for record in history.records),
        runs=len(history.runs),
        logs=len({(run.folder, run.file) for run in history.runs}),
        copies=sum(run.copy_of is not None for run in history.runs),
        claims=len(rows),
        claims_read=sum(bool(claim.commit) or bool(claim.runs) for claim in board.claims),
        claims_whole=sum(row.is_whole for row in rows),
        lost=list(dict.fromkeys((*history.lost, *board.lost))),
        bytes=len(encode(history)),
        claims_bytes=len(encode_claims(board)),
        path=str(place),
        written=written,
    )


def _rows(board: ClaimBoard, history: History) -> list[ClaimRow]:
    return claim_rows(board, load_track(history.track), history)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("reading logs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
