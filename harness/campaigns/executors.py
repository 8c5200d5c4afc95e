"""Executors: how the next run of a campaign is run, refereed or self-timed; the runner knows of no difference."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data import datasets

from ..errors import UserError
from ..formats import layout
from ..formats.environment import gpus
from ..formats.observer import Observer
from ..formats.run import CampaignRef, read_run
from ..formats.run_folder import close_abandoned
from ..formats.submission import Submission
from ..formats.track import Track
from ..referee import machine, spoken
from ..referee.execution import execute
from ..referee.run_state import Request
from ..selftimed.checkpoints import find_adapter
from ..selftimed.execution import execute_self_timed
from ..selftimed.grammars import BY_NAME
from ..selftimed.record import close_abandoned_scripts, read_self_timed
from ..selftimed.run_state import SelfTimedRequest
from ..selftimed.surroundings import parse_environment
from . import comparable
from .campaign import ArmPlan, CampaignRun, Plan, Slot
from .scripts import SelfTimedPlan, check_linked, kept_checkout

StartRun = Callable[[Observer], CampaignRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What does not change a result."""

    data_root: Path
    keep_weights: bool = False
    wait: bool = True  # for another run that holds the machine
    on_wait: Callable[[str], None] = lambda _: None  # told who holds the machine
    on_notice: Callable[[str], None] = lambda _: None  # told what a person should know
    copy_to: Path | None = None  # a folder on another disk, where a second copy is kept
    python: Path | None = None  # of the sandbox's own environment, which the referee and the judge do not share


class Executor(Protocol):
    """Who runs the runs of one campaign."""

    def check(self) -> comparable.Fingerprint:
        """What the next run will read, as far as runs have to be alike in it.

        Raises UserError or DataError where machine or data do not allow it.
        """

    def prepare(self, slot: Slot, run_id: str, language: bytes | None) -> StartRun:
        """The next run, ready to be started under this name."""

    def close_abandoned(self) -> None:
        """Close what a conductor that is gone has left open; the caller holds the campaign."""


def executor_of(folder: Path, plan: Plan, track: Track, options: Options) -> Executor:
    """The executor of a campaign."""
    if plan.self_timed is None:
        return RefereedRuns(folder, plan, track, options)
    return SelfTimedRuns(folder, plan, plan.self_timed, track, options)


def read_attempt(folder: Path, plan: Plan, run_id: str) -> CampaignRun | None:
    """A run that a campaign has started; None: killed before its first record. Raises RecordError."""
    place = folder / layout.RECORD_RUNS_DIR / run_id
    if plan.self_timed is not None:
        return read_self_timed(place) if (place / layout.LEGACY_FILE).exists() else None
    return read_run(place) if (place / layout.RUN_FILE).exists() else None


class RefereedRuns:
    """Runs of submissions under the referee."""

    def __init__(self, folder: Path, plan: Plan, track: Track, options: Options) -> None:
        self._folder, self._plan, self._track, self._options = folder, plan, track, options
        self._dataset = datasets.load_dataset(track.data.dataset)

    def check(self) -> comparable.Fingerprint:
        if machine.pick_device(self._track) != self._plan.device:
            raise UserError(f"expected a machine with {self._plan.device}, as the campaign began, found none")
        machine.pick_world_size(self._track, self._plan.world_size, self._plan.device)
        if self._dataset.kind == "embedded":
            return comparable.text_fingerprint(self._dataset.name, spoken.planned_facts(self._dataset, self._track))
        data = datasets.verify(self._dataset, self._options.data_root, self._track.data.train_shards)
        return comparable.data_fingerprint(data)

    def prepare(self, slot: Slot, run_id: str, language: bytes | None) -> StartRun:
        request = self._request(slot, run_id, language)
        return lambda observer: execute(request, observer)[0]

    def close_abandoned(self) -> None:
        close_abandoned(self._folder / layout.RECORD_RUNS_DIR, alone=True)

    def _request(self, slot: Slot, run_id: str, language: bytes | None) -> Request:
        plan, ref = self._plan, _arm(self._plan, slot).submission
        source = Submission(
            entry=ref.entry, root=self._folder / slot.arm, files=ref.files, bytes=ref.bytes, sha256=ref.sha256
        )
        return Request(
            submission=source,
            track=self._track,
            dataset=self._dataset,
            data_root=self._options.data_root,
            runs_root=self._folder / layout.RECORD_RUNS_DIR,
            world_size=plan.world_size,
            device=plan.device,
            seed=slot.seed,
            seed_source="harness",
            run_id=run_id,
            campaign=CampaignRef(id=plan.campaign_id, slot=slot.index, arm=slot.arm),
            keep_weights=self._options.keep_weights,
            require_sandbox=plan.sandbox,
            holds_machine=True,
            python=self._options.python,
            relabel=plan.relabel,
            language=language,
        )


class SelfTimedRuns:
    """Runs of scripts that time themselves, each in a working copy of the campaign's own copy of its checkout."""

    def __init__(self, folder: Path, plan: Plan, shared: SelfTimedPlan, track: Track, options: Options) -> None:
        self._folder, self._plan, self._shared, self._track, self._options = folder, plan, shared, track, options

    def check(self) -> comparable.Fingerprint:
        """The data that checkouts link to is held to the plan; what a script reads besides is its own."""
        if self._plan.device == "cuda" and not gpus():
            raise UserError("expected a machine with cuda, as the campaign began, found no GPU with nvidia-smi")
        check_linked(arm.script for arm in self._plan.arms if arm.script is not None)
        for arm in self._plan.arms:
            _secrets(arm)
        if self._plan.is_judged:  # a checkpoint that cannot be judged would be found out after the run
            dataset = datasets.load_dataset(self._track.data.dataset)
            datasets.verify(dataset, self._options.data_root, self._track.data.train_shards)
        return {}

    def prepare(self, slot: Slot, run_id: str, language: bytes | None) -> StartRun:
        plan, arm = self._plan, _arm(self._plan, slot)
        assert arm.script is not None
        environment = {**arm.script.environment, **seed_setting(self._shared, slot)}
        checkout, judged = kept_checkout(arm.script, arm.submission, self._folder / slot.arm), arm.script.checkpoint
        request = SelfTimedRequest(
            checkout=checkout,
            arguments=arm.script.arguments,
            launcher=arm.script.launcher,
            world_size=plan.world_size,
            device=plan.device,
            track=self._track,
            data_root=self._options.data_root,
            runs_root=self._folder / layout.RECORD_RUNS_DIR,
            grammars=tuple(BY_NAME[name] for name in self._shared.grammars),
            budget_s=self._shared.budget_s,
            checkpoint=None if judged is None else judged.path,
            adapter=None if judged is None else find_adapter(judged.adapter, checkout),
            keep_checkpoint=self._options.keep_weights,
            environment=tuple(environment.items()),
            secrets=_secrets(arm),
            seed=None if self._shared.seed_variable is None else slot.seed,
            readable=tuple(map(Path, arm.script.readable)),
            python=self._options.python,
            require_sandbox=plan.sandbox,
            run_id=run_id,
            campaign=CampaignRef(id=plan.campaign_id, slot=slot.index, arm=slot.arm),
            holds_machine=True,
        )
        return lambda observer: execute_self_timed(request, observer)[0]

    def close_abandoned(self) -> None:
        close_abandoned_scripts(self._folder / layout.RECORD_RUNS_DIR, alone=True)


def seed_setting(shared: SelfTimedPlan, slot: Slot) -> dict[str, str]:
    """What a run's environment says of its seed."""
    return {} if shared.seed_variable is None else {shared.seed_variable: str(slot.seed)}


def _secrets(arm: ArmPlan) -> tuple[tuple[str, str], ...]:
    """Taken from who conducts the campaign now. Raises UserError where they are not set."""
    assert arm.script is not None
    names = arm.script.secrets
    try:
        return parse_environment((), (*names, *names)).secrets
    except UserError as error:
        raise UserError(f"{error} (the campaign's {arm.arm} is given {', '.join(names)})") from error


def _arm(plan: Plan, slot: Slot) -> ArmPlan:
    arm = plan.arm(slot.arm)
    assert arm is not None
    return arm
