"""A campaign is a plan fixed before it starts: how many runs, of what, with which seeds, in which order.

Looking at results and then deciding to run once more makes a test that is wrong once in a hundred wrong four to
six times; keeping the best ten of fifteen makes it wrong 38 times. So n, seeds and order are drawn here, once, and
written to the ledger before the first run. The two arms of a comparison alternate ABBA, and the runs of a pair
share a seed: what drifts slowly on a machine, or comes with a seed, then cancels from their difference.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..errors import UserError
from ..formats.node_check import NodeCheckLine
from ..formats.run import RunRecord, Section, Sha256, SubmissionRef, TrackRef
from ..formats.submission import Submission
from ..formats.track import Track
from ..selftimed.record import SelfTimedRecord
from ..status import ExitCode, Status
from .scripts import ArmScript, SelfTimedPlan, grammar_problem

Arm = Literal["candidate", "baseline"]
Purpose = Literal["runs", "compare", "reproduce"]
CampaignRun = RunRecord | SelfTimedRecord  # one campaign's are all of one kind

ARMS: tuple[Arm, Arm] = ("candidate", "baseline")
MAX_RUNS = 1000  # of each arm
SEED_BITS = 32
_NOT_THE_SUBMISSIONS = frozenset({ExitCode.MACHINE, ExitCode.REFEREE, ExitCode.INTERRUPTED, ExitCode.TERMINATED})


class PlannedTest(Section):
    """The significance test of the track, as it stood when the campaign was planned."""

    name: Literal["t", "z", "welch"]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    sigma: float | None = None


class ArmPlan(Section):
    arm: Arm
    submission: SubmissionRef
    record: str | None = None  # its name, if it is a record of this checkout
    script: ArmScript | None = None  # how it is started, where it times itself

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Arms that are refereed are written as they were before there were others."""
        fields: dict[str, Any] = write(self)
        if self.script is None:
            fields.pop("script", None)
        return fields

    @property
    def sha256(self) -> str:
        """The identity of the arm: of its source and, where it times itself, of how it is started."""
        if self.script is None:
            return self.submission.sha256
        text = f"{self.submission.sha256} {self.submission.entry} {self.script.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()


class Slot(Section):
    """A place for one run that counts. Slots are filled in the order of their index."""

    index: Annotated[int, Field(ge=0)]
    arm: Arm
    pair: Annotated[int, Field(ge=0)] | None = None  # with two arms: which run of the other arm it is compared with
    seed: Annotated[int, Field(ge=0, lt=2**SEED_BITS)]


class Plan(Section):
    """What a ledger's first entry holds. Nothing in it changes afterwards."""

    schema_version: Literal[1] = 1
    campaign_id: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-c[0-9a-f]{6}$")]
    purpose: Purpose
    track: TrackRef
    test: PlannedTest
    arms: Annotated[tuple[ArmPlan, ...], Field(min_length=1, max_length=2)]
    slots: Annotated[tuple[Slot, ...], Field(min_length=1, max_length=2 * MAX_RUNS)]
    world_size: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]
    sandbox: str
    relabel: bool = False
    languages_sha256: Sha256 | None = None  # of the secret that all runs' languages follow from; None: all runs read
    # the same shards
    self_timed: SelfTimedPlan | None = None  # of scripts that time themselves; None: a campaign of refereed runs
    node_check: NodeCheckLine | None = None  # the newest verdict on the machine of the plan; None: there was none
    created_at: datetime

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What older plans lack is written only where it is set: their ledgers keep their digests."""
        fields: dict[str, Any] = write(self)
        for name in ("languages_sha256", "self_timed", "node_check"):
            if fields.get(name) is None:
                fields.pop(name, None)
        return fields

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        arms = tuple(arm.arm for arm in self.arms)
        if arms != ARMS[: len(arms)]:
            raise ValueError(f"expected the arms {ARMS[: len(arms)]}, found {arms}")
        if [slot.index for slot in self.slots] != list(range(len(self.slots))):
            raise ValueError("expected slots numbered from 0 in order")
        if self.slots != draw_slots(self.seeds, len(arms)):
            raise ValueError("expected slots in the order of a campaign: one arm in a row, or two arms ABBA in pairs")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("expected another seed for every run of an arm")
        if any((arm.script is None) != (self.self_timed is None) for arm in self.arms):
            raise ValueError("expected scripts of both arms in a campaign of self-timed scripts, and in no other")
        if self.node_check is not None and self.node_check.checked_at > self.created_at:
            raise ValueError("expected a node check from before the plan")
        if self.self_timed is not None:
            self._scripts_hang_together(self.self_timed)
        return self

    def _scripts_hang_together(self, shared: SelfTimedPlan) -> None:
        if self.languages_sha256 is not None or self.relabel:
            raise ValueError("expected neither languages nor relabelling of self-timed scripts")
        if (unknown := grammar_problem(shared.grammars)) is not None:
            raise ValueError(f"expected names of grammars, found {unknown!r}")
        if any(arm.submission.entry not in arm.submission.files for arm in self.arms):
            raise ValueError("expected the script among the files of its arm")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of one arm's runs, in order; both arms have the same."""
        return tuple(slot.seed for slot in self.slots[:: len(self.arms)])

    @property
    def runs_per_arm(self) -> int:
        return len(self.seeds)

    @property
    def is_judged(self) -> bool:
        """Whether the judge scores checkpoints that scripts leave."""
        return any(arm.script is not None and arm.script.checkpoint is not None for arm in self.arms)

    def arm(self, name: Arm) -> ArmPlan | None:
        return next((arm for arm in self.arms if arm.arm == name), None)


def make_plan(
    *,
    track: Track,
    candidate: Submission,
    baseline: Submission | None = None,
    baseline_record: str | None = None,
    scripts: tuple[ArmScript, ...] = (),
    self_timed: SelfTimedPlan | None = None,
    runs: int,
    world_size: int,
    device: Literal["cpu", "cuda"],
    sandbox: str,
    created_at: datetime,
    purpose: Purpose | None = None,
    relabel: bool = False,
    candidate_record: str | None = None,
    node_check: NodeCheckLine | None = None,
) -> Plan:
    """Draw a campaign of so many runs of each arm; seeds come from the operating system. Raises UserError.

    scripts: how each arm is started, in a campaign of self-timed scripts, which `self_timed` says.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise UserError(f"expected 1 to {MAX_RUNS} runs of each arm, found {runs}")
    arms = [ArmPlan(arm="candidate", submission=SubmissionRef.of(candidate), record=candidate_record)]
    if baseline is not None:
        arms.append(ArmPlan(arm="baseline", submission=SubmissionRef.of(baseline), record=baseline_record))
    for number, script in enumerate(scripts):
        arms[number] = arms[number].model_copy(update={"script": script})
    significance = track.significance
    return Plan(
        campaign_id=f"{created_at:%Y-%m-%dT%H-%M-%SZ}-c{secrets.token_hex(3)}",
        purpose=purpose or ("compare" if baseline else "runs"),
        track=TrackRef.of(track),
        test=PlannedTest(name=significance.test, alpha=significance.alpha, sigma=significance.sigma),
        arms=tuple(arms),
        slots=draw_slots(_draw_seeds(runs), len(arms)),
        world_size=world_size,
        device=device,
        sandbox=sandbox,
        relabel=relabel,
        self_timed=self_timed,
        node_check=node_check,
        created_at=created_at,
    )


def draw_slots(seeds: tuple[int, ...], arms: int) -> tuple[Slot, ...]:
    """One arm: its seeds in a row. Two: pair 0 candidate first, pair 1 baseline first, and so on (ABBA)."""
    if arms == 1:
        return tuple(Slot(index=i, arm="candidate", seed=seed) for i, seed in enumerate(seeds))
    order = [(pair, arm) for pair in range(len(seeds)) for arm in (ARMS if pair % 2 == 0 else ARMS[::-1])]
    return tuple(Slot(index=i, arm=arm, pair=pair, seed=seeds[pair]) for i, (pair, arm) in enumerate(order))


def fills_slot(status: Status) -> bool:
    """Whether an attempt that ended so fills its slot.

    What the submission did, timeouts included, is evidence. What the machine, the referee or a signal did is
    repeated with the same seed, and stays visible.
    """
    return status.exit_code not in _NOT_THE_SUBMISSIONS


def _draw_seeds(count: int) -> tuple[int, ...]:
    seeds: dict[int, None] = {}
    while len(seeds) < count:
        seeds[secrets.randbits(SEED_BITS)] = None
    return tuple(seeds)
