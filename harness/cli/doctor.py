"""speedrun doctor: what this machine has."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..formats.track import list_tracks
from ..referee.doctor import Check, examine, lacks

STYLES = {"ok": "green", "note": "yellow", "missing": "bold red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Look at this machine: GPUs, torch and CUDA, sandbox levels, data, disk, and which tracks can run here.

    Exit code 0 when at least one track can run, 5 when none can.
    """
    checks = examine()
    lacking = {track.name: lacks(track) for track in list_tracks()}
    if as_json:
        print(json.dumps({"checks": [asdict(check) for check in checks], "tracks": lacking}, indent=1))
    else:
        _print(checks, lacking, Console())
    raise typer.Exit(0 if any(not reasons for reasons in lacking.values()) else 5)


def _print(checks: list[Check], lacking: dict[str, list[str]], console: Console) -> None:
    for check in checks:
        line = Text.assemble((f"{check.verdict:<8}", STYLES[check.verdict]), f"{check.name:<22}{check.found}")
        console.print(line.append(f"; {check.advice}" if check.advice else "", style="dim"), soft_wrap=True)
    console.print()
    for name, reasons in lacking.items():
        verdict = ("runs    ", "green") if not reasons else ("lacks   ", "yellow")
        console.print(Text.assemble(verdict, f"{name:<22}{'; '.join(reasons) or 'here'}"), soft_wrap=True)
