"""Campaigns on the command line: planned, started, taken up again, and what they came to."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape

from data import datasets
from data.printing import printable

from ..campaigns.bundle import read_bundle
from ..campaigns.campaign import Plan, Purpose, make_plan
from ..campaigns.executors import Options
from ..campaigns.forecast import Assumption, Wishes, alike, forecast
from ..campaigns.ledger import read_ledger
from ..campaigns.newest_check import newest_check
from ..campaigns.runner import begin, open_campaigns, run_campaign
from ..campaigns.scoreboard import Scoreboard
from ..campaigns.summary import CampaignSummary, summarise
from ..errors import RunFailure, TrackError, UserError
from ..formats import layout, numbers
from ..formats.run import Finding, errors_of
from ..formats.submission import Submission, check_source
from ..formats.track import Track, find_track, load_track
from ..records.eligibility import Intent, hindrances, in_words, is_hindered, reproduced_record
from ..records.lookup import NamedSubmission, reigning_record
from ..records.submitting import foreseen_findings
from ..referee import machine
from ..referee.display import watching_console
from ..rules import source_rules
from ..sandbox import levels
from ..system import clock
from .amounts import advancing, interruptible, progress_bar
from .reports import exit_on_errors, findings_json, say_chances, say_passed_over, say_who_holds, show_findings

RESUME = "speedrun run --resume"  # before a campaign's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a command starts what it starts; nothing of it changes a result."""

    keep_weights: bool
    wait: bool | None  # for another run that holds the machine; None: a campaign does, a single run does not
    dry_run: bool
    as_json: bool
    required_sandbox: str | None = None  # asked for by name
    copy_to: Path | None = None  # where a second copy of a campaign is kept
    anyway: bool = False  # also a campaign that cannot become a record here
    python: Path | None = None  # of the sandbox's own environment
    goes_on_with: str = RESUME  # before a campaign's folder: the command that takes it up


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDraft:
    """A campaign that could be started."""

    plan: Plan
    track: Track
    track_file: Path
    submissions: tuple[NamedSubmission, ...]
    parent: Path
    node_words: str  # of the newest node check, or why none is used

    @property
    def hindrances(self) -> tuple[Finding, ...]:
        """What keeps it from becoming a record here."""
        return hindrances(intent_of(self.plan, self.track, self.submissions[0].submission))


def refereed_track(name: str) -> Track:
    """The track, if runs on it can be refereed. Raises TrackError."""
    track = load_track(name)
    if not track.refereed:
        raise TrackError(f"track {track.name} cannot be refereed yet, its results are `reported` only; choose another")
    return track


def draft(
    track_name: str,
    submissions: tuple[NamedSubmission, ...],
    runs: int,
    ranks: int | None,
    require_sandbox: str | None,
    parent: Path | None,
    *,
    purpose: Purpose | None = None,
    relabel: bool = False,
) -> CampaignDraft:
    """Draw a plan and check what can be checked before anything is started. Raises what a run would raise."""
    track = refereed_track(track_name)
    for named in submissions:
        source = named.submission
        check_source(source, source.root, track.budget.source_bytes)
    candidate, baseline = submissions[0], submissions[1] if len(submissions) > 1 else None
    device, now = machine.pick_device(track), clock.utc_now()
    node_check, node_words = newest_check(layout.runs_root(), now)
    plan = make_plan(
        track=track,
        candidate=candidate.submission,
        candidate_record=candidate.record,
        baseline=baseline.submission if baseline else None,
        baseline_record=baseline.record if baseline else None,
        runs=runs,
        world_size=machine.pick_world_size(track, ranks, device),
        device=device,
        sandbox=levels.choose(require_sandbox),
        created_at=now,
        purpose=purpose,
        relabel=relabel,
        node_check=node_check,
    )
    return CampaignDraft(
        plan=plan,
        track=track,
        track_file=find_track(track_name),
        submissions=submissions,
        parent=parent or layout.runs_root(),
        node_words=node_words,
    )


def intent_of(plan: Plan, track: Track, candidate: Submission | None) -> Intent:
    baseline = plan.arm("baseline")
    return Intent(
        track=track,
        sandbox=plan.sandbox,
        device=plan.device,
        world_size=plan.world_size,
        runs=plan.runs_per_arm,
        candidate=candidate,
        candidate_sha256=plan.arms[0].submission.sha256,
        has_baseline=baseline is not None,
        baseline_record=None if baseline is None else baseline.record,
        relabelled=plan.relabel,
    )


def race(draft: CampaignDraft, start: Start) -> None:
    """Start a campaign and run it to its end; or only say what would run."""
    if start.dry_run:
        _show_draft(draft, start.as_json)
        return
    found = draft.hindrances
    if is_hindered(found) and not start.anyway:
        raise UserError(
            f"expected a campaign that can become a record of {draft.track.name} here, found "
            f"{in_words(found)}; mend that, or run it all the same with --anyway"
        )
    check_data(draft.track)
    start_campaign(draft, start)


def start_campaign(draft: CampaignDraft, start: Start) -> None:
    """Make the folder of a campaign that may begin, and run it to its end."""
    folder = begin_campaign(draft, start)
    _end(draft.plan, conduct(folder, draft.plan, start, resumed=False), start)


def begin_campaign(draft: CampaignDraft, start: Start) -> Path:
    """Make the folder of a campaign that may begin; what runs is in it from now on."""
    console = watching_console()
    _tell_open_ones(draft, console)
    say_passed_over(console, start.required_sandbox, draft.plan.sandbox)
    if (layout.runs_root() / layout.NODE_CHECK_FILE).exists():
        console.print(f"node check: {draft.node_words}", soft_wrap=True, highlight=False, markup=False)
    if start.wait is False:
        with machine.exclusive(wait=False):  # a campaign that cannot begin leaves no folder
            pass
    return begin(draft.plan, draft.track_file, [each.submission for each in draft.submissions], draft.parent)


def resume_campaign(folder: Path, start: Start, fixed: dict[str, object]) -> None:
    """Take up a campaign where it stopped. Everything about it is in its folder.

    Raises UserError where the command line says any of it again: `fixed` are the arguments that would.
    """
    for name, value in {**fixed, "--dry-run": start.dry_run}.items():
        if value not in (None, False):
            raise UserError(f"expected only a campaign's folder with --resume, found {name} too; its plan is fixed")
    plan = read_bundle(folder).plan
    if plan.self_timed is None:
        check_data(load_track(str(folder / layout.TRACK_FILE)))
    elif plan.is_judged:
        prepare_data(load_track(str(folder / layout.TRACK_FILE)), watching_console())
    _end(plan, conduct(folder, plan, start, resumed=True), start)


def check_data(track: Track) -> None:
    """Raises DataError where data of a track is missing or broken; a refereed run makes the embedded corpus itself."""
    dataset = datasets.load_dataset(track.data.dataset)
    if dataset.kind != "embedded":
        datasets.verify(dataset, datasets.data_root(), track.data.train_shards)


def prepare_data(track: Track, console: Console) -> None:
    """The same for who reads the dataset itself: build the embedded corpus where it is missing."""
    check_data(track)
    dataset, root = datasets.load_dataset(track.data.dataset), datasets.data_root()
    if dataset.kind != "embedded":
        return
    with interruptible(), progress_bar("building", console, not console.is_terminal) as bar:
        datasets.prepare(dataset, root, advancing(bar, dataset.name))


def options_of(start: Start, console: Console) -> Options:
    """What does not change a campaign's result; waiting and notices are told on the console."""
    return Options(
        data_root=datasets.data_root(),
        python=start.python,
        keep_weights=start.keep_weights,
        copy_to=start.copy_to,
        wait=start.wait is not False,
        on_wait=say_who_holds(console),
        on_notice=lambda sentence: console.print(sentence, style="yellow", soft_wrap=True, markup=False),
    )


def conduct(folder: Path, plan: Plan, start: Start, *, resumed: bool) -> CampaignSummary:
    """Run what is left of a campaign, told on stderr, and summarise it. Raises RunFailure where no run can begin."""
    console = watching_console()
    options = options_of(start, console)
    count = f"{len(plan.slots)} run{'' if len(plan.slots) == 1 else 's'}"
    track = load_track(str(folder / layout.TRACK_FILE))
    reproduced = _reproduced(plan, track)
    if plan.self_timed is None:
        say_chances(console, track, hindrances(intent_of(plan, track, None)), reproduced)
    else:
        console.print("reported: the scripts time themselves, so this campaign becomes no record", style="dim")
    console.print(f"campaign {plan.campaign_id}: {count}, {escape(str(folder))}", soft_wrap=True, highlight=False)
    try:
        with Scoreboard(console, plan, folder).watching() as board:
            result = run_campaign(folder, options, board, resumed)
    except RunFailure as failure:
        raise RunFailure(
            failure.status, f"{failure.sentence}; {_how_to_go_on(folder, start.goes_on_with)}"
        ) from failure
    stopped_by = None if result.stopped_by is None else result.stopped_by.status
    with clock.not_before(read_ledger(folder / layout.LEDGER_FILE).entries[-1].at):  # a clock behind has been told of
        summary = summarise(read_bundle(folder), track, stopped_by)
        if summary.closed and plan.self_timed is None and plan.purpose != "reproduce" and reproduced is None:
            summary = replace(summary, findings=foreseen_findings(folder))
    return summary


def _reproduced(plan: Plan, track: Track) -> str | None:
    """The record whose source a campaign of refereed runs has."""
    return None if plan.self_timed is not None else reproduced_record(intent_of(plan, track, None))


def _end(plan: Plan, summary: CampaignSummary, start: Start) -> None:
    """Print what a campaign came to; exits with its code."""
    if start.as_json:
        sys.stdout.write(TypeAdapter(CampaignSummary).dump_json(summary, indent=1).decode() + "\n")
    else:
        _show(plan, summary, Console())
    raise typer.Exit(summary.exit_code)


def _how_to_go_on(folder: Path, command: str = RESUME) -> str:
    return f"go on with `{command} {folder}`"


def _show(plan: Plan, summary: CampaignSummary, console: Console) -> None:
    for sentence in summary.sentences:
        console.print(escape(sentence), soft_wrap=True, highlight=False)
    show_findings(console, summary.findings)
    if not summary.closed:
        console.print(
            f"[red]stopped[/] ({summary.stopped_by}); {escape(_how_to_go_on(Path(summary.folder)))}", soft_wrap=True
        )
    elif errors_of(summary.findings):
        refused = (
            "`speedrun verify` finds the same" if summary.tier == "reported" else "`speedrun submit` would refuse it"
        )
        console.print(refused, style="dim", soft_wrap=True)
    elif summary.tier == "reported":
        told = f"hand it in, without a place: speedrun submit {escape(summary.folder)} --title ... --author ..."
        names = [printable(arm.record) for arm in plan.arms if arm.record is not None]
        if plan.purpose == "reproduce" and names:
            told = f"beside what is published: speedrun reproduce {escape(' --against '.join(names))} --campaign "
            told += escape(summary.folder)
        console.print(told, style="dim", soft_wrap=True, highlight=False)
    elif summary.exit_code == 0 and summary.purpose != "reproduce":
        command = f"speedrun submit {summary.folder} --title ... --author ..."
        reproduced = _reproduced(plan, load_track(str(Path(summary.folder) / layout.TRACK_FILE)))
        if reproduced is not None:
            command = f"speedrun challenge {summary.track}/{reproduced} {summary.folder} --author ..."
        console.print(f"hand it in: {escape(command)}", style="dim", soft_wrap=True, highlight=False)


def _tell_open_ones(draft: CampaignDraft, console: Console) -> None:
    """A campaign of the same source that was never finished: said, so that nobody forgets it by accident."""
    for folder, plan, filled in open_campaigns(draft.parent):
        ours, theirs = draft.plan.arms[0].submission, plan.arms[0].submission
        if (plan.track.name, theirs.sha256) == (draft.track.name, ours.sha256):
            console.print(
                f"[yellow]open[/]: campaign {plan.campaign_id} of the same source has {filled} of {len(plan.slots)} "
                f"runs; {escape(_how_to_go_on(folder))}. This is another one.",
                soft_wrap=True,
                highlight=False,
            )


def _show_draft(draft: CampaignDraft, as_json: bool) -> None:
    """What would run. The seeds are drawn anew when it starts, so they are not shown."""
    plan, run_s = draft.plan, _run_seconds(draft.track)
    total_s = run_s.value * len(plan.slots)
    devices = plan.world_size if plan.device == "cuda" else 0
    shown: dict[str, Any] = {
        "track": plan.track.name,
        "rules_version": plan.track.rules_version,
        "purpose": plan.purpose,
        "arms": {arm.arm: f"{arm.record or arm.submission.entry} {arm.submission.sha256[:12]}" for arm in plan.arms},
        "runs_per_arm": plan.runs_per_arm,
        "order": "".join("AB"[slot.arm == "baseline"] for slot in plan.slots),
        "test": plan.test.model_dump(),
        "world_size": plan.world_size,
        "device": plan.device,
        "sandbox": plan.sandbox,
        "run_s": run_s.model_dump(include={"value", "source"}),
        "total_s": round(total_s, 1),
        "gpu_hours": round(total_s * devices / 3600, 3),
        "runs_root": str(draft.parent),
        "node_check": None if plan.node_check is None else plan.node_check.model_dump(mode="json"),
    }
    own = [finding for finding in draft.hindrances if not finding.sentence.startswith("candidate: ")]
    findings = [*own, *_source_findings(draft)]
    if as_json:
        print(json.dumps(shown | {"findings": findings_json(findings)}, indent=1))
    else:
        console = Console()
        test = f"{plan.test.name}-test at p < {plan.test.alpha:g}"
        words = {
            "test": test if plan.test.sigma is None else f"{test}, sigma {plan.test.sigma:g}",
            "run_s": f"{numbers.seconds(run_s.value)}: {run_s.source}",
            "total_s": numbers.seconds(total_s),
            "gpu_hours": numbers.hours(shown["gpu_hours"]) if devices else None,
            "node_check": draft.node_words,
            "findings": len(findings) or "none",
        }
        for key, value in (shown | words).items():
            if value is not None:
                console.print(f"[bold]{key:<14}[/] {escape(numbers.setting(value))}", soft_wrap=True, highlight=False)
        show_findings(console, findings)
        console.print("nothing was started (--dry-run); seeds are drawn when it is")
    exit_on_errors(findings)


def _source_findings(draft: CampaignDraft) -> Iterator[Finding]:
    """What the track's rules find in each arm's source."""
    for arm, named in zip(draft.plan.arms, draft.submissions, strict=True):
        source = named.submission
        for finding in source_rules.check(source.root, source.files, draft.track):
            yield finding.model_copy(update={"sentence": f"{arm.arm}: {finding.sentence}"})


def _run_seconds(track: Track) -> Assumption:
    """What one run costs, of the standing record or of the budget."""
    record, _ = reigning_record(track)
    standing = alike(record.runs) if record else []
    return forecast(track, [], standing[-1] if standing else (), Wishes()).run_s


def check_single(copy_to: Path | None) -> None:
    """Raises UserError where an option of campaigns is given to a single run."""
    if copy_to is not None:
        raise UserError("expected --runs or --resume beside --copy-to, found neither; a single run is not copied")


def check_runs(runs: int, **excluded: object) -> None:
    """Raises UserError when an option makes no sense in a campaign."""
    for option, value in excluded.items():
        if value:
            sentence = f"expected no --{option} with --runs {runs}, found one"
            raise UserError(f"{sentence}; a campaign draws its seeds and each of its runs counts")
