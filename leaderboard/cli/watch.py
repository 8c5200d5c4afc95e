"""speedrun watch: a run or a campaign in progress, live."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from data.printing import printable
from harness.campaigns.bundle import read_bundle
from harness.campaigns.campaign import CampaignRun, Plan, fills_slot
from harness.campaigns.executors import read_attempt
from harness.campaigns.summary import summarise
from harness.campaigns.track_match import bundle_track
from harness.cli.answers import json_text
from harness.errors import RecordError
from harness.formats import layout, numbers
from harness.formats.run_folder import is_unjudged
from harness.formats.section import Section
from harness.status import ExitCode, Status
from harness.system.clock import utc_now

from ..board.watching import GRACE_S, CampaignSight, RunSight, find_watched, is_conducted, look_at_campaign, look_at_run

LOOK_S = 0.5
LINE_S = 15.0  # between two lines where nobody sits at a terminal
BAR_CELLS = 24


class WatchedRun(Section):
    """speedrun watch, of a run that is over"""

    run: str
    folder: str
    status: str
    exit_code: int
    sentences: list[str]


class WatchedCampaign(Section):
    """speedrun watch, of a campaign that is over, or that nobody conducts any more"""

    campaign: str
    folder: str
    closed: bool
    exit_code: int
    sentences: list[str]


AnyWatched = WatchedRun | WatchedCampaign  # speedrun watch


def watch(
    run: Annotated[
        str | None, typer.Argument(help="A run or a campaign: id, part of it, or folder; else the newest in progress.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object when it is over.")] = False,
) -> None:
    """Follow a run or a campaign on this machine until it is over, and exit with its code.

    Reads what is on disk and disturbs nothing: Ctrl-C ends the watching, not the run. Steps and losses are the
    submission's own word; a remaining time is known where an earlier run of the same source is.
    """
    folder = find_watched(run)
    console = Console()
    try:
        with _screen(console, quiet=as_json) as screen:
            is_campaign = (folder / layout.LEDGER_FILE).exists()
            found = _campaign(folder, screen) if is_campaign else _run(folder, screen)
    except KeyboardInterrupt:
        console.print("no longer watched; it goes on", highlight=False)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print(json_text(found))
    else:
        for sentence in found.sentences:
            console.print(Text(printable(sentence)), soft_wrap=True, highlight=False)
    raise typer.Exit(found.exit_code)


def _run(folder: Path, screen: "Screen") -> WatchedRun:
    """Until the run is over."""
    phase = ""
    while not (sight := look_at_run(folder)).is_over:
        if not phase and is_unjudged(folder, sight.run):
            screen.keep(f"{sight.run.sentence}; if it is over, `speedrun close {folder}`")
        screen.now(describe(sight), sight.phase != phase)
        phase = sight.phase
        time.sleep(LOOK_S)
    return WatchedRun(
        run=sight.run.run_id,
        folder=str(folder),
        status=str(sight.run.status),
        exit_code=int(sight.run.exit_code),
        sentences=[_outcome(sight.run)],
    )


def _campaign(folder: Path, screen: "Screen") -> WatchedCampaign:
    """Until the campaign is closed, or nobody conducts it any more."""
    told: set[str] = set()
    phase = ""
    left_s: float | None = None
    while True:
        sight = look_at_campaign(folder)
        _tell_ended(folder, sight, told, screen)
        if sight.closed:
            break
        left_s = None if sight.conducted or is_conducted(folder) else left_s or time.monotonic()
        if left_s is not None and time.monotonic() - left_s > GRACE_S:
            break
        line, now = f"{sight.filled} of {len(sight.plan.slots)} runs done", "waiting"
        if (running := _in_progress(folder, sight)) is not None:
            again = f" (attempt {sight.attempts})" if sight.attempts > sight.filled + 1 else ""
            line, now = f"{line}; run {sight.filled + 1}{again}: {running[0]}", running[1]
        screen.now(line, now != phase)
        phase = now
        time.sleep(LOOK_S)
    bundle = read_bundle(folder)
    stopped_by = None if bundle.closed else _stopped_by(folder, sight)
    summary = summarise(bundle, bundle_track(folder), stopped_by)
    ending = [] if bundle.closed else ["Nobody conducts it any more; `speedrun run --resume` takes it up again."]
    return WatchedCampaign(
        campaign=bundle.plan.campaign_id,
        folder=str(folder),
        closed=bundle.closed,
        exit_code=int(summary.exit_code),
        sentences=[*ending, *summary.sentences],
    )


def _tell_ended(folder: Path, sight: CampaignSight, told: set[str], screen: "Screen") -> None:
    """One line for every run that has ended since the last look."""
    for run_id in sight.begun:
        if run_id in told or (run := _attempt(folder, sight.plan, run_id)) is None:
            continue
        if run.status != Status.STARTED:
            told.add(run_id)
            arm = f"{run.campaign.arm} " if run.campaign else ""
            screen.keep(f"{arm}{_outcome(run)}")


def _attempt(folder: Path, plan: Plan, run_id: str) -> CampaignRun | None:
    """A run of a campaign, as far as it can be read now."""
    try:
        return read_attempt(folder, plan, run_id)
    except RecordError:
        return None


def _stopped_by(folder: Path, sight: CampaignSight) -> Status | None:
    """What ended a campaign early, if it was a run."""
    last = _attempt(folder, sight.plan, sight.begun[-1]) if sight.begun else None
    return None if last is None or fills_slot(last.status) else last.status


def _in_progress(folder: Path, sight: CampaignSight) -> tuple[str, str] | None:
    """The run of a campaign that goes on now: what to say of it, and the part that is no news where it stays so."""
    if not sight.begun:
        return None
    if sight.plan.self_timed is None:
        one = _look(folder / layout.RECORD_RUNS_DIR / sight.begun[-1])
        return None if one is None or one.is_over else (describe(one), f"{one.run.run_id} {one.phase}")
    run = _attempt(folder, sight.plan, sight.begun[-1])
    if run is None or run.status != Status.STARTED:
        return None
    arm = f"{run.campaign.arm} " if run.campaign else ""
    since_s = max((utc_now() - run.started_at).total_seconds(), 0.0)
    return f"{arm}since {numbers.fixed_seconds(since_s, 0)}; it times itself", run.run_id


def _look(folder: Path) -> RunSight | None:
    try:
        return look_at_run(folder)
    except RecordError:
        return None


def _outcome(run: CampaignRun) -> str:
    broken = f", broke {run.errors[0].id}" if run.errors else ""
    return f"{run.run_id}: {run.status}{broken}: {run.sentence}"


def describe(sight: RunSight) -> str:
    """A run in progress in one line: phase, how far, how well, how long still."""
    parts = [f"{sight.phase:<8}"]
    if sight.report is not None:
        step = f"step {sight.report.step}"
        if sight.steps is not None:
            parts.append(_bar(sight.report.step / sight.steps))
            step += f"/{sight.steps}"
        parts.append(step)
        if sight.report.train_loss is not None:
            parts.append(f"train_loss {numbers.loss(sight.report.train_loss)}")
    elif sight.phase == "PREPARE":
        parts.append("building, compiling, or no report yet")
    if sight.clock_s is not None and sight.phase == "SCORE":
        parts.append(f"{numbers.fixed_seconds(sight.clock_s, 3)} from GO to STOP")
    elif sight.clock_s is not None:
        parts.append(f"{numbers.fixed_seconds(sight.clock_s, 1)} since GO")
    if sight.eta_s is not None:
        parts.append(f"ETA {numbers.fixed_seconds(sight.eta_s, 0)}")
    return "  ".join(parts)


def _bar(share: float) -> str:
    filled = int(min(max(share, 0.0), 1.0) * BAR_CELLS)
    return "━" * filled + "─" * (BAR_CELLS - filled)


class Screen:
    """Where nobody sits at a terminal, or nobody listens: plain lines at every change and now and then, or none."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet, self._next_s = console, quiet, 0.0

    def now(self, line: str, news: bool) -> None:
        """What is going on; news: it is something else than before."""
        if news or time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LINE_S
            self.keep(line)

    def keep(self, line: str) -> None:
        """Something that stays on the screen."""
        if not self._quiet:
            self._console.print(Text(printable(line)), soft_wrap=True, highlight=False)


class LiveScreen(Screen):
    """A terminal: what is going on is one line that is redrawn."""

    def __init__(self, console: Console, live: Live) -> None:
        super().__init__(console, quiet=False)
        self._live = live

    def now(self, line: str, news: bool) -> None:
        self._live.update(Text(printable(line), no_wrap=True, overflow="ellipsis"), refresh=True)


@contextmanager
def _screen(console: Console, *, quiet: bool) -> Iterator[Screen]:
    """Leaves the terminal as it was, whatever happens."""
    if quiet or not console.is_terminal:
        yield Screen(console, quiet=quiet)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveScreen(console, live)
