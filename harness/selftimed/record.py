"""A self-timed run on disk: the closed schema of `legacy.json`, tier `reported`.

What the script said of itself (`claim`) and what the referee saw (`observed`) stand side by side and are never mixed.
Nothing in it can raise a tier: there is only one.

Schema history (never edited, only added to):
    1  2026-11  first version
    2  2026-11  `owner` says on which host, in which pid namespace
                what it says behind its last step (claim.later); what it was given of the caller's environment and files
                (script.environment, script.readable)
    3  2026-11  `campaign`; `seed`, where the script takes one from its environment; names of what it was given and is
                never written down (script.secrets); data of its checkout that it was linked to (script.linked)
"""

import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from data.files import replace_file

from ..errors import RecordError, first_problem
from ..formats import layout
from ..formats.environment import Environment
from ..formats.run import (
    CampaignRef,
    Finding,
    Nanoseconds,
    Owner,
    Score,
    Section,
    Sha256,
    TrackRef,
    errors_of,
    seen_from_here,
)
from ..formats.run_folder import give_back
from ..status import ExitCode, Status
from ..system import clock, scratch
from ..system.clock import NS
from ..system.plainfile import read_plain
from .lines import MAX_LATER

MAX_LEGACY_BYTES = 8 * 2**20
MAX_POINTS = 512
MAX_ARGUMENTS = 256


class SelfTimedScript(Section):
    """What ran: one file of a checkout, and the state of that checkout."""

    entry: str  # path inside the checkout
    sha256: Sha256  # of the entry
    checkout: str  # the name of its folder
    checkout_sha256: Sha256  # over names and digests of its Python files
    arguments: Annotated[tuple[str, ...], Field(max_length=MAX_ARGUMENTS)] = ()
    launcher: Literal["python", "torchrun"]
    world_size: int
    environment: dict[str, str] = Field(default_factory=dict)  # what it was given of the caller's (--env)
    secrets: tuple[str, ...] = ()  # names of what else it was given; their values are written nowhere
    readable: tuple[str, ...] = ()  # folders outside the checkout it could read (--readable)
    linked: tuple[str, ...] = ()  # large files and links of the checkout it was linked to, inside the checkout


class ResultLine(Section):
    """One result line: what it says, and when it arrived."""

    kind: Literal["val", "train"]
    step: int | None
    loss: float | None  # nats per token, as printed
    claimed_ns: Nanoseconds | None  # training time so far by the script's own clock
    arrived_ns: Nanoseconds | None  # on the referee's clock, since the first process; None: cannot be told


class LaterClaim(Section):
    """A result the script printed behind its last step: of quantised or averaged weights, of a last evaluation."""

    label: str  # its own words
    val_loss: float | None = None
    val_bpb: float | None = None


class SelfTimedClaim(Section):
    """What the script's own lines say."""

    grammar: str
    runs: int  # in one log; the last one counts
    step: int | None
    total: int | None
    val_loss: float | None = None
    val_bpb: float | None = None
    train_loss: float | None = None
    train_time_ns: Nanoseconds | None = None
    validations: int
    training_lines: int
    later: Annotated[tuple[LaterClaim, ...], Field(max_length=MAX_LATER)] = ()


class Gpus(Section):
    """Of all GPUs of the machine, as nvidia-smi saw them about once a second."""

    samples: int
    mean_utilisation: float  # share of one GPU's time, 0 to 1
    peak_memory_mib: int  # of the fullest one


class Observed(Section):
    """What the referee saw, whatever the script says."""

    wall_ns: Nanoseconds  # first process to last, CLOCK_MONOTONIC_RAW
    peak_memory_bytes: int  # of all its processes together, at the looks taken
    cpu_ns: Nanoseconds  # CPU time of all its processes
    busy_cores: float  # cpu / wall
    gpus: Gpus | None = None


class Measured(Section):
    """A checkpoint of the script, scored by the judge over the track's whole validation split."""

    adapter: str
    checkpoint: str  # path inside the checkout
    checkpoint_sha256: Sha256
    score: Score


class SelfTimedRecord(Section):
    schema_version: Literal[1, 2, 3] = 3
    run_id: str
    status: Status
    sentence: str
    tier: Literal["reported"] = "reported"
    track: TrackRef | None
    campaign: CampaignRef | None = None
    seed: int | None = None  # None: whatever the script takes by itself
    script: SelfTimedScript
    device: Literal["cpu", "cuda"]
    sandbox: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    owner: Owner
    claim: SelfTimedClaim | None = None  # None: no line of a known kind
    observed: Observed | None = None
    measured: Measured | None = None
    points: Annotated[tuple[ResultLine, ...], Field(max_length=2 * MAX_POINTS)] = ()
    findings: tuple[Finding, ...] = ()
    log_truncated: bool = False
    environment: Environment

    @property
    def reached_target(self) -> bool | None:
        """By the measured loss only; None where nothing was measured."""
        if self.measured is None or self.track is None or self.track.target_val_loss is None:
            return None
        return self.measured.score.tested_loss <= self.track.target_val_loss

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that take its claim out of every sample."""
        return errors_of(self.findings)

    @property
    def result(self) -> tuple[float, float] | None:
        """Time (s) and validation loss (nats per token) as stated, of a script that ended well and stated both."""
        claim = self.claim
        if self.status != Status.COMPLETE or self.errors or claim is None:
            return None
        if claim.val_loss is None or not claim.train_time_ns:
            return None
        return claim.train_time_ns / NS, claim.val_loss

    @property
    def judged_loss(self) -> float | None:
        """The judge's tested loss of its checkpoint, whatever it states; None of a run that failed or broke a rule."""
        if self.status != Status.COMPLETE or self.errors or self.measured is None:
            return None
        return self.measured.score.tested_loss

    @property
    def exit_code(self) -> ExitCode:
        if self.status != Status.COMPLETE:
            return self.status.exit_code
        return ExitCode.MISSED if self.errors or self.reached_target is False else ExitCode.OK


def encode(record: SelfTimedRecord) -> bytes:
    """One line per key, as run.json has it."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.model_dump(mode="json").items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_self_timed(path: Path) -> SelfTimedRecord:
    """From a legacy.json, or a folder that holds one; `started` without its referee reads `abandoned`.

    Raises RecordError.
    """
    path = path / layout.LEGACY_FILE if path.is_dir() else path
    try:
        record = SelfTimedRecord.model_validate_json(read_plain(path, MAX_LEGACY_BYTES, RecordError))
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    if (
        record.status == Status.STARTED
        and (seen := seen_from_here(record.owner, "script", path.with_name(layout.RESERVE_FILE), record.started_at))
        is not None
    ):
        return record.model_copy(update=dict(zip(("status", "sentence"), seen, strict=True)))
    return record


def close_abandoned_scripts(parent: Path, *, alone: bool = False) -> None:
    """Write `abandoned` into self-timed runs whose referee is gone, and give back what they had reserved.

    One that cannot be judged from here (another host) is left alone, unless `alone`: the caller holds what that referee
    would have to hold.
    """
    scratch.sweep(parent, alone=alone)
    for folder in self_timed_dirs(parent):
        if not (folder / layout.RESERVE_FILE).exists():
            continue
        with suppress(RecordError, OSError):
            record = read_self_timed(folder)
            if record.status == Status.STARTED and alone and record.owner.is_gone is None:
                told = {"status": Status.ABANDONED, "sentence": "whoever conducted it is gone; nothing of it counts"}
                record = record.model_copy(update=told)
            if record.status == Status.ABANDONED:
                ended_at = max(record.started_at, clock.utc_now())  # whatever was done to the clock in between
                give_back(folder)
                replace_file(folder / layout.LEGACY_FILE, [encode(record.model_copy(update={"finished_at": ended_at}))])


def self_timed_dirs(parent: Path) -> list[Path]:
    """Self-timed runs below a folder, oldest first."""
    return sorted(path.parent for path in parent.glob(f"*/{layout.LEGACY_FILE}") if not os.path.islink(path))
