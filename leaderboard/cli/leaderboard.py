"""speedrun leaderboard: the standings of a track."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from data.printing import printable
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import layout
from harness.formats.run_folder import unjudged_runs
from harness.formats.track import Track, default_track, load_track
from harness.records.standings import Standing

from ..board.board import LOCAL_ROWS, Board, read_board
from ..board.entries import OnRead
from ..board.filters import Filters, parse_filters, suggestion
from ..text.tables import legend, progress_line, terminal_table

FORMATS = ("table", "csv", "json", "md", "parquet")
CLAIM_FORMATS = ("table", "csv", "json", "md")
RECORD_ROWS = 100  # of a table; other formats hold everything


def leaderboard(
    track: Annotated[str | None, typer.Option(help="A track of `speedrun tracks`.")] = None,
    tier: Annotated[str | None, typer.Option(help="At least reported, refereed or reproduced; or local.")] = None,
    author: Annotated[str | None, typer.Option(help="Rows with this in an author's name.")] = None,
    technique: Annotated[str | None, typer.Option(help="Rows with this in a technique, as in muon.")] = None,
    since: Annotated[str | None, typer.Option(help="Rows of this date or later, as in 2026-11-22.")] = None,
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
    out: Annotated[Path | None, typer.Option("--out", help="A file to write instead of the terminal.")] = None,
    all_rows: Annotated[
        bool,
        typer.Option("--all", help=f"Every record and local run, not only the last {RECORD_ROWS} and {LOCAL_ROWS}."),
    ] = False,
    records_only: Annotated[bool, typer.Option("--records", help="Records only, no local runs.")] = False,
    claims: Annotated[bool, typer.Option("--claims", help="What others claim, and no table has accepted.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read every record again, without the index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show who holds the records of a track, and below them your local runs.

    The newest stands first. time is GO to STOP on the referee's clock, the mean over a record's runs, ± half its 95 %
    interval; saved compares with the record before; tier says how a number was obtained (local: refereed here, not
    submitted; reported: imported, the time is the claim of its own table, n and val_loss are what its logs hold, and
    `speedrun audit` compares; or of a script that timed itself under `speedrun run --legacy`, val_loss as our judge
    measured it). lines: of the source, those that are not empty, and in brackets how many more than what it builds on.
    `speedrun show RECORD` tells everything about one row.

    --claims: a board of its own for claims, none of which is a record: what their authors state, beside their own logs.
    """
    form = "json" if as_json else format
    if claims:
        _show_claims(load_track(track or default_track()), form, out)
        return
    _check(form, out)
    filters = parse_filters(tier, author, technique, since)
    contest = load_track(track or default_track())
    with _reading() as on_read:
        local = 0 if records_only else None if all_rows else LOCAL_ROWS
        board = read_board(contest, local=local, fresh=fresh, on_read=on_read)
    rows = [row for row in board.rows if filters.keep(row)]
    if form == "table":
        _print_table(Console(), board, rows, filters, None if all_rows else RECORD_ROWS)
    else:
        from ..text.exports import export

        _write(export(rows, contest, form), out)
    for sentence in board.broken:
        print(f"speedrun: left out: {printable(sentence)}", file=sys.stderr)
    for folder, run in () if local == 0 else unjudged_runs(layout.runs_root()):
        if run.track.name == contest.name:
            told = f"{run.run_id}: {run.sentence}; if it is over, `speedrun close {folder}`"
            print(f"speedrun: {printable(told)}", file=sys.stderr)


def _show_claims(contest: Track, form: str, out: Path | None) -> None:
    from ..text.claim_tables import ClaimList, claims_csv, claims_markdown, claims_table, sentences
    from ..upstream.claim_rows import read_claim_rows
    from ..upstream.history import read_history

    if form not in CLAIM_FORMATS:
        raise UserError(f"expected one of {', '.join(CLAIM_FORMATS)}, found {form!r} for --format with --claims")
    _check(form, out)
    rows = read_claim_rows(contest, read_history(contest.name))
    if form == "table":
        console = Console()
        if not rows:
            _say(
                console,
                f"no claims on {contest.name} were imported; `speedrun import modded-nanogpt CHECKOUT` reads them",
            )
            return
        console.print(claims_table(contest, rows, console.width))
        for sentence in sentences(rows):
            _say(console, sentence)
        return
    if form == "json":
        content = (json_text(ClaimList(track=contest.name, claims=rows)) + "\n").encode()
    else:
        content = claims_csv(rows) if form == "csv" else claims_markdown(contest, rows)
    _write(content, out)


def _check(form: str, out: Path | None) -> None:
    if form not in FORMATS:
        raise UserError(f"expected one of {', '.join(FORMATS)}, found {form!r} for --format")
    if form == "parquet" and out is None:
        raise UserError("expected --out FILE with --format parquet, which is no text, found none")
    if form == "table" and out is not None:
        raise UserError("expected --format csv, json, md or parquet with --out, found table")


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(content.decode())
    else:
        from ..text.exports import write_export

        write_export(out, content)


@contextmanager
def _reading() -> Iterator[OnRead]:
    """A bar where many records have to be read and somebody watches."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading records", visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=done > 0)


def _print_table(console: Console, board: Board, rows: list[Standing], filters: Filters, most: int | None) -> None:
    contest = board.track
    target = "lowest val_loss wins" if contest.target_val_loss is None else f"val_loss <= {contest.target_val_loss:g}"
    title = f"{contest.name}: {contest.title} ({target}, rules {contest.rules_version})"
    if not board.rows:
        console.print(
            f"{escape(title)}\nno records and no local runs yet; `speedrun run train_gpt.py --track {contest.name}`"
        )
        return
    if not rows:
        hint = suggestion(filters, board.rows)
        _say(console, f"{title}\nno row with {filters.sentence}" + (f"; {hint}" if hint else ""))
        return
    held = [row for row in rows if row.place is not None]
    cut = 0 if most is None else max(len(held) - most, 0)
    shown = [*held[cut:], *(row for row in rows if row.place is None)]
    console.print(terminal_table(shown, escape(title), console.width))
    if progress := progress_line(held):
        _say(console, f"{progress}{f' ({filters.sentence})' if filters.sentence else ''}")
    if cut:
        _say(console, f"the newest {len(held) - cut} of {len(held)} records; --all shows every one")
    if most is not None and sum(filters.keep(row) for row in board.local) == LOCAL_ROWS:
        _say(console, f"the last {LOCAL_ROWS} local runs; --all shows every one")
    _say(console, legend(shown, contest))


def _say(console: Console, text: str) -> None:
    """Words of ours and of strangers, never markup; wrapped only where somebody reads them."""
    lines = (printable(line) for line in text.split("\n"))
    console.print(Text("\n".join(lines)), highlight=False, soft_wrap=not console.is_terminal)
