"""Watching: what can be seen of a run or a campaign in progress, without touching it.

Only records of runs, progress.jsonl and the ledger are read. The referee writes down GO and STOP between TRAIN and
SCORE, when no clock runs; what lies before that is inferred from the reports, and said so.
"""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.files import is_locked
from harness.campaigns.campaign import Plan
from harness.campaigns.ledger import read_ledger
from harness.errors import RecordError, UserError
from harness.formats import layout
from harness.formats.run import RunRecord, read_run
from harness.status import Status
from harness.system.clock import NS

from .progress import TrainingReport, read_last_report

QUIET_S = 10.0  # without a report: training may be over
LEARNED_FROM = 40  # earlier runs that are asked how many steps the same source takes
GRACE_S = 5.0  # between two runs of a campaign


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSight:
    """One look at a run."""

    run: RunRecord
    phase: str  # STARTING, PREPARE, TRAIN, SCORE, or its status
    report: TrainingReport | None
    clock_s: float | None  # since GO, as far as it can be told
    steps: int | None  # an earlier run of the same source took so many
    eta_s: float | None

    @property
    def is_over(self) -> bool:
        return self.run.status != Status.STARTED


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSight:
    """One look at a campaign and the run in progress."""

    plan: Plan
    filled: int
    attempts: int
    closed: bool
    conducted: bool  # somebody holds its ledger
    begun: tuple[str, ...]  # the attempts that have written a record, by their runs' ids


def find_watched(text: str | None) -> Path:
    """The folder of the run or the campaign somebody means; None: the newest in progress. Raises UserError."""
    root = layout.runs_root()
    if text is None:
        return _newest_in_progress(root)
    given = Path(text)
    if (given / layout.RUN_FILE).exists() or (given / layout.LEDGER_FILE).exists():
        return given
    known = {folder.name: folder for folder in (*layout.local_run_dirs(root), *layout.campaign_dirs(root))}
    found = [known[text]] if text in known else [known[name] for name in sorted(known) if text and text in name]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(folder.name for folder in found[-4:])
        raise UserError(f"expected one run or campaign, found {text!r}, which could be {len(found)}: ... {names}")
    raise UserError(f"expected a run or a campaign in {root} or a path to one, found {text!r}")


def _newest_in_progress(root: Path) -> Path:
    """A run that is being refereed, or the campaign it belongs to."""
    folders = layout.local_run_dirs(root)
    for folder in reversed(folders):
        try:
            if read_run(folder).status == Status.STARTED:
                campaign = folder.parent.parent
                return campaign if (campaign / layout.LEDGER_FILE).exists() else folder
        except RecordError:
            continue
    for campaign in reversed(layout.campaign_dirs(root)):  # between two of its runs
        if is_conducted(campaign):
            return campaign
    hint = f"; the last one was {folders[-1].name}" if folders else ""
    raise UserError(f"expected a run in progress in {root}, found none{hint}; `speedrun run` starts one")


def look_at_run(folder: Path, now_s: float | None = None) -> RunSight:
    """now_s: Unix time. Raises RecordError where there is no readable run."""
    run = read_run(folder)
    found = read_last_report(folder)
    report, written_s = found if found is not None else (None, None)
    if run.status != Status.STARTED:
        clock_s = None if run.time_ns is None else run.time_ns / NS
        return RunSight(run=run, phase=str(run.status), report=report, clock_s=clock_s, steps=None, eta_s=None)
    if run.time_ns is not None:  # STOP is written down before SCORE begins
        return RunSight(run=run, phase="SCORE", report=report, clock_s=run.time_ns / NS, steps=None, eta_s=None)
    now_s = time.time() if now_s is None else now_s
    steps = steps_taken(run.submission.sha256, run.track.sha256)
    if report is None or written_s is None:
        exists = os.path.lexists(folder / layout.PROGRESS_FILE)
        phase = "PREPARE" if exists else "STARTING"
        return RunSight(run=run, phase=phase, report=None, clock_s=None, steps=steps, eta_s=None)
    quiet_s = max(now_s - written_s, 0.0)
    if steps is not None and report.step > steps:
        steps = None  # that run was another one after all
    over = report.step == steps
    left = None if steps is None or over or report.step == 0 else steps - report.step
    return RunSight(
        run=run,
        phase="SCORE" if over else "TRAIN" if quiet_s < QUIET_S else "TRAIN or SCORE",
        report=report,
        clock_s=None if over else report.elapsed_s + quiet_s,
        steps=steps,
        eta_s=None if left is None else max(report.elapsed_s / report.step * left - quiet_s, 0.0),
    )


def look_at_campaign(folder: Path) -> CampaignSight:
    """Raises RecordError where there is no plan."""
    ledger = read_ledger(folder / layout.LEDGER_FILE)
    if ledger.plan is None:
        raise RecordError(f"expected a campaign with a plan at {folder}, found none")
    record = layout.RUN_FILE if ledger.plan.self_timed is None else layout.LEGACY_FILE
    names = [entry.run_id for entry, _ in ledger.attempts]
    begun = tuple(name for name in names if (folder / layout.RECORD_RUNS_DIR / name / record).exists())
    return CampaignSight(
        plan=ledger.plan,
        filled=len(ledger.filling),
        attempts=len(ledger.attempts),
        closed=ledger.closed,
        conducted=is_conducted(folder),
        begun=begun,
    )


def is_conducted(campaign: Path) -> bool:
    """Whether a process holds the lock of a campaign's ledger; asked of the kernel, so that nobody is disturbed.

    Its list of locks leaves out those of other containers: there the lock itself is asked.
    """
    try:
        inode = (campaign / layout.LEDGER_FILE).stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    listed = any(" FLOCK " in line and f":{inode} " in line and "->" not in line for line in locks)
    return listed or is_locked(campaign / layout.LEDGER_FILE) is True


@cache
def steps_taken(source_sha256: str, track_sha256: str) -> int | None:
    """The last step of the newest complete local run of the same source on the same track; None: there is none."""
    for folder in layout.local_run_dirs(layout.runs_root())[: -LEARNED_FROM - 1 : -1]:
        try:
            run = read_run(folder)
        except RecordError:
            continue
        same = (run.submission.sha256, run.track.sha256) == (source_sha256, track_sha256)
        if same and run.status == Status.COMPLETE and (last := read_last_report(folder)) is not None:
            return last[0].step or None
    return None
