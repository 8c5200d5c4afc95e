"""speedrun run: one refereed run of a submission."""

import json
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from data import datasets

from .. import layout, machine, sandbox, torchrun
from ..display import Display
from ..errors import TrackError
from ..execution import execute
from ..facts import Request
from ..run import RunRecord
from ..submission import check_source, read_submission
from ..track import Track, default_track, load_track
from .amounts import advancing, interruptible, progress_bar

Script = Annotated[Path, typer.Argument(help="A train_gpt.py, or a folder that holds one.")]


def run(
    script: Script,
    track: Annotated[str | None, typer.Option(help="A track of `speedrun tracks`, or a path to one.")] = None,
    nproc: Annotated[int | None, typer.Option(help="Ranks; the track's own number by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Drawn by the harness unless given; given ones are marked.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run; runs/ of the checkout by default.")] = None,
    practice: Annotated[
        bool, typer.Option("--practice", help="Score snapshots too: a validation curve, never a record.")
    ] = False,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Save weights.safetensors beside run.json.")
    ] = False,
    require_sandbox: Annotated[str | None, typer.Option(help="namespaces or process: refuse to run with less.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another run holds this machine.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, start nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON on stdout.")] = False,
) -> None:
    """Run a submission under the referee and score it.

    PREPARE (untimed, bounded): import, build, compile, warm up on synthetic shards. GO: the real shards appear and
    the clock starts. STOP: the weights are sealed and the clock stops. SCORE: fresh processes turn the weights into
    logits, and the judge turns those into val_loss. What happened is in runs/<run>/run.json, whatever it was.

    Started by torchrun, local rank 0 becomes the referee and uses as many ranks.
    """
    around = torchrun.outer()
    if around is not None and around.local_rank != 0:
        torchrun.wait_for_referee()
        return
    request = _request(
        script, load_track(track or default_track()), nproc if around is None else around.local_world_size
    )
    request = replace(
        request,
        seed=request.seed if seed is None else seed,
        seed_source="harness" if seed is None else "user",
        runs_root=out or layout.runs_root(),
        practice=practice,
        keep_weights=keep_weights,
        require_sandbox=require_sandbox,
        wait=wait,
    )
    if dry_run:
        _show_plan(request, as_json)
        return
    console = Console(stderr=True)
    _prepare_data(request, console)
    with Display(console) as display:
        record, folder = execute(request, display)
        display.close()
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=1) + "\n")
    else:
        _show(record, folder, Console())
    raise typer.Exit(int(record.exit_code))


def _request(script: Path, track: Track, world_size: int | None) -> Request:
    """Everything a run needs to know, read and checked; nothing is started."""
    if not track.refereed:
        raise TrackError(f"track {track.name} cannot be refereed yet, its results are `reported` only; choose another")
    device = machine.pick_device(track)
    return Request(
        submission=read_submission(script),
        track=track,
        dataset=datasets.load_dataset(track.data.dataset),
        data_root=datasets.data_root(),
        runs_root=layout.runs_root(),
        world_size=machine.pick_world_size(track, world_size, device),
        device=device,
        seed=secrets.randbits(32),
        seed_source="harness",
    )


def _prepare_data(request: Request, console: Console) -> None:
    """Build the embedded corpus where it is missing; other data must be there. Raises DataError."""
    if request.dataset.kind != "embedded":
        datasets.verify(request.dataset, request.data_root, request.track.data.train_shards)
        return
    with interruptible(), progress_bar("building", console, not console.is_terminal) as bar:
        datasets.prepare(request.dataset, request.data_root, advancing(bar, request.dataset.name))


def _show_plan(request: Request, as_json: bool) -> None:
    """What would run, and that what can be checked beforehand is in order. Raises what the run would raise."""
    track = request.track
    check_source(request.submission, request.submission.root, track.budget.source_bytes)
    plan: dict[str, Any] = {
        "track": track.name,
        "rules_version": track.rules_version,
        "submission": request.submission.entry,
        "sha256": request.submission.sha256,
        "source_bytes": request.submission.bytes,
        "seed": request.seed if request.seed_source == "user" else None,
        "world_size": request.world_size,
        "device": request.device,
        "sandbox": sandbox.choose(request.require_sandbox),
        "missing_data": [
            str(p) for p in datasets.missing_files(request.dataset, request.data_root, track.data.train_shards)
        ],
        "budget": track.budget.model_dump(),
        "runs_root": str(request.runs_root),
    }
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    for key, value in plan.items():
        console.print(
            f"[bold]{key:<14}[/] {escape(str('drawn by the harness' if value is None else value))}", soft_wrap=True
        )
    console.print("nothing was started (--dry-run)")


def _show(record: RunRecord, folder: Path, console: Console) -> None:
    """The outcome for a person."""
    good = record.exit_code == 0
    console.print(f"[bold {'green' if good else 'red'}]{record.status}[/]: {escape(record.sentence)}", soft_wrap=True)
    for finding in record.findings:
        sentence = f"{finding.id}: {finding.sentence}; expected {finding.expected}, found {finding.found}"
        console.print(f"  [red]{finding.severity}[/] {escape(sentence)}", soft_wrap=True)
    for point in record.curve:
        console.print(f"  step {point.step:>6}  {point.elapsed_ns / 1e9:8.2f} s  val_loss {point.val_loss:.4f}")
    kind = "practice" if record.practice else "local run"
    console.print(
        f"  {kind} of {escape(record.submission.entry)} {record.submission.sha256[:8]}, seed {record.seed}, "
        f"{record.world_size} ranks, sandbox {record.sandbox}: {escape(str(folder))}",
        soft_wrap=True,
        highlight=False,
    )
