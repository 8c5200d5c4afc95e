"""speedrun doctor --race: two runs of a record on this machine, held against the record's own runs."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..campaigns import fitness, step_times
from ..campaigns.bundle import MAX_PROGRESS_BYTES, read_bundle
from ..campaigns.comparable import machine_fingerprint
from ..campaigns.fitness import RACE_RUNS, RaceFacts
from ..campaigns.runner import begin, run_campaign
from ..campaigns.scoreboard import Scoreboard
from ..campaigns.step_times import Curve, read_curve
from ..errors import RecordError, RunFailure
from ..formats import environment, layout, numbers
from ..formats.environment import Environment
from ..formats.node_check import CpuLimits, NodeCheck, NodeVerdict, StepTimes, write_node_check
from ..formats.run import RunRecord, owner
from ..formats.run_folder import unwritable
from ..formats.track import Track, rules_major
from ..records.lookup import NamedSubmission, find_submission, standing_record
from ..records.record import read_record
from ..referee import driver_pairs, machine
from ..referee.display import watching_console
from ..status import ExitCode
from ..system import clock
from ..system.cpu_clocks import read_cpu_clocks
from ..system.load import Counters, read_counters
from ..system.plainfile import read_plain
from ..system.quotas import CpuQuota, read_quotas, throttled_ns, throttled_periods, tightest
from .campaigns import CampaignDraft, Start, check_data, draft, options_of, refereed_track
from .reports import say_passed_over

STYLES = {"fit": "bold green", "slow": "bold red", "undecided": "bold yellow"}
PHASE_WIDTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """A race that could be run, and what is known before it."""

    draft: CampaignDraft
    here: Environment
    facts: RaceFacts
    expected_steps: tuple[StepTimes, ...]


def check_node(name: str | None, track_name: str, ranks: int | None, start: Start) -> None:
    """Check this machine by a race, tell the verdict, keep it, and exit with 0 where it is fit and 1 where not."""
    track = refereed_track(track_name)
    race = _prepare(name, track, track_name, ranks, start)
    foreseen = fitness.foreseen(race.facts)
    console = watching_console()
    if start.dry_run:
        _show_plan(race, foreseen, start.as_json)
        raise typer.Exit(int(ExitCode.OK if foreseen is None else ExitCode.MISSED))
    _say_before(race, console)
    if foreseen is None or start.anyway:
        check = _run(race, start, console)
    else:
        check = _checked(race, race.facts, foreseen, None)
    try:
        path = write_node_check(check, layout.runs_root())
    except OSError as error:
        raise unwritable(layout.runs_root(), error) from error
    if start.as_json:
        print(check.model_dump_json(indent=1))
    else:
        _show(check, Console())
        console.print(Text(printable(f"kept in {path}, and stated by campaigns here"), style="dim"), soft_wrap=True)
    raise typer.Exit(int(ExitCode.OK if check.verdict == "fit" else ExitCode.MISSED))


def _prepare(name: str | None, track: Track, track_name: str, ranks: int | None, start: Start) -> Race:
    """Nothing is started. Raises UserError where there is nothing to race."""
    named = find_submission(name, track.name) if name is not None else _reigning(track)
    folder = None if named.record is None else layout.track_file(track.name).parent / named.record
    record = None if folder is None else read_record(folder)
    own = () if record is None else tuple(run for run in record.runs if run.result is not None)
    if ranks is None and own:
        ranks = own[0].world_size
    campaign = draft(track_name, (named,), RACE_RUNS, ranks, start.required_sandbox, None)
    plan, here = campaign.plan, environment.collect()
    pairs = driver_pairs.bad_pairs((gpu.driver for gpu in here.gpus), here.torch, here.cuda)
    older = record is not None and rules_major(record.rules_version) != track.major
    facts = RaceFacts(
        record=named.record,
        record_runs=own,
        older_rules=record.rules_version if record is not None and older else None,
        here=machine_fingerprint(here, plan.device, plan.world_size),
        cpu=_cpu_limits(track),
        bad_pairs=tuple(sentence for _, sentence in pairs) if plan.device == "cuda" else (),
        starts=plan.device == "cpu" or all(pair.starts for pair, _ in pairs),
    )
    curves = [] if folder is None else [_curve(folder, run) for run in own]
    return Race(draft=campaign, here=here, facts=facts, expected_steps=step_times.step_times(curves))


def _reigning(track: Track) -> NamedSubmission:
    """The standing record; where there is none, the submission that every checkout has as a baseline."""
    return standing_record(track) or find_submission(str(layout.ROOT / "train_gpt.py"), track.name)


def _cpu_limits(track: Track) -> CpuLimits:
    cores, quota = machine.cores(track), tightest(read_quotas())
    clocks = read_cpu_clocks(cores)
    return CpuLimits(
        needed_cores=len(cores),
        quota_cores=None if quota is None else quota.cores,
        quota_file=None if quota is None else str(quota.file),
        governor=clocks.governor,
        clock_limit_mhz=clocks.limit_mhz,
        clock_most_mhz=clocks.most_mhz,
    )


def _run(race: Race, start: Start, console: Console) -> NodeCheck:
    """The race, to its verdict. Raises RunFailure where a signal, the machine or the referee ended it."""
    campaign = race.draft
    check_data(campaign.track)
    say_passed_over(console, start.required_sandbox, campaign.plan.sandbox)
    if start.wait is False:
        with machine.exclusive(wait=False):
            pass
    sources = [named.submission for named in campaign.submissions]
    folder = begin(campaign.plan, campaign.track_file, sources, campaign.parent)
    quotas, before, own_s = read_quotas(), read_counters(), _own_s()
    with Scoreboard(console, campaign.plan, folder).watching() as board:
        result = run_campaign(folder, options_of(start, console), board)
    after, own_ns = read_counters(), round((_own_s() - own_s) * clock.NS)
    race_ns = after.at_ns - before.at_ns
    if (stopped := result.stopped_by) is not None:
        raise RunFailure(stopped.status, f"{stopped.sentence}; without two runs there is no verdict: check again")
    runs = read_bundle(folder).runs("candidate")
    facts = replace(
        race.facts,
        cpu=race.facts.cpu.model_copy(
            update={**_throttled(quotas, read_quotas()), "others_share": _others_share(before, after, own_ns)}
        ),
        runs=tuple(
            fitness.checked_run(run, campaign.track, step_times.step_times([_curve(folder, run)])) for run in runs
        ),
        sentences=tuple(run.sentence for run in runs),
        race_ns=race_ns,
    )
    return _checked(race, facts, fitness.judge(facts), campaign.plan.campaign_id)


def _throttled(before: tuple[CpuQuota, ...], after: tuple[CpuQuota, ...]) -> dict[str, int]:
    """What quotas took in between, where they are counted."""
    found = {}
    for name, count in (("throttled_periods", throttled_periods), ("throttled_ns", throttled_ns)):
        first, last = count(before), count(after)
        if first is not None and last is not None:
            found[name] = max(0, last - first)
    return found


def _own_s() -> float:
    """Processor time of this process and of every child that was waited for, with theirs."""
    return sum(os.times()[:4])


def _others_share(before: Counters, after: Counters, own_ns: int) -> float:
    """Share of the cores' time that others had, between 0 and 1."""
    others_ns = after.busy_ns - before.busy_ns - own_ns
    return min(1.0, max(0.0, others_ns / max(1, len(after.cores) * (after.at_ns - before.at_ns))))


def _curve(folder: Path, run: RunRecord) -> Curve:
    """What a run of a campaign or of a record reported of its steps; nothing where that cannot be read."""
    path = folder / layout.RECORD_RUNS_DIR / run.run_id / layout.PROGRESS_FILE
    try:
        return read_curve(read_plain(path, MAX_PROGRESS_BYTES, RecordError))
    except RecordError:
        return ()


def _checked(
    race: Race, facts: RaceFacts, found: tuple[NodeVerdict, tuple[str, ...]], campaign_id: str | None
) -> NodeCheck:
    plan, (verdict, reasons) = race.draft.plan, found
    return NodeCheck(
        verdict=verdict,
        reasons=reasons,
        checked_at=clock.utc_now(),
        owner=owner(),
        device=plan.device,
        world_size=plan.world_size,
        machine={key: value for key, value in facts.here.items() if value is not None},
        gpu_uuids=tuple(gpu.uuid for gpu in race.here.gpus),
        track=plan.track.name,
        record=facts.record,
        submission_sha256=plan.arms[0].submission.sha256,
        campaign_id=campaign_id,
        expected=fitness.expected_time(facts.record_runs),
        expected_steps=race.expected_steps,
        runs=facts.runs,
        cpu=facts.cpu,
    )


def _say_before(race: Race, console: Console) -> None:
    """What is held against what, and what is known already: before anything is paid for."""
    for name, value in _plan_words(race).items():
        console.print(Text(printable(f"{name:<10} {value}")), soft_wrap=True)
    for sentence in _known(race.facts):
        console.print(Text(printable(sentence), style="bold yellow"), soft_wrap=True)


def _plan_words(race: Race) -> dict[str, str]:
    facts, track, cpu = race.facts, race.draft.plan.track.name, race.facts.cpu
    expected = fitness.expected_time(facts.record_runs)
    raced = f"{track}/{facts.record}" if facts.record else f"{race.draft.plan.arms[0].submission.entry} on {track}"
    own = f"{len(facts.record_runs)} run{'' if len(facts.record_runs) == 1 else 's'} of its own"
    words = {"race": f"{RACE_RUNS} runs of {raced}" + (f", which has {own}" if facts.record else "")}
    if expected is not None:
        words["expected"] = (
            f"{numbers.span_seconds(expected.low_s, expected.high_s)} each ({numbers.percent(expected.confidence, 0)} "
            f"interval from its {expected.runs} runs)"
        )
    if differing := fitness.unlike(facts):
        words["unlike"] = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in differing)
    quota = "none to be seen" if cpu.quota_cores is None else f"{numbers.fixed(cpu.quota_cores, 2)} cores"
    words["cpu"] = f"{cpu.needed_cores} cores needed, quota {quota}" + (
        f", governor {cpu.governor}" if cpu.governor else ""
    )
    return words


def _known(facts: RaceFacts) -> tuple[str, ...]:
    """Sentences about quota and driver, which need no race."""
    quota = fitness.quota_sentence(facts.cpu) if facts.here.get("device") == "cpu" else None
    return (*([quota] if quota else []), *facts.bad_pairs)


def _show_plan(race: Race, foreseen: tuple[NodeVerdict, tuple[str, ...]] | None, as_json: bool) -> None:
    """What would run, and the verdict where none has to run."""
    facts, plan = race.facts, race.draft.plan
    expected = fitness.expected_time(facts.record_runs)
    if as_json:
        shown = {
            "track": plan.track.name,
            "record": facts.record,
            "runs": RACE_RUNS,
            "world_size": plan.world_size,
            "device": plan.device,
            "sandbox": plan.sandbox,
            "record_runs": len(facts.record_runs),
            "expected": None if expected is None else expected.model_dump(mode="json"),
            "unlike": {key: [there, here] for key, there, here in fitness.unlike(facts)},
            "cpu": facts.cpu.model_dump(mode="json"),
            "verdict": None if foreseen is None else foreseen[0],
            "reasons": list(_known(facts)),
        }
        print(json.dumps(shown, indent=1))
        return
    console = Console()
    _say_before(race, console)
    if foreseen is not None:
        console.print(Text(f"{foreseen[0]} without a race", style=STYLES[foreseen[0]]))
    console.print("nothing was started (--dry-run)")


def _show(check: NodeCheck, console: Console) -> None:
    """The verdict, its reasons, and the step times of record and runs side by side."""
    first, *others = check.reasons
    line = Text.assemble((check.verdict, STYLES[check.verdict]), f": {printable(first)}")
    console.print(line, soft_wrap=True)
    for reason in others:
        console.print(Text(f"  besides: {printable(reason)}"), soft_wrap=True)
    theirs = {times.phase: times for times in check.expected_steps}
    ours = [{times.phase: times for times in run.steps} for run in check.runs]
    for phase in step_times.PHASES:
        here = [step_times.in_words(run[phase]) for run in ours if phase in run]
        if not here:
            continue
        there = f"record {step_times.in_words(theirs[phase])}, " if phase in theirs else ""
        console.print(Text(f"  {phase:<{PHASE_WIDTH}}{there}here {' and '.join(here)} per step"), soft_wrap=True)
    if check.runs and not any(run.steps for run in check.runs):
        console.print("  steps: none were reported often enough to time them", soft_wrap=True)
