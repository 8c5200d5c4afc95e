"""What is asked of a run, what becomes known of it, and the record both make."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from data.datasets import Dataset

from ..formats import environment, numbers
from ..formats.load import MachineLoad
from ..formats.prepare import Prepare
from ..formats.run import (
    CampaignRef,
    Charge,
    CurvePoint,
    Phases,
    RunRecord,
    Score,
    Stamps,
    SubmissionRef,
    TextFacts,
    TrackRef,
    Weights,
    owner,
)
from ..formats.submission import Submission
from ..formats.track import Track
from ..scoring import charges, preparation
from ..scoring.findings import data_altered, findings
from ..scoring.relabelling import Relabelling
from ..status import Status
from ..system import clock
from ..system.clock import NS
from .referee import Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A run somebody asks for; every string is parsed by now."""

    submission: Submission
    track: Track
    dataset: Dataset
    data_root: Path
    runs_root: Path
    world_size: int
    device: Literal["cpu", "cuda"]
    seed: int
    seed_source: Literal["harness", "user"]
    run_id: str | None = None  # None: drawn when the run starts
    campaign: CampaignRef | None = None
    practice: bool = False
    relabel: bool = False
    keep_weights: bool = False
    require_sandbox: str | None = None
    wait: bool = False  # for another run that holds the machine
    holds_machine: bool = False  # the caller has the lock
    on_wait: Callable[[str], None] = lambda _: None  # told who holds the machine
    language: bytes | None = None  # the secret of an embedded corpus's language; None: drawn for this run
    python: Path | None = None  # interpreter of the sandbox's own environment; never started outside of it


@dataclass(slots=True)
class RunState:
    """What is known of a run so far; a failure at any point records what there is."""

    sandbox: str | None = None
    evaluator_files: Literal["copies", "shared"] | None = None
    data: dict[str, str] = field(default_factory=dict)
    language: str | None = None
    text: TextFacts | None = None
    data_at_go: Literal["hard links", "copies"] | None = None
    relabelling: Relabelling | None = None
    times: Times | None = None
    altered_shards: list[str] = field(default_factory=list)
    score_ns: int | None = None
    prepare: Prepare | None = None
    load: MachineLoad | None = None
    charges: list[Charge] = field(default_factory=list)
    weights: Weights | None = None
    score: Score | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    log_truncated: bool = False

    @property
    def train_ns(self) -> int:
        """From GO to the last seal, of a run that came so far."""
        assert self.times is not None
        train_ns = Phases.of(Stamps(**asdict(self.times)), None).train_ns
        assert train_ns is not None
        return train_ns


def first_record(request: Request, run_id: str) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        status=Status.STARTED,
        sentence="the run is in progress",
        practice=request.practice,
        relabelled=request.relabel,
        track=TrackRef.of(request.track),
        submission=SubmissionRef.of(request.submission),
        seed=request.seed,
        seed_source=request.seed_source,
        campaign=request.campaign,
        world_size=request.world_size,
        device=request.device,
        sandbox=None,
        started_at=clock.utc_now(),
        owner=owner(),
        environment=environment.collect(request.python),
    )


def with_times(record: RunRecord, state: RunState) -> RunRecord:
    """A run in progress after STOP: what the clock says is settled, whatever SCORE will say."""
    stamps = None if state.times is None else Stamps(**asdict(state.times))
    return record.model_copy(update={"stamps": stamps, "phases": Phases.of(stamps, None)})


def closed(record: RunRecord, state: RunState, status: Status, sentence: str, track: Track) -> RunRecord:
    stamps = None if state.times is None else Stamps(**asdict(state.times))
    return record.model_copy(
        update={
            "status": status,
            "sentence": sentence,
            "sandbox": state.sandbox,
            "evaluator_files": state.evaluator_files,
            "finished_at": clock.utc_now(),
            "stamps": stamps,
            "phases": Phases.of(stamps, state.score_ns),
            "prepare": state.prepare,
            "charges": tuple(state.charges),
            "load": state.load,
            "data": state.data,
            "language": state.language,
            "text": state.text,
            "data_at_go": state.data_at_go,
            "relabelling_sha256": None if state.relabelling is None else state.relabelling.sha256,
            "weights": state.weights,
            "score": state.score,
            "curve": tuple(state.curve),
            "findings": (
                *(findings(state.score, track.evaluation) if state.score else ()),
                *preparation.findings(state.prepare, track.rules, record.world_size),
                *([data_altered(state.altered_shards)] if state.altered_shards else ()),
            ),
            "log_truncated": state.log_truncated,
        }
    )


def outcome(state: RunState, target: float | None) -> str:
    """What a complete run came to, in one sentence."""
    assert state.score is not None
    time_ns = state.train_ns + sum(charge.charged_ns for charge in state.charges)
    loss, leak = state.score.tested_loss, state.score.leak_nats
    labels = "" if state.relabelling is None else "under other labels, "
    charged = f" and {numbers.nats(leak, 4)} charged for what looks like a leak" if leak else ""
    sentence = f"{labels}val_loss {numbers.loss(state.score.val_loss)}{charged} after "
    sentence += f"{numbers.fixed_seconds(time_ns / NS)} of training"
    if target is not None:
        sentence += f": {'reached' if loss <= target else 'missed'} the target {target:g}"
    prepared = preparation.told(state.charges, state.prepare)
    return "; ".join([sentence, *prepared, *charges.told(state.charges, state.score)])
