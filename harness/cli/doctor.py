"""speedrun doctor: what this machine has."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..errors import UserError
from ..formats.run import Finding
from ..formats.track import Track, default_track, list_tracks
from ..records.eligibility import Intent, hindrances, in_words
from ..records.lookup import track_of_record
from ..referee import machine
from ..referee.doctor import Check, examine, lacks
from ..sandbox import levels
from . import options
from .campaigns import Start
from .node import check_node
from .reports import findings_json

STYLES = {"ok": "green", "note": "yellow", "missing": "bold red"}

NEEDED = ("torch", "runs disk", "shm disk", "temporary files", "machine lock", "network")  # by every run


Record = Annotated[str | None, typer.Argument(help="With --race: a record, or a script; the standing record.")]
RaceIt = Annotated[bool, typer.Option("--race", help="Race it: two runs of a record, held against its own runs.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="With --race: also where the verdict is known without it.")]


def doctor(
    record: Record = None,
    race: RaceIt = False,
    track: options.TrackName = None,
    nproc: options.Ranks = None,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    anyway: Anyway = False,
    dry_run: options.DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Try this machine: GPUs, torch and CUDA, sandbox levels, data, disk, and which tracks can run here.

    A track may run here and yet bring no record, because its rules want more of a machine: the reason is told.
    Exit code 0 when at least one track can run, 5 when none can.

    --race is the check of a node before a campaign is paid for: two runs of the track's standing record, or of the
    checkout's train_gpt.py where there is none, held against the interval that the record's own runs let expect, with
    step times, CPU quotas, clocks, and known-bad pairs of driver and torch. A CPU track under a quota below its cores
    is slow without a race. The verdict, `fit`, `slow` or `undecided`, is kept in the runs folder; later campaigns on
    this machine state it, and their plans keep it. Exit code 0 when it is fit, 1 when not.
    """
    if race:
        start = Start(
            keep_weights=False, wait=wait, dry_run=dry_run, as_json=as_json, required_sandbox=require_sandbox,
            anyway=anyway,
        )  # fmt: skip
        name = track or (track_of_record(record) if record is not None else None) or default_track()
        check_node(record, name, nproc, start)
        return
    given = {"RECORD": record, "--track": track, "--nproc": nproc, "--require-sandbox": require_sandbox}
    for option, value in {**given, "--wait": wait, "--anyway": anyway, "--dry-run": dry_run}.items():
        if value not in (None, False):
            raise UserError(f"expected {option} only beside --race, found it alone; add --race")
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
