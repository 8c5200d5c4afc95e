"""Conducting a campaign: its slots one after the other, each attempt in the ledger before it starts and after it ends.

What runs are the campaign's own copies of track and sources, never the files they came from. A campaign that was
interrupted, killed or let down by its machine goes on where it stopped: nothing is repeated that filled its slot, and
nothing that was started is forgotten.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from data import datasets

from ..errors import RecordError, UserError
from ..formats import environment, layout
from ..formats.observer import Observer
from ..formats.run import RunRecord, full_disk_is_a_failure, new_run_id, owner, same_machine
from ..formats.run_folder import begin_folder
from ..formats.submission import Submission, take_copy
from ..formats.track import load_track
from ..referee import machine
from ..sandbox import levels
from ..status import Status
from ..system import clock, whereabouts
from ..system.interrupts import Interrupts
from ..system.plainfile import read_plain
from . import comparable
from .bundle import file_digests
from .campaign import ArmPlan, CampaignRun, Plan, Slot, fills_slot
from .campaign_relations import times_of
from .executors import Options, StartRun, executor_of, read_attempt
from .languages import draw_secret, forget_secret, language_secret, pair_of, read_secret
from .ledger import Ledger, StateMachine, Writer, create_ledger, open_ledger, read_ledger
from .run_relations import WALL_DRIFT
from .second_copy import SecondCopy
from .sources import source_findings


class CampaignObserver(Protocol):
    """Somebody who watches a campaign."""

    def begins(self, slot: Slot, plan: Plan) -> Observer:
        """A run of this slot is about to start; returns who watches the run."""

    def ended(self, slot: Slot, run: CampaignRun) -> None:
        """It is over, also where it ended when it was taken up before."""


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """What conducting came to. stopped_by: the run that kept the campaign from going on; None: it is closed."""

    folder: Path
    stopped_by: CampaignRun | None


def begin(plan: Plan, track_file: Path, arms: Sequence[Submission], parent: Path) -> Path:
    """Make the folder of a new campaign: track, sources, the languages' secret and, last, the ledger with its plan.
    Returns the folder.

    Raises UserError when a file has changed since it was planned.
    """
    begun = begin_folder(parent, plan.campaign_id)
    try:
        with full_disk_is_a_failure():
            track = track_file.read_bytes()
            if hashlib.sha256(track).hexdigest() != plan.track.sha256:
                raise UserError(f"{track_file} changed while the campaign was planned; start it again")
            (begun.path / layout.TRACK_FILE).write_bytes(track)
            (begun.path / layout.RECORD_RUNS_DIR).mkdir()
            for arm, submission in zip(plan.arms, arms, strict=True):
                (begun.path / arm.arm).mkdir()
                take_copy(submission, begun.path / arm.arm)
                _check_source(begun.path, arm)
            create_ledger(begun.path, _with_languages(begun.path, plan))
            begun.appear()
    finally:
        begun.give_up()
    return begun.path


def _with_languages(folder: Path, plan: Plan) -> Plan:
    """On the embedded corpus the plan holds the digest of a secret that is drawn here, and known to nobody before."""
    if plan.self_timed is not None or datasets.load_dataset(plan.track.dataset).kind != "embedded":
        return plan
    return plan.model_copy(update={"languages_sha256": draw_secret(folder)})


def run_campaign(folder: Path, options: Options, watcher: CampaignObserver, resumed: bool = False) -> CampaignResult:
    """Run what is left of a campaign, and close it.

    Ends early when a run is stopped by a signal, by the machine or by the referee: `CampaignResult.stopped_by`. Raises
    UserError, before anything is started, where machine, track or sources are no longer what the campaign began with.
    """
    with (
        Interrupts() as interrupts,
        open_ledger(folder) as (ledger, writer),
        clock.not_before(_reached(folder, ledger)) as set_back,
    ):
        with interrupts.raised():
            conductor = _Runner(folder, options, watcher, ledger, writer)
            if ledger.closed:
                forget_secret(folder)
                conductor.copy.keep()
                return CampaignResult(folder, None)
            conductor.take_up(resumed, set_back)
        while (slot := conductor.next_slot) is not None:
            with conductor.machine_held(interrupts):
                with interrupts.raised():
                    run_id, start = conductor.prepare(slot)
                run = conductor.attempt(slot, run_id, start)
            if not fills_slot(run.status):
                return CampaignResult(folder, run)
        conductor.close()
    return CampaignResult(folder, None)


def _reached(folder: Path, ledger: Ledger) -> datetime:
    """The moment a campaign has come to by its own times: no later line or run may show less.

    Since a run of this boot the raw clock says how much has passed at least, whatever was done to the wall clock.
    """
    assert ledger.plan is not None
    moments = [entry.at for entry in ledger.entries]
    for entry, _ in () if ledger.closed else ledger.attempts:
        run = read_attempt(folder, ledger.plan, entry.run_id)
        if run is None:
            continue
        moments.append(run.finished_at or run.started_at)
        if isinstance(run, RunRecord) and (times := times_of(run)) is not None:
            start_ns, reached_ns = times
            if run.owner.boot_id == whereabouts.boot_id():
                reached_ns = max(reached_ns, clock.now_ns())
            passed_s = (reached_ns - start_ns) / clock.NS * (1 - WALL_DRIFT)
            moments.append(run.started_at + timedelta(seconds=passed_s))
    return max(moments)


def open_campaigns(parent: Path) -> list[tuple[Path, Plan, int]]:
    """Campaigns below a folder that are not closed: folder, plan, and how many slots are filled."""
    found = []
    for folder in layout.campaign_dirs(parent):
        try:
            ledger = read_ledger(folder / layout.LEDGER_FILE)
        except RecordError:
            continue
        if ledger.plan is not None and not ledger.closed:
            found.append((folder, ledger.plan, _replay(ledger).filled))
    return found


def _replay(ledger: Ledger) -> StateMachine:
    state = StateMachine()
    state.read(list(ledger.entries))
    return state


class _Runner:
    """Runs what is left of one campaign."""

    def __init__(
        self, folder: Path, options: Options, watcher: CampaignObserver, ledger: Ledger, writer: Writer
    ) -> None:
        assert ledger.plan is not None
        self.folder, self.options, self.watcher, self.writer = folder, options, watcher, writer
        self.plan, self.state, self.ledger = ledger.plan, _replay(ledger), ledger
        self._check_track()
        track = load_track(str(folder / layout.TRACK_FILE))
        self.track, self.executor = track, executor_of(folder, self.plan, track, options)
        self.copy = SecondCopy(folder, options.copy_to, options.on_notice)
        self.known: comparable.Fingerprint = {}  # of the counted runs
        self.repeats = Counter[int]()  # by pair: attempts that filled no slot

    @property
    def next_slot(self) -> Slot | None:
        slots = self.plan.slots
        return slots[self.state.filled] if self.state.filled < len(slots) else None

    def take_up(self, resumed: bool, set_back: timedelta) -> None:
        """Settle what was left open before, and look at what it finished."""
        self.executor.close_abandoned()
        told = ""
        if set_back:
            told = f"; the machine's clock was {set_back} behind what is entered, and times go on from there"
            self.options.on_notice(f"{told[2:]}; set the clock right")
        if resumed or self.ledger.attempts or told:
            self.writer.resumed(f"taken up with {self.state.filled} of {len(self.plan.slots)} slots filled{told}")
            self.copy.keep()
        filled: dict[int, CampaignRun] = {}
        for entry, outcome in self.ledger.attempts:
            run, slot = read_attempt(self.folder, self.plan, entry.run_id), self.plan.slots[entry.slot]
            status = outcome.status if outcome else run.status if run else Status.ABANDONED
            if outcome is None:
                self._enter(slot, entry.run_id, status)
            else:
                self.repeats[pair_of(slot)] += not fills_slot(status)
            if run is not None and fills_slot(status):
                self._remember(run)
                filled[slot.index] = run
        self._reopen(filled.get(self.state.filled - 1))
        for index in range(self.state.filled):
            if index in filled:
                self.watcher.ended(self.plan.slots[index], filled[index])

    def _reopen(self, last: CampaignRun | None) -> None:
        """A pair whose first run was made on another machine starts anew: what differs between the two would count."""
        is_open = len(self.plan.arms) == 2 and self.state.filled % 2 == 1
        if not is_open or last is None or same_machine(last.owner, owner()):
            return
        slot = self.state.filled - 1
        told = f"the open pair starts anew: its first run, {last.run_id}, was made on {last.owner.host}"
        self.writer.resumed(told, reopens=slot)
        self.options.on_notice(told)
        self.state.filled = slot
        self.copy.keep()

    def prepare(self, slot: Slot) -> tuple[str, StartRun]:
        """The next run and its name, when all is as it was. Raises UserError, naming what is not."""
        plan = self.plan
        self._check_track()
        for each in plan.arms:
            _check_source(self.folder, each)
        levels.choose(plan.sandbox)
        here = comparable.machine_fingerprint(environment.collect(self.options.python), plan.device, plan.world_size)
        self._check_alike({**here, "sandbox": plan.sandbox, **self.executor.check()})
        run_id = new_run_id(clock.utc_now())
        return run_id, self.executor.prepare(slot, run_id, self._language(slot))

    @contextmanager
    def machine_held(self, interrupts: Interrupts) -> Iterator[None]:
        """The machine is ours before an attempt is entered: one that never had it leaves no line in the ledger."""
        lock = machine.exclusive(self.options.wait, self.options.on_wait)
        with interrupts.raised():
            lock.__enter__()
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def attempt(self, slot: Slot, run_id: str, start: StartRun) -> CampaignRun:
        """One run, with its two entries in the ledger."""
        observer = self.watcher.begins(slot, self.plan)
        self.writer.attempt(slot.index, run_id)
        self.state.attempts += 1
        self.copy.keep()
        run = start(observer)
        self._enter(slot, run.run_id, run.status)
        if fills_slot(run.status):
            self._remember(run)
        self.watcher.ended(slot, run)
        return run

    def close(self) -> None:
        secret = read_secret(self.folder, self.plan)
        self.writer.close(self.state.attempts, None if secret is None else secret.hex())
        forget_secret(self.folder)
        self.copy.keep()

    def _language(self, slot: Slot) -> bytes | None:
        """The secret of the language that the next attempt at a slot speaks."""
        secret = read_secret(self.folder, self.plan)
        return None if secret is None else language_secret(secret, slot, self.repeats.get(pair_of(slot), 0))

    @property
    def _runs(self) -> Path:
        return self.folder / layout.RECORD_RUNS_DIR

    def _enter(self, slot: Slot, run_id: str, status: Status) -> None:
        self.copy.keep(run_id)
        self.writer.outcome(slot.index, run_id, status, file_digests(self._runs / run_id, self.plan))
        self.state.filled += fills_slot(status)
        self.repeats[pair_of(slot)] += not fills_slot(status)
        self.copy.keep()

    def _remember(self, run: CampaignRun) -> None:
        self.known = {
            **{key: value for key, value in comparable.fingerprint(run).items() if value is not None},
            **self.known,
        }

    def _check_alike(self, here: comparable.Fingerprint) -> None:
        for key, before, now in comparable.compare(self.known, here):
            raise UserError(
                f"expected the campaign's runs to be alike, found {key} {before} before and {now} now; "
                "restore it and resume, or start another campaign"
            )

    def _check_track(self) -> None:
        path = self.folder / layout.TRACK_FILE
        content = read_plain(path, layout.MAX_RECORD_BYTES)
        if hashlib.sha256(content).hexdigest() != self.plan.track.sha256:
            raise UserError(f"expected the campaign's own track at {path}, found other bytes; restore it")


def _check_source(folder: Path, arm: ArmPlan) -> None:
    """Raises UserError unless the campaign's copy of an arm is what was planned."""
    for finding in source_findings(folder / arm.arm, arm):
        raise UserError(
            f"expected the campaign's own copy of its {arm.arm} in {folder / arm.arm}, found that {finding.sentence} "
            f"(expected {finding.expected}, found {finding.found}); restore it, or start another campaign"
        )
