"""speedrun run --legacy: a self-timed script as it is, tier `reported`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from data import datasets
from data.printing import printable

from ..errors import UserError
from ..formats import layout, numbers
from ..formats.track import load_track
from ..referee.display import Display, watching_console
from ..sandbox import levels
from ..selftimed.checkpoints import find_adapter
from ..selftimed.execution import execute_self_timed
from ..selftimed.record import SelfTimedRecord
from ..selftimed.run_state import SelfTimedRequest, later_sentence
from ..selftimed.surroundings import parse_environment, parse_readable
from ..selftimed.workcopy import find_checkout
from ..status import Status
from ..system.clock import NS
from . import options
from .campaigns import Start, check_single, prepare_data
from .reports import LOG_CUT, failure_json, say_passed_over, say_who_holds, show_failure, show_findings
from .scripts import (
    AdapterName,
    ArmSettings,
    Checkpoint,
    GrammarName,
    SharedSettings,
    device_of,
    grammars_of,
    launcher_of,
    most_s,
    race_scripts,
)

DAY_S = 86_400.0

Script = Annotated[Path, typer.Option("--legacy", help="The script; it is run unmodified, from its own folder.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="What the script is given, after --.")]
Root = Annotated[Path | None, typer.Option("--checkout", help="Its checkout; the repository around it by default.")]
Torchrun = Annotated[bool, typer.Option("--torchrun", help="Start it by torchrun also with one rank.")]
Ranks = Annotated[int, typer.Option("--nproc", min=1, max=1024, help="Ranks; more than one means torchrun.")]
Budget = Annotated[float | None, typer.Option("--budget-s", min=0.1, help="Seconds it may take.")]
Passed = Annotated[
    list[str] | None, typer.Option("--env", help="NAME or NAME=VALUE of your environment it gets; again for more.")
]
PassedFrom = Annotated[
    list[str] | None, typer.Option("--env-from", help="NAME of your environment it gets; a secret is named twice.")
]
SeedVariable = Annotated[
    str | None, typer.Option("--seed-env", help="With --runs: the variable that the script reads its seed from.")
]
Runs = Annotated[int | None, typer.Option(help="A campaign of so many runs, fixed before the first.")]
Readable = Annotated[
    list[Path] | None, typer.Option("--readable", help="A folder outside that it may read; again for more.")
]
KeepCheckpoint = Annotated[bool, typer.Option("--keep-weights", help="Keep the checkpoint that was scored.")]


def legacy(
    script: Script,
    arguments: Arguments = None,
    grammar: GrammarName = "auto",
    track: options.TrackName = None,
    checkout: Root = None,
    nproc: Ranks = 1,
    torchrun: Torchrun = False,
    checkpoint: Checkpoint = None,
    adapter: AdapterName = "auto",
    env: Passed = None,
    env_from: PassedFrom = None,
    runs: Runs = None,
    seed_env: SeedVariable = None,
    readable: Readable = None,
    budget_s: Budget = None,
    out: options.Out = None,
    copy_to: options.CopyTo = None,
    keep_weights: KeepCheckpoint = False,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Run a script that times itself, as it is: nanoGPT, minGPT, llm.c, modded-nanogpt and their kin.

    speedrun run --legacy nanoGPT/train.py -- config/train_shakespeare_char.py --device=cpu --compile=False

    It works in a copy of its checkout, in the sandbox, without network; datasets of this machine appear under data/.
    It gets nothing of your environment but what --env names (`--env ITERATIONS=7`, `--env CUDA_VISIBLE_DEVICES`), and
    reads nothing outside its checkout but what --readable names and links in it lead to.
    Its own lines give steps, losses and claimed times. The referee adds when each line arrived, the wall clock, memory
    and utilisation, and says where claim and clock disagree. The result is `reported`, whatever it prints: nothing in
    it is verified, unless --checkpoint names what the judge shall score over the whole validation split of --track.
    runs/<run>/legacy.json has all of it.

    --runs N makes a campaign of it in runs/<campaign>/, which goes on with `speedrun run --resume`: n and seeds are
    fixed before the first run, and what runs is the campaign's own copy of the checkout. With --checkpoint the track's
    rule tests the judge's losses too, beside the stated ones.
    """
    arm = ArmSettings(
        script=script, checkout=checkout, arguments=tuple(arguments or ()), env=tuple(env or ()),
        env_from=tuple(env_from or ()),
    )  # fmt: skip
    shared = SharedSettings(
        track=track, nproc=nproc, torchrun=torchrun, grammar=grammar, seed_variable=seed_env, budget_s=budget_s,
        require_sandbox=require_sandbox, out=out, readable=tuple(readable or ()), checkpoint=checkpoint,
        adapter=adapter,
    )  # fmt: skip
    start = Start(
        keep_weights=keep_weights, wait=wait, dry_run=dry_run, as_json=as_json, required_sandbox=require_sandbox,
        copy_to=copy_to,
    )  # fmt: skip
    if runs is not None:
        race_scripts((arm,), runs, shared, start)
        return
    check_single(copy_to)
    if seed_env is not None:
        raise UserError("expected --runs beside --seed-env, found none; give a single run its seed by --env NAME=VALUE")
    _run_once(_request(arm, shared, start), start)


def _request(arm: ArmSettings, shared: SharedSettings, start: Start) -> SelfTimedRequest:
    """Everything a single run needs to know, read and checked; nothing is started. Raises UserError."""
    track = None if shared.track is None else load_track(shared.track)
    if shared.checkpoint is not None and track is None:
        raise UserError("expected --track beside --checkpoint, found none; the judge needs a validation split")
    found, given = find_checkout(arm.script, arm.checkout), parse_environment(arm.env, arm.env_from)
    return SelfTimedRequest(
        checkout=found,
        arguments=arm.arguments,
        launcher=launcher_of(shared),
        world_size=shared.nproc,
        device=device_of(track),
        track=track,
        data_root=datasets.data_root(),
        runs_root=shared.out or layout.runs_root(),
        grammars=grammars_of(shared.grammar),
        budget_s=shared.budget_s or (most_s(track) if track else DAY_S),
        checkpoint=shared.checkpoint,
        adapter=None if shared.checkpoint is None else find_adapter(shared.adapter, found),
        keep_checkpoint=start.keep_weights,
        environment=given.values,
        secrets=given.secrets,
        readable=parse_readable(shared.readable),
        require_sandbox=shared.require_sandbox,
        wait=bool(start.wait),
        on_wait=say_who_holds(Console(stderr=True)),
    )


def _run_once(request: SelfTimedRequest, start: Start) -> None:
    if start.dry_run:
        _show_plan(request, start.as_json)
        return
    console = watching_console()
    if request.checkpoint is not None and request.track is not None:
        prepare_data(request.track, console)
    say_passed_over(console, request.require_sandbox)
    with Display(console) as display:
        record, folder = execute_self_timed(request, display)
        display.close()
    if start.as_json:
        more = failure_json(record.sentence, folder, record.status != Status.COMPLETE)
        print(json.dumps(record.model_dump(mode="json") | more, indent=1))
    else:
        _show(record, folder, Console())
    raise typer.Exit(int(record.exit_code))


def _show_plan(request: SelfTimedRequest, as_json: bool) -> None:
    """What would run; nothing is started."""
    plan: dict[str, Any] = {
        "script": str(request.checkout.entry),
        "checkout": str(request.checkout.root),
        "checkout_sha256": request.checkout.sha256,
        "arguments": list(request.arguments),
        "environment": dict(request.environment),
        "readable": [str(path) for path in request.readable],
        "launcher": request.launcher,
        "world_size": request.world_size,
        "device": request.device,
        "sandbox": levels.choose(request.require_sandbox),
        "grammars": [grammar.name for grammar in request.grammars],
        "budget_s": request.budget_s,
        "track": request.track.name if request.track else None,
        "checkpoint": request.checkpoint,
        "adapter": request.adapter,
        "tier": "reported",
        "cores": len(os.sched_getaffinity(0)),
    }
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    for key, value in plan.items():
        console.print(f"[bold]{key:<15}[/] {escape(printable(str(value)))}", soft_wrap=True, highlight=False)
    console.print("nothing was started (--dry-run)")


def _show(record: SelfTimedRecord, folder: Path, console: Console) -> None:
    """The outcome for a person: what it says, and beside it what was seen."""
    good = record.exit_code == 0
    head = Text.assemble((str(record.status), f"bold {'green' if good else 'red'}"), f": {printable(record.sentence)}")
    console.print(head, soft_wrap=True)
    if record.status != Status.COMPLETE:
        show_failure(console, record.sentence, folder)
    claim, seen = record.claim, record.observed
    if claim is not None:
        own = "no time of its own" if claim.train_time_ns is None else numbers.fixed_seconds(claim.train_time_ns / NS)
        of = "" if claim.total is None else f" of {claim.total:,}"
        known = ((name, getattr(claim, name)) for name in ("val_loss", "train_loss", "val_bpb"))
        losses = [f"{name} {numbers.loss(value)}" for name, value in known if value is not None]
        said = f"  it says      step {claim.step}{of}, {', '.join(losses) or 'no loss'}, {own} ({claim.grammar})"
        console.print(Text(said), soft_wrap=True)
        if claim.later:
            console.print(Text(f"  and then     {printable(later_sentence(claim))}"), soft_wrap=True)
    if seen is not None:
        wall, memory = numbers.fixed_seconds(seen.wall_ns / NS), numbers.mebibytes(seen.peak_memory_bytes)
        busy = f"{numbers.fixed(seen.busy_cores, 2)} cores busy{_gpus(record)}"
        console.print(Text(f"  we saw       {wall} wall clock, {memory} at most, {busy}"), soft_wrap=True)
    show_findings(console, record.findings)
    if record.log_truncated:
        console.print(
            Text(f"  its log      {LOG_CUT}; all its result lines were heard", style="yellow"), soft_wrap=True
        )
    kept = folder if folder.is_dir() else "nothing kept: it never had the machine"
    where = f"  reported     sandbox {record.sandbox}, {kept}"
    console.print(Text(printable(where)), soft_wrap=True)


def _gpus(record: SelfTimedRecord) -> str:
    used = record.observed.gpus if record.observed else None
    if used is None:
        return ""
    return f", GPUs {numbers.spaced_percent(used.mean_utilisation, 0)} busy, {used.peak_memory_mib:,} MiB"
