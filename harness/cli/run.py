"""speedrun run: one refereed run of a submission."""

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from data import datasets

from ..errors import UserError
from ..formats import layout, numbers
from ..formats.run import RunRecord
from ..formats.submission import check_source
from ..formats.track import Track, default_track, load_track
from ..records.eligibility import Intent, hindrances, in_words, is_hindered
from ..records.lookup import find_submission, track_of_record
from ..referee import machine, torchrun
from ..referee.display import Display, watching_console
from ..referee.execution import execute
from ..referee.run_state import Request
from ..rules import source_rules
from ..sandbox import levels
from ..status import Status
from ..system.clock import NS
from . import options
from .campaigns import Start, check_data, check_runs, check_single, draft, race, refereed_track, resume_campaign
from .reports import (
    LOG_CUT,
    exit_on_errors,
    failure_json,
    findings_json,
    say_passed_over,
    say_who_holds,
    show_failure,
    show_findings,
)

Script = Annotated[Path | None, typer.Argument(help="A train_gpt.py, a folder that holds one, or a record.")]
Runs = Annotated[int | None, typer.Option(help="A campaign of so many runs, fixed before the first; can be submitted.")]
Resume = Annotated[Path | None, typer.Option(help="Take up the campaign in this folder where it stopped.")]
Seed = Annotated[int | None, typer.Option(help="Drawn by the harness unless given; given ones are marked.")]
Practice = Annotated[bool, typer.Option("--practice", help="Score snapshots too: a validation curve, never a record.")]
Relabel = Annotated[
    bool, typer.Option("--relabel", help="Under a secret vocabulary: shows what was brought along as it is.")
]


def run(
    script: Script = None,
    track: options.TrackName = None,
    nproc: options.Ranks = None,
    runs: Runs = None,
    resume: Resume = None,
    seed: Seed = None,
    out: options.Out = None,
    practice: Practice = False,
    relabel: Relabel = False,
    copy_to: options.CopyTo = None,
    keep_weights: options.KeepWeights = False,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    anyway: options.Anyway = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Run a submission under the referee and score it.

    PREPARE (untimed, bounded): import, build, compile, warm up on synthetic shards. GO: the real shards appear and
    the clock starts. STOP: the weights are sealed and the clock stops. SCORE: fresh processes turn the weights into
    logits, and the judge turns those into val_loss; what their first answer takes beyond the track's slack is added to
    the time. What happened is in runs/<run>/run.json, whatever it was.

    --runs N makes a campaign in runs/<campaign>/: n and seeds are fixed before the first run, every attempt is logged
    before it starts, and what was interrupted goes on with --resume, without repeating or hiding anything.

    --dry-run shows what a record of this source would be told (`speedrun rules`); exit code 1 if an error is among it.

    Started by torchrun, local rank 0 becomes the referee and uses as many ranks.

    `speedrun run --legacy PATH/train.py -- ARGS` runs a script that times itself, as it is; see its own --help.
    """
    around = torchrun.outer()
    if around is not None and around.local_rank != 0:
        torchrun.wait_for_referee()
        return
    if around is not None:
        torchrun.end_with_launcher()
    start = Start(
        keep_weights=keep_weights, wait=wait, dry_run=dry_run, as_json=as_json,
        required_sandbox=require_sandbox, copy_to=copy_to, anyway=anyway,
    )  # fmt: skip
    if resume is not None:
        texts = {"SCRIPT": script, "--track": track, "--out": out, "--require-sandbox": require_sandbox}
        given = {"--nproc": nproc, "--runs": runs, "--seed": seed}
        resume_campaign(resume, start, {**texts, **given, "--practice": practice, "--relabel": relabel})
        return
    if script is None:
        raise UserError("expected a SCRIPT to run, or --resume CAMPAIGN_FOLDER, found neither; see --help")
    name = track or track_of_record(str(script)) or default_track()
    ranks = nproc if around is None else around.local_world_size
    if runs is not None:
        check_runs(runs, seed=seed is not None, practice=practice)
        named = find_submission(str(script), load_track(name).name)
        race(draft(name, (named,), runs, ranks, require_sandbox, out, relabel=relabel), start)
        return
    request = _request(script, refereed_track(name), ranks, seed)
    _run_once(replace(request, runs_root=out or layout.runs_root(), practice=practice, relabel=relabel), start)


def _run_once(request: Request, start: Start) -> None:
    """One run for development: recorded, and never to be submitted."""
    check_single(start.copy_to)
    request = replace(
        request,
        require_sandbox=start.required_sandbox,
        keep_weights=start.keep_weights,
        wait=bool(start.wait),
    )
    if start.dry_run:
        _show_plan(request, start.as_json)
        return
    console = watching_console()
    check_data(request.track)
    say_passed_over(console, request.require_sandbox)
    with Display(console) as display:
        record, folder = execute(replace(request, on_wait=say_who_holds(console)), display)
        display.close()
    if start.as_json:
        more = failure_json(record.sentence, folder, record.status != Status.COMPLETE)
        print(json.dumps(record.model_dump(mode="json") | more, indent=1))
    else:
        _show(record, folder, Console())
    raise typer.Exit(int(record.exit_code))


def _request(script: Path, track: Track, world_size: int | None, seed: int | None) -> Request:
    """Everything a run needs to know, read and checked; nothing is started."""
    device = machine.pick_device(track)
    return Request(
        submission=find_submission(str(script), track.name).submission,
        track=track,
        dataset=datasets.load_dataset(track.data.dataset),
        data_root=datasets.data_root(),
        runs_root=layout.runs_root(),
        world_size=machine.pick_world_size(track, world_size, device),
        device=device,
        seed=secrets.randbits(32) if seed is None else seed,
        seed_source="harness" if seed is None else "user",
    )


def _show_plan(request: Request, as_json: bool) -> None:
    """What would run, and what the track's rules find in its source. Raises what the run would raise."""
    track = request.track
    check_source(request.submission, request.submission.root, track.budget.source_bytes)
    findings = source_rules.check(request.submission.root, request.submission.files, track)
    sandbox = levels.choose(request.require_sandbox)
    hindering = hindrances(Intent(track=track, sandbox=sandbox, device=request.device, world_size=request.world_size))
    plan: dict[str, Any] = {
        "track": track.name,
        "rules_version": track.rules_version,
        "submission": request.submission.entry,
        "sha256": request.submission.sha256,
        "source_bytes": request.submission.bytes,
        "seed": request.seed if request.seed_source == "user" else None,
        "world_size": request.world_size,
        "device": request.device,
        "sandbox": sandbox,
        "missing_data": _missing_data(request),
        "budget": track.budget.model_dump(),
        "runs_root": str(request.runs_root),
    }
    if as_json:
        both = {"findings": findings_json(findings), "hindrances": findings_json(hindering)}
        print(json.dumps(plan | both, indent=1))
    else:
        console = Console()
        for key, value in plan.items():
            shown = "drawn by the harness" if value is None else numbers.setting(value)
            console.print(f"[bold]{key:<14}[/] {escape(shown)}", soft_wrap=True)
        console.print(f"[bold]{'findings':<14}[/] {len(findings) or 'none'}")
        show_findings(console, findings)
        no_record = in_words(hindering) if is_hindered(hindering) else ""
        console.print(Text(f"records here   {f'none: {no_record}' if no_record else 'by a campaign'}"), soft_wrap=True)
        console.print("nothing was started (--dry-run)")
    exit_on_errors(findings)


def _missing_data(request: Request) -> list[str]:
    """Shards that are not here; a run on the embedded corpus makes its own."""
    if request.dataset.kind == "embedded":
        return []
    shards = request.track.data.train_shards
    return [str(path) for path in datasets.missing_files(request.dataset, request.data_root, shards)]


def _show(record: RunRecord, folder: Path, console: Console) -> None:
    """The outcome for a person."""
    good = record.exit_code == 0
    console.print(f"[bold {'green' if good else 'red'}]{record.status}[/]: {escape(record.sentence)}", soft_wrap=True)
    if record.score is not None and record.text is not None and record.text.entropy is not None:
        entropy, loss = numbers.loss(record.text.entropy), numbers.loss(record.score.val_loss)
        console.print(f"  val_loss {loss} on text of entropy {entropy}, in a language of this run's own")
    if record.status != Status.COMPLETE:
        show_failure(console, record.sentence, folder)
    for finding in record.findings:
        sentence = f"{finding.id}: {finding.sentence}; expected {finding.expected}, found {finding.found}"
        console.print(f"  [red]{finding.severity}[/] {escape(sentence)}", soft_wrap=True)
    for point in record.curve:
        at = f"{numbers.fixed(point.elapsed_ns / NS, 2):>8} s"
        console.print(f"  step {point.step:>6}  {at}  val_loss {numbers.loss(point.val_loss)}")
    if record.log_truncated:
        console.print(f"  [yellow]its log[/] {LOG_CUT}", soft_wrap=True, highlight=False)
    if not folder.exists():
        console.print("  nothing was started, and nothing is kept of it", style="dim")
        return
    kind = "practice" if record.practice else "relabelled run" if record.relabelled else "local run"
    console.print(
        f"  {kind} of {escape(record.submission.entry)} {record.submission.sha256[:8]}, seed {record.seed}, "
        f"{record.world_size} ranks, {f'sandbox {record.sandbox}' if record.sandbox else 'never started'}: "
        f"{escape(str(folder))}",
        soft_wrap=True,
        highlight=False,
    )
