"""speedrun leaderboard: the standings of a track."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harness import layout
from harness.record import read_records
from harness.run import RunRecord, read_local_runs
from harness.standings import Standing, standings
from harness.track import Track, default_track, load_track

from .imported import below, imported_standings
from .tables import frame, terminal_table

FORMATS = ("table", "csv", "json")
LOCAL_ROWS = 20


def leaderboard(
    track: Annotated[str | None, typer.Option(help="A track of `speedrun tracks`.")] = None,
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
    all_runs: Annotated[bool, typer.Option("--all", help=f"Every local run, not only the last {LOCAL_ROWS}.")] = False,
    records_only: Annotated[bool, typer.Option("--records", help="Records only, no local runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show who holds the records of a track, and below them your local runs.

    time is GO to STOP on the referee's clock, the mean over a record's runs; saved compares with the record before;
    tier says how a number was obtained (local: refereed here, not submitted; reported: imported, the time is the claim
    of its own table, n and val_loss are what its logs hold; `speedrun audit` compares the two).
    """
    if as_json:
        format = "json"
    if format not in FORMATS:
        raise typer.BadParameter(f"expected one of {', '.join(FORMATS)}, found {format!r}", param_hint="--format")
    contest = load_track(track or default_track())
    records, broken = read_records(contest.name)
    runs, broken_runs = ([], []) if records_only else _local_runs(contest)
    own = standings(records, runs if all_runs else runs[-LOCAL_ROWS:])
    rows = below(imported_standings(contest), own)
    if format == "json":
        print(json.dumps({"track": contest.name, "standings": [asdict(row) for row in rows]}, default=str, indent=1))
    elif format == "csv":
        frame(rows).to_csv(sys.stdout, index=False)
    else:
        _print_table(contest, Console(), rows, len(runs))
    for sentence in broken + broken_runs:
        print(f"speedrun: left out: {sentence}", file=sys.stderr)


def _local_runs(contest: Track) -> tuple[list[RunRecord], list[str]]:
    runs, broken = read_local_runs(layout.runs_root())
    return [run for run in runs if run.track.name == contest.name], broken


def _print_table(contest: Track, console: Console, rows: list[Standing], local: int) -> None:
    target = "lowest val_loss wins" if contest.target_val_loss is None else f"val_loss <= {contest.target_val_loss:g}"
    title = f"{contest.name}: {contest.title} ({target}, rules {contest.rules_version})"
    if not rows:
        console.print(
            f"{escape(title)}\nno records and no local runs yet; `speedrun run train_gpt.py --track {contest.name}`"
        )
        return
    console.print(terminal_table(rows, escape(title), console.width))
    if local > LOCAL_ROWS:
        console.print(f"the last {LOCAL_ROWS} of {local} local runs; --all shows every one")
