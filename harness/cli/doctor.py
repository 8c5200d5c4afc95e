"""speedrun doctor: what this machine has."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..formats.run import Finding
from ..formats.track import Track, list_tracks
from ..records.eligibility import Intent, hindrances, in_words
from ..referee import machine
from ..referee.doctor import Check, examine, lacks
from ..sandbox import levels
from .reports import findings_json

STYLES = {"ok": "green", "note": "yellow", "missing": "bold red"}

NEEDED = ("torch", "runs disk", "shm disk", "temporary files", "machine lock", "network")  # by every run


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Try this machine: GPUs, torch and CUDA, sandbox levels, data, disk, and which tracks can run here.

    A track may run here and yet bring no record, because its rules want more of a machine: the reason is told.

    Exit code 0 when at least one track can run, 5 when none can.
    """
    checks = examine()
    broken = [f"{check.name}: {check.found}" for check in checks if check.verdict == "missing" and check.name in NEEDED]
    lacking = {track.name: [*broken, *lacks(track)] for track in list_tracks()}
    hindering = {track.name: _hindrances(track) for track in list_tracks() if not lacking[track.name]}
    if as_json:
        records = {name: findings_json(findings) for name, findings in hindering.items()}
        found = {"checks": [asdict(check) for check in checks], "tracks": lacking, "records": records}
        print(json.dumps(found, indent=1))
    else:
        _print(checks, lacking, hindering, Console())
    raise typer.Exit(0 if any(not reasons for reasons in lacking.values()) else 5)


def _hindrances(track: Track) -> tuple[Finding, ...]:
    device = machine.pick_device(track)
    return hindrances(
        Intent(track=track, sandbox=levels.choose(None), device=device, world_size=track.hardware.world_size)
    )


def _print(
    checks: list[Check], lacking: dict[str, list[str]], hindering: dict[str, tuple[Finding, ...]], console: Console
) -> None:
    for check in checks:
        line = Text.assemble((f"{check.verdict:<8}", STYLES[check.verdict]), f"{check.name:<22}{check.found}")
        console.print(line.append(f"; {check.advice}" if check.advice else "", style="dim"), soft_wrap=True)
    console.print()
    for name, reasons in lacking.items():
        no_record = in_words(hindering.get(name, ()))
        if reasons:
            verdict, found = ("lacks   ", "yellow"), "; ".join(reasons)
        elif no_record:
            verdict, found = ("runs    ", "yellow"), f"here, but no records: {no_record}"
        else:
            verdict, found = ("runs    ", "green"), "here"
        console.print(Text.assemble(verdict, f"{name:<22}{printable(found)}"), soft_wrap=True)
