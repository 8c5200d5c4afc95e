"""What is asked of a self-timed run, what becomes known of it, and the record both make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..formats import environment, numbers
from ..formats.run import CampaignRef, Finding, TrackRef, owner
from ..formats.track import Track
from ..status import Status
from ..system import clock
from ..system.clock import NS
from .grammars import Grammar
from .observed_log import ObservedLog
from .record import Measured, Observed, SelfTimedClaim, SelfTimedRecord, SelfTimedScript
from .workcopy import ScriptCheckout


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTimedRequest:
    """A self-timed run somebody asks for; every string is parsed by now."""

    checkout: ScriptCheckout
    arguments: tuple[str, ...]
    launcher: Literal["python", "torchrun"]
    world_size: int
    device: Literal["cpu", "cuda"]
    track: Track | None
    data_root: Path
    runs_root: Path
    grammars: tuple[Grammar, ...]
    budget_s: float
    checkpoint: str | None = None  # to be scored: its path inside the checkout
    adapter: str | None = None
    keep_checkpoint: bool = False
    environment: tuple[tuple[str, str], ...] = ()  # of the caller's, what it is given
    secrets: tuple[tuple[str, str], ...] = ()  # the same, of which only the names are written down
    seed: int | None = None  # what `environment` gives it; None: it takes its own
    run_id: str | None = None  # None: drawn when the run starts
    campaign: CampaignRef | None = None
    holds_machine: bool = False  # the caller has the lock
    readable: tuple[Path, ...] = ()  # data outside the checkout
    python: Path | None = None  # another interpreter than this one, in a virtual environment of its own
    require_sandbox: str | None = None
    wait: bool = False  # for another run that holds the machine
    on_wait: Callable[[str], None] = lambda _: None  # told who holds it


@dataclass(slots=True)
class SelfTimedState:
    """What is known so far; a failure at any point records what there is."""

    sandbox: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    observed_log: ObservedLog = field(default_factory=lambda: ObservedLog(None, (), ()))
    observed: Observed | None = None
    measured: Measured | None = None
    broken_rules: tuple[Finding, ...] = ()  # of the model that was measured
    log_truncated: bool = False
    surroundings: tuple[Finding, ...] = ()  # what it reads of the caller's environment and outside the checkout


def first_record(request: SelfTimedRequest, run_id: str) -> SelfTimedRecord:
    checkout = request.checkout
    return SelfTimedRecord(
        run_id=run_id,
        status=Status.STARTED,
        sentence="the script is running",
        track=None if request.track is None else TrackRef.of(request.track),
        campaign=request.campaign,
        seed=request.seed,
        script=SelfTimedScript(
            entry=checkout.entry.as_posix(),
            sha256=checkout.entry_sha256,
            checkout=checkout.name,
            checkout_sha256=checkout.sha256,
            arguments=request.arguments,
            launcher=request.launcher,
            world_size=request.world_size,
            environment=dict(request.environment),
            secrets=tuple(name for name, _ in request.secrets),
            readable=tuple(map(str, request.readable)),
            linked=tuple(name for name, _ in checkout.linked),
        ),
        device=request.device,
        started_at=clock.utc_now(),
        owner=owner(),
        environment=environment.collect(request.python),
    )


def closed(record: SelfTimedRecord, state: SelfTimedState, status: Status, sentence: str) -> SelfTimedRecord:
    return record.model_copy(
        update={
            "status": status,
            "sentence": sentence,
            "sandbox": state.sandbox,
            "finished_at": clock.utc_now(),
            "claim": state.observed_log.claim,
            "observed": state.observed,
            "measured": state.measured,
            "points": state.observed_log.points,
            "findings": (*state.broken_rules, *state.surroundings, *state.observed_log.findings),
            "log_truncated": state.log_truncated,
        }
    )


def outcome(request: SelfTimedRequest, state: SelfTimedState) -> str:
    """What a script that ended well came to, in one sentence."""
    claim, seen = state.observed_log.claim, state.observed
    assert seen is not None
    wall = f"in {numbers.fixed_seconds(seen.wall_ns / NS, 1)} on the referee's clock"
    if state.measured is not None:
        loss, target = state.measured.score.val_loss, request.track.target_val_loss if request.track else None
        tested = state.measured.score.tested_loss
        verdict = "" if target is None else f": {'reached' if tested <= target else 'missed'} the target {target:g}"
        return f"measured val_loss {numbers.loss(loss)} {wall}{verdict}"
    if claim is None:
        return f"ended {wall}; it printed no line of a known kind"
    if state.observed_log.diverged:
        return f"diverged: its last loss is no finite number, at step {claim.step} {wall}"
    said = [(name, getattr(claim, name)) for name in ("val_loss", "val_bpb", "train_loss")]
    name, value = next(((name, value) for name, value in said if value is not None), ("loss", float("nan")))
    then = f", and then {later_sentence(claim)}" if claim.later else ""
    return f"reported {name} {numbers.loss(value)} at step {claim.step} {wall}{then}"


def later_sentence(claim: SelfTimedClaim) -> str:
    """The last result behind the last step, in the script's words."""
    later = claim.later[-1]
    known = (("val_loss", later.val_loss), ("val_bpb", later.val_bpb))
    values = [f"{name} {numbers.loss(value)}" for name, value in known if value is not None]
    return f"{later.label}: {', '.join(values) or 'no finite number'}" if later.label else ", ".join(values)
