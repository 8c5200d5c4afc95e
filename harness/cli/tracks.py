"""speedrun tracks: the contests of this checkout."""

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formats import numbers
from ..formats.track import Track, list_tracks, load_track
from ..referee.doctor import lacks


def tracks(
    name: Annotated[str | None, typer.Argument(help="Only this one, with all its numbers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List the contests: metric, target, dataset, and what this machine lacks to run each."""
    found = [load_track(name)] if name else list_tracks()
    if as_json:
        print(json.dumps([track.model_dump() | {"lacks": lacks(track)} for track in found], indent=1))
    elif name:
        _print_one(found[0], Console())
    else:
        Console().print(_table(found))


def _table(found: list[Track]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("track", "metric", "target", "dataset", "this machine lacks"):
        table.add_column(column, overflow="fold")
    for track in found:
        target = "" if track.target_val_loss is None else f"{track.target_val_loss:g}"
        reasons = "; ".join(lacks(track))
        state = Text(reasons or "nothing: it runs here", style="" if reasons else "green")
        table.add_row(track.name, track.metric, target, track.data.dataset, state)
    return table


def _print_one(track: Track, console: Console) -> None:
    for key, value in track.model_dump().items():
        if isinstance(value, dict):
            console.print(f"{key}:", style="bold")
            for inner, number in value.items():
                console.print(f"  {inner:<24}{numbers.setting(number).strip()}", highlight=False, soft_wrap=True)
        else:
            console.print(f"{key:<16}{numbers.setting(value).strip()}", highlight=False, soft_wrap=True)
