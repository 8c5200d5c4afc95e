"""Campaigns of scripts that time themselves: `run --legacy --runs N` and `compare --legacy A --against B`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from data.printing import printable

from ..campaigns.campaign import Plan, Purpose, make_plan
from ..campaigns.newest_check import newest_check
from ..campaigns.scripts import ArmScript, SelfTimedPlan, gather, judged_checkpoint
from ..errors import UserError
from ..formats import environment, layout, numbers
from ..formats.submission import Submission
from ..formats.track import Track, default_track, find_track, load_track
from ..records.lookup import NamedSubmission
from ..referee import machine
from ..referee.display import watching_console
from ..sandbox import levels
from ..selftimed.checkpoints import ADAPTERS, find_adapter
from ..selftimed.grammars import BY_NAME, GRAMMARS, Grammar
from ..selftimed.surroundings import parse_environment, parse_readable
from ..selftimed.workcopy import find_checkout
from ..system import clock
from . import options
from .campaigns import CampaignDraft, Start, prepare_data, start_campaign

Script = Annotated[Path, typer.Option("--legacy", help="The candidate's script; it is run unmodified.")]
Against = Annotated[
    Path | None, typer.Option("--against", help="The baseline's script; the candidate's own tree by default.")
]
Pairs = Annotated[int, typer.Option(help="Pairs: runs of each arm, fixed before the first.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="What both scripts are given, after --.")]
Argument = Annotated[
    list[str] | None, typer.Option("--arg", help="One more argument of the candidate's; again for more.")
]
BaselineArgument = Annotated[list[str] | None, typer.Option("--baseline-arg", help="The same of the baseline's.")]
Env = Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE the candidate gets; again for more.")]
BaselineEnv = Annotated[list[str] | None, typer.Option("--baseline-env", help="The same for the baseline.")]
EnvFrom = Annotated[
    list[str] | None, typer.Option("--env-from", help="NAME of your environment both get; a secret is named twice.")
]
SeedVariable = Annotated[
    str | None,
    typer.Option("--seed-env", help="The variable that scripts read their seed from; they take their own else."),
]
Checkout = Annotated[
    Path | None, typer.Option("--checkout", help="The candidate's checkout; the repository around it.")
]
BaselineCheckout = Annotated[Path | None, typer.Option("--baseline-checkout", help="The same of the baseline.")]
GrammarName = Annotated[str, typer.Option("--grammar", help=f"auto, or one of {', '.join(BY_NAME)}.")]
Torchrun = Annotated[bool, typer.Option("--torchrun", help="Start them by torchrun also with one rank.")]
Ranks = Annotated[int, typer.Option("--nproc", min=1, max=1024, help="Ranks; more than one means torchrun.")]
Checkpoint = Annotated[
    str | None, typer.Option(help="Have the judge score this checkpoint of each run too: a path inside the checkout.")
]
AdapterName = Annotated[str, typer.Option("--adapter", help=f"How to read it: auto, {' or '.join(ADAPTERS)}.")]
Budget = Annotated[float | None, typer.Option("--budget-s", min=0.1, help="Seconds one run may take.")]
Readable = Annotated[list[Path] | None, typer.Option("--readable", help="A folder outside that both may read.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSettings:
    """One arm as it stands on the command line."""

    script: Path
    checkout: Path | None = None
    arguments: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_from: tuple[str, ...] = ()
    record: str | None = None  # the name of the imported record that it is


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSettings:
    """What both arms have in common."""

    track: str | None
    nproc: int
    torchrun: bool
    grammar: str
    seed_variable: str | None
    budget_s: float | None
    require_sandbox: str | None
    out: Path | None
    readable: tuple[Path, ...] = ()
    checkpoint: str | None = None  # of each run, for the judge: a path inside its checkout
    adapter: str = "auto"
    device: Literal["cpu", "cuda"] | None = None  # None: as the track asks


def compare_legacy(
    script: Script,
    against: Against = None,
    arguments: Arguments = None,
    runs: Pairs = 6,
    track: options.TrackName = None,
    arg: Argument = None,
    baseline_arg: BaselineArgument = None,
    env: Env = None,
    baseline_env: BaselineEnv = None,
    env_from: EnvFrom = None,
    seed_env: SeedVariable = None,
    checkout: Checkout = None,
    baseline_checkout: BaselineCheckout = None,
    grammar: GrammarName = "auto",
    nproc: Ranks = 1,
    torchrun: Torchrun = False,
    checkpoint: Checkpoint = None,
    adapter: AdapterName = "auto",
    readable: Readable = None,
    budget_s: Budget = None,
    out: options.Out = None,
    copy_to: options.CopyTo = None,
    keep_weights: options.KeepWeights = False,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Race two scripts that time themselves, interleaved, as they are.

    speedrun compare --legacy mine/train_gpt.py --against upstream/train_gpt.py --nproc 8 --runs 6

    The arms alternate ABBA; n, order, seeds, arguments and environment are fixed before the first run, and every
    attempt is entered before it starts. Losses and times are those that the scripts state, tested by the track's rule;
    the referee adds when each line arrived and says where claim and clock disagree. All of it is `reported`; with
    --checkpoint the judge scores what each run leaves, and its losses are tested by the same rule beside the stated.
    Without --against the candidate's own tree is the baseline, under --baseline-env and --baseline-arg.
    It is a campaign: `speedrun run --resume FOLDER` goes on, `speedrun verify FOLDER` reads all of it again.
    """
    if runs < 2:
        raise UserError(f"expected at least 2 pairs to compare, found --runs {runs}")
    shared = SharedSettings(
        track=track, nproc=nproc, torchrun=torchrun, grammar=grammar, seed_variable=seed_env, budget_s=budget_s,
        require_sandbox=require_sandbox, out=out, readable=(*(readable or ()),), checkpoint=checkpoint, adapter=adapter,
    )  # fmt: skip
    both, passed = tuple(arguments or ()), tuple(env_from or ())
    candidate = ArmSettings(
        script=script, checkout=checkout, arguments=(*both, *(arg or ())), env=tuple(env or ()), env_from=passed
    )
    baseline = ArmSettings(
        script=against or script, checkout=baseline_checkout or (None if against else checkout),
        arguments=(*both, *(baseline_arg or ())), env=tuple(baseline_env or ()), env_from=passed,
    )  # fmt: skip
    _check_differ(candidate, baseline, against)
    start = Start(
        keep_weights=keep_weights, wait=wait, dry_run=dry_run, as_json=as_json, required_sandbox=require_sandbox,
        copy_to=copy_to,
    )  # fmt: skip
    race_scripts((candidate, baseline), runs, shared, start)


def _check_differ(candidate: ArmSettings, baseline: ArmSettings, against: Path | None) -> None:
    if against is None and (candidate.arguments, candidate.env) == (baseline.arguments, baseline.env):
        raise UserError(
            "expected two arms that differ, found one script under one setting; name another with --against, or "
            "another setting with --baseline-env or --baseline-arg"
        )


def race_scripts(arms: tuple[ArmSettings, ...], runs: int, shared: SharedSettings, start: Start) -> None:
    """Start a campaign of self-timed scripts and run it to its end; or only say what would run. Raises UserError."""
    drafted = draft_scripts(arms, runs, shared)
    if start.dry_run:
        _show_plan(drafted.plan, drafted.node_words, start.as_json)
        return
    if drafted.plan.is_judged:
        prepare_data(drafted.track, watching_console())
    start_campaign(drafted, start)


def draft_scripts(
    arms: tuple[ArmSettings, ...], runs: int, shared: SharedSettings, purpose: Purpose | None = None
) -> CampaignDraft:
    """Draw the plan of a campaign of self-timed scripts; nothing is started. Raises UserError."""
    name = shared.track or default_track()
    track = load_track(name)
    submissions, scripts = zip(*(_gather(arm, shared) for arm in arms), strict=True)
    variable = shared.seed_variable
    if variable is not None:
        parse_environment([f"{variable}=0"])
        if any(variable in script.environment for script in scripts):
            raise UserError(f"expected {variable} from --seed-env or from --env, found it in both")
    now = clock.utc_now()
    node_check, node_words = newest_check(layout.runs_root(), now)
    plan = make_plan(
        track=track,
        candidate=submissions[0],
        candidate_record=arms[0].record,
        baseline=submissions[1] if len(submissions) > 1 else None,
        baseline_record=arms[1].record if len(arms) > 1 else None,
        scripts=scripts,
        self_timed=SelfTimedPlan(
            seed_variable=variable,
            budget_s=shared.budget_s or most_s(track),
            grammars=tuple(grammar.name for grammar in grammars_of(shared.grammar)),
        ),
        runs=runs,
        world_size=shared.nproc,
        device=shared.device or device_of(track),
        sandbox=levels.choose(shared.require_sandbox),
        created_at=now,
        purpose=purpose,
        node_check=node_check,
    )
    named = [NamedSubmission(submission=each, record=arm.record) for each, arm in zip(submissions, arms, strict=True)]
    return CampaignDraft(
        plan=plan,
        track=track,
        track_file=find_track(name),
        submissions=tuple(named),
        parent=shared.out or layout.runs_root(),
        node_words=node_words,
    )


def _gather(arm: ArmSettings, shared: SharedSettings) -> tuple[Submission, ArmScript]:
    checkout, given = find_checkout(arm.script, arm.checkout), parse_environment(arm.env, arm.env_from)
    submission, linked = gather(checkout)
    checkpoint = None
    if shared.checkpoint is not None:
        there = (*submission.files, *linked)
        checkpoint = judged_checkpoint(shared.checkpoint, find_adapter(shared.adapter, checkout), there)
    return submission, ArmScript(
        checkout=checkout.name,
        checkout_sha256=checkout.sha256,
        arguments=arm.arguments,
        launcher=launcher_of(shared),
        environment=dict(given.values),
        secrets=tuple(name for name, _ in given.secrets),
        readable=tuple(map(str, parse_readable(shared.readable))),
        linked=linked,
        checkpoint=checkpoint,
    )


def launcher_of(shared: SharedSettings) -> Literal["python", "torchrun"]:
    """What starts the script: torchrun where there are ranks, or where it is asked for."""
    return "torchrun" if shared.torchrun or shared.nproc > 1 else "python"


def device_of(track: Track | None) -> Literal["cpu", "cuda"]:
    """The device of a track; without one, what the machine has."""
    if track is not None:
        return machine.pick_device(track)
    return "cuda" if environment.gpus() else "cpu"


def most_s(track: Track) -> float:
    """Seconds that a script may take: it prepares and validates inside its own run."""
    return track.budget.prepare_s + track.budget.train_s + track.budget.score_s


def grammars_of(name: str) -> tuple[Grammar, ...]:
    """The grammar of this name, or all of them for `auto`. Raises UserError."""
    if name == "auto":
        return GRAMMARS
    if name not in BY_NAME:
        raise UserError(f"expected auto or one of the grammars {', '.join(BY_NAME)}, found {name!r}")
    return (BY_NAME[name],)


def _show_plan(plan: Plan, node_words: str, as_json: bool) -> None:
    """What would run. The seeds are drawn anew when it starts, so they are not shown."""
    assert plan.self_timed is not None
    shown: dict[str, Any] = {
        "track": plan.track.name,
        "purpose": plan.purpose,
        "runs_per_arm": plan.runs_per_arm,
        "order": "".join("AB"[slot.arm == "baseline"] for slot in plan.slots),
        "test": plan.test.model_dump(),
        "tier": "reported",
        "world_size": plan.world_size,
        "device": plan.device,
        "sandbox": plan.sandbox,
        "seed_variable": plan.self_timed.seed_variable,
        "most_s": plan.self_timed.budget_s * len(plan.slots),
        "node_check": None if plan.node_check is None else plan.node_check.model_dump(mode="json"),
        "arms": {
            arm.arm: {"sha256": arm.sha256, "entry": arm.submission.entry, "files": len(arm.submission.files)}
            | (arm.script.model_dump(mode="json") if arm.script else {})
            for arm in plan.arms
        },
    }
    if as_json:
        print(json.dumps(shown, indent=1))
        return
    console = Console()
    judged = ", and of the judge's" if plan.is_judged else ""
    words = {
        "test": f"{plan.test.name}-test at p < {plan.test.alpha:g}, of losses as stated{judged}",
        "seed_variable": plan.self_timed.seed_variable or "none: each script takes its own seed",
        "most_s": numbers.seconds(shown["most_s"]),
        "node_check": node_words,
        "arms": None,
    }
    for key, value in (shown | words).items():
        if value is not None:
            console.print(f"[bold]{key:<14}[/] {escape(printable(str(value)))}", soft_wrap=True, highlight=False)
    for name, arm in shown["arms"].items():
        told = {key: value for key, value in arm.items() if value}
        console.print(f"[bold]{name:<14}[/] {escape(printable(json.dumps(told)))}", soft_wrap=True, highlight=False)
    console.print("nothing was started (--dry-run); seeds are drawn when it is")
