"""speedrun import: another competition's history, read into records/."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from harness.errors import UserError
from harness.formats import layout

from ..upstream.checkout import Checkout
from ..upstream.history import History, encode, write_history
from ..upstream.importing import import_history

KNOWN = ("modded-nanogpt",)


def import_(
    competition: Annotated[str, typer.Argument(help=f"One of {', '.join(KNOWN)}.")],
    checkout: Annotated[Path, typer.Argument(help="A work tree, a bare repository, or its files in a folder.")],
    out: Annotated[Path | None, typer.Option(help="Where <track>/history.json go; records/ of this checkout.")] = None,
    revision: Annotated[str, typer.Option(help="The commit to read.")] = "HEAD",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Read every record and every log of another competition into one history file per track.

    The leaderboard and `speedrun audit` work from these files alone. The same checkout gives the same bytes; text and
    source stay where they are: numbers, links and our own words come over. Everything imported is of tier `reported`.
    """
    if competition not in KNOWN:
        raise UserError(f"expected one of {', '.join(KNOWN)}, found {competition!r}")
    source = Checkout(checkout, revision)
    with _progress(as_json) as progress:
        histories = import_history(source, progress)
    places = {history.track: _place(out, history.track) for history in histories}
    if not dry_run:
        for history in histories:
            places[history.track].parent.mkdir(parents=True, exist_ok=True)
            write_history(places[history.track], history)
    summary = [_summary(history, places[history.track], written=not dry_run) for history in histories]
    if as_json:
        print(json.dumps({"commit": source.commit or None, "tracks": summary}, indent=1))
        return
    for row in summary:
        verb = "written to" if row["written"] else "would go to"
        counts = f"{row['records']} records ({row['official']} official), {row['runs']} runs of {row['logs']} logs"
        print(f"{row['track']}: {counts}; {row['bytes']:,} bytes {verb} {row['path']}")


def _place(out: Path | None, track: str) -> Path:
    place = layout.history_file(track)
    return place if out is None else out / track / place.name


def _summary(history: History, place: Path, *, written: bool) -> dict[str, Any]:
    return {
        "track": history.track,
        "records": len(history.records),
        "official": sum(record.official for record in history.records),
        "runs": len(history.runs),
        "logs": len({(run.folder, run.file) for run in history.runs}),
        "copies": sum(run.copy_of is not None for run in history.runs),
        "bytes": len(encode(history)),
        "path": str(place),
        "written": written,
    }


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("reading logs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
