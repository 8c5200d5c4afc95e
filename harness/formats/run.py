"""A run on disk: the closed schema of `run.json`, and reading it.

Schema history (never edited, only added to):
    1  2026-11  first version
    2  2026-11  `campaign`; windows may be summed in groups (`windows_per_sum`); one line per key
    3  2026-11  `charges`: time added for work outside the clock; `answers` of a score; `prepare`;
                `load`: what else the machine did meanwhile, and the clock of its GPUs
                `language` and `text`: on the embedded corpus every run speaks a language of its own
                `owner` says on which host, in which pid namespace; status `machine_failed`
"""

import errno
import itertools
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from data.files import is_locked

from ..errors import RecordError, RunFailure, first_problem
from ..status import ExitCode, Status
from ..system import clock, processes, whereabouts
from ..system.clock import NS
from ..system.plainfile import read_plain
from . import layout
from .environment import Environment
from .load import MachineLoad
from .prepare import Prepare
from .score import Probes as Probes
from .score import Repeats as Repeats
from .score import Score as Score
from .score import Shadow as Shadow
from .score import Windows as Windows
from .section import Nanoseconds as Nanoseconds
from .section import Section as Section
from .submission import Submission
from .track import Track

MAX_RUN_BYTES = 64 * 2**20  # of a run.json that somebody hands us
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrackRef(Section):
    name: str
    rules_version: str
    sha256: Sha256
    dataset: str
    target_val_loss: float | None

    @classmethod
    def of(cls, track: Track) -> "TrackRef":
        return cls(
            name=track.name,
            rules_version=track.rules_version,
            sha256=track.sha256,
            dataset=track.data.dataset,
            target_val_loss=track.target_val_loss,
        )


class SubmissionRef(Section):
    entry: str
    sha256: Sha256
    bytes: int
    files: dict[str, Sha256]

    @classmethod
    def of(cls, submission: Submission) -> "SubmissionRef":
        return cls(entry=submission.entry, sha256=submission.sha256, bytes=submission.bytes, files=submission.files)


class CampaignRef(Section):
    """The place of a run in a campaign."""

    id: str
    slot: int
    arm: Literal["candidate", "baseline"]


class Stamps(Section):
    """CLOCK_MONOTONIC_RAW of the referee; the phases are their differences. None: not reached."""

    start_ns: Nanoseconds  # the first process is started
    go_ns: Nanoseconds | None
    stop_ns: Nanoseconds | None  # the last seal
    dead_ns: Nanoseconds | None  # the submission's last process is gone


class Phases(Section):
    """Measured by the referee's clock. prepare: first process to GO; train: GO to the last seal."""

    prepare_ns: Nanoseconds | None = None
    train_ns: Nanoseconds | None = None
    teardown_ns: Nanoseconds | None = None  # STOP until the last process of the submission was gone
    score_ns: Nanoseconds | None = None

    @classmethod
    def of(cls, stamps: Stamps | None, score_ns: int | None) -> Self:
        """The phases as the stamps give them; score_ns is measured on its own."""
        if stamps is None:
            return cls(score_ns=score_ns)
        times = (stamps.start_ns, stamps.go_ns, stamps.stop_ns, stamps.dead_ns)
        prepare, train, teardown = (
            None if a is None or b is None or b < a else b - a for a, b in itertools.pairwise(times)
        )
        return cls(prepare_ns=prepare, train_ns=train, teardown_ns=teardown, score_ns=score_ns)


class Charge(Section):
    """Time added to what the clock measured, for work that was done outside it."""

    kind: Literal["first_answer", "later_answers", "prepare"]
    measured_ns: Nanoseconds
    free_ns: Nanoseconds  # so much of it costs nothing: the track's slack or allowance
    charged_ns: Nanoseconds

    @classmethod
    def of(cls, kind: Literal["first_answer", "later_answers", "prepare"], measured_ns: int, free_ns: int) -> Self:
        """What was measured beyond what is free; nothing a submission does elsewhere is subtracted."""
        charged_ns = max(0, measured_ns - free_ns)
        return cls(kind=kind, measured_ns=measured_ns, free_ns=free_ns, charged_ns=charged_ns)


class TextFacts(Section):
    """The text of a run in a language of its own. Runs are alike in recipe and sizes; digests differ with languages."""

    recipe: Annotated[int, Field(ge=1)]  # the version of the generator
    train_tokens: Annotated[int, Field(ge=1)]
    val_tokens: Annotated[int, Field(ge=1)]
    entropy: float | None = None  # of the validation text, nats per token: no model's loss is expected to be lower


class Weights(Section):
    sha256: Sha256
    bytes: int
    tensors: int


class CurvePoint(Section):
    """Practice: the validation loss of one snapshot, over the first tokens of the validation shard."""

    step: int
    elapsed_ns: Nanoseconds
    val_loss: float
    count: int


class Finding(Section):
    """One broken rule."""

    id: str
    severity: Literal["error", "warning"]
    sentence: str
    expected: str
    found: str

    @classmethod
    def error(cls, id: str, sentence: str, expected: str, found: str) -> Self:
        """A finding that makes a run, a bundle or a record invalid."""
        return cls(id=id, severity="error", sentence=sentence, expected=expected, found=found)

    @classmethod
    def warning(cls, id: str, sentence: str, expected: str, found: str) -> Self:
        """A finding for people to look at."""
        return cls(id=id, severity="warning", sentence=sentence, expected=expected, found=found)


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that make what they are about invalid."""
    return tuple(finding for finding in findings if finding.severity == "error")


class Owner(Section):
    """The referee's process, so that a reader can tell a run in progress from an abandoned one."""

    pid: int
    start_ticks: int
    boot_id: str
    host: str | None = None
    machine_id: str | None = None  # a digest; None where the machine has no number
    pid_namespace: int | None = None

    @property
    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that cannot be judged from here: a pid of elsewhere."""
        if self.boot_id == whereabouts.boot_id():
            if self.pid_namespace not in (None, whereabouts.pid_namespace()):
                return None
            return not processes.is_alive(self.pid, self.start_ticks)
        if self.host is None:  # before schema 3
            return True
        ours = (whereabouts.host(), whereabouts.machine_id())
        rebooted = self.machine_id is not None and (self.host, self.machine_id) == ours
        return True if rebooted else None


class RunRecord(Section):
    schema_version: Literal[1, 2, 3] = 3
    run_id: str
    status: Status
    sentence: str  # what became of it, for a person
    tier: Literal["refereed"] = "refereed"
    practice: bool
    track: TrackRef
    submission: SubmissionRef
    seed: int
    seed_source: Literal["harness", "user"]
    campaign: CampaignRef | None = None
    world_size: int
    device: Literal["cpu", "cuda"]
    sandbox: str | None
    evaluator_files: Literal["copies", "shared"] | None = None  # whether evaluators saw the same files; None: older
    started_at: datetime
    finished_at: datetime | None = None
    owner: Owner
    stamps: Stamps | None = None
    phases: Phases = Phases()
    prepare: Prepare | None = None  # what was done before GO; None: a run that did not come so far, or of older rules
    charges: tuple[Charge, ...] = ()  # added to phases.train_ns
    load: MachineLoad | None = None  # GO to STOP
    data: dict[str, Sha256] = Field(default={})  # shard -> digest, as verified or made before the run
    language: Sha256 | None = None  # the secret of its language, 64 hexadecimal digits; there when the run is over
    text: TextFacts | None = None  # what was made in that language
    data_at_go: Literal["hard links", "copies"] | None = None
    relabelled: bool = False  # under a secret permutation of the vocabulary: evidence, never a place on a board
    relabelling_sha256: Sha256 | None = None  # of that permutation
    weights: Weights | None = None
    score: Score | None = None
    curve: tuple[CurvePoint, ...] = ()
    findings: tuple[Finding, ...] = ()
    log_truncated: bool = False
    environment: Environment

    @property
    def time_ns(self) -> int | None:
        """The run's time: from GO to the last seal, and what was charged for work outside; None without a STOP."""
        if self.phases.train_ns is None:
            return None
        return self.phases.train_ns + sum(charge.charged_ns for charge in self.charges)

    @property
    def reached_target(self) -> bool | None:
        """Whether the tested loss is at or below the target; None without a score or a target."""
        if self.score is None or self.track.target_val_loss is None:
            return None
        return self.score.tested_loss <= self.track.target_val_loss

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make the run invalid."""
        return errors_of(self.findings)

    @property
    def is_valid(self) -> bool:
        """May count on a board: complete, neither practice nor relabelled, and without an error-level finding."""
        return self.counts and not self.relabelled

    @property
    def counts(self) -> bool:
        """Whether it counts in its campaign, where either all runs are relabelled or none."""
        return self.status == Status.COMPLETE and not (self.practice or self.errors)

    @property
    def result(self) -> tuple[float, float] | None:
        """Time (s) and tested loss (nats per token) of a run that counts and was measured; None of any other."""
        if not self.counts or self.score is None or not self.time_ns:
            return None
        return self.time_ns / NS, self.score.tested_loss

    @property
    def exit_code(self) -> ExitCode:
        if self.status != Status.COMPLETE:
            return self.status.exit_code
        missed = self.reached_target is False and not self.practice
        return ExitCode.MISSED if self.errors or missed else ExitCode.OK


def new_run_id(started_at: datetime) -> str:
    return f"{started_at:%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(3)}"


@contextmanager
def full_disk_is_a_failure() -> Iterator[None]:
    """Turn "no space left" into the status that names it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = error.filename or "the runs folder"
            raise RunFailure(Status.DISK_FULL, f"the disk is full at {where}; free some space and run again") from error
        raise


def encode_run(record: RunRecord) -> bytes:
    """One line per key: short, and a difference between two runs still reads well."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.model_dump(mode="json").items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def owner() -> Owner:
    process = processes.this_process()
    return Owner(
        pid=process.pid,
        start_ticks=process.start_ticks,
        boot_id=process.boot_id,
        host=whereabouts.host(),
        machine_id=whereabouts.machine_id(),
        pid_namespace=whereabouts.pid_namespace(),
    )


def same_machine(a: Owner, b: Owner) -> bool:
    """Whether two processes ran on one machine: in one boot, or under its name and number, or where nobody can tell."""
    if a.host is None or b.host is None:  # before schema 3
        return True
    return a.boot_id == b.boot_id or (a.host, a.machine_id) == (b.host, b.machine_id)


def is_gone(owner: Owner, life: Path, started_at: datetime) -> bool | None:
    """Whether the owner of what says it is in progress has ended; None where nobody can tell from here.

    Its pid says so in its own pid namespace; in every other container of this boot, whether it still holds the lock of
    `life`, a file that it locks as long as it lives. A name and a machine's number may be copies, as of one image: what
    began after this boot was begun by another machine, and not by this one before it was restarted.
    """
    gone = owner.is_gone
    if gone and owner.host is not None and owner.boot_id != whereabouts.boot_id() and started_at > clock.booted_at():
        return None
    if gone is None and owner.boot_id == whereabouts.boot_id() and (locked := is_locked(life)) is not None:
        return not locked
    return gone


def seen_from_here(owner: Owner, what: str, life: Path, started_at: datetime) -> tuple[Status, str] | None:
    """Status and sentence of `what` (a run, a script) that says it is in progress; None: it is, and lives beside us."""
    where = f"the {what} was started on {owner.host}, process {owner.pid}"
    match is_gone(owner, life, started_at):
        case True:
            return Status.ABANDONED, f"the referee was killed before the {what} was over; nothing of it counts"
        case None:
            return Status.STARTED, f"{where}; only there can be told whether it is in progress"
    return None if owner.is_gone is False else (Status.STARTED, f"{where} of another container, and is in progress")


def read_run(folder: Path) -> RunRecord:
    """A run from its folder; `started` reads `abandoned` where its referee is seen to be gone. Raises RecordError."""
    path = folder / layout.RUN_FILE
    try:
        record = RunRecord.model_validate_json(read_plain(path, MAX_RUN_BYTES, RecordError))
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    if (
        record.status == Status.STARTED
        and (seen := seen_from_here(record.owner, "run", folder / layout.RESERVE_FILE, record.started_at)) is not None
    ):
        return record.model_copy(update=dict(zip(("status", "sentence"), seen, strict=True)))
    return record


def read_runs(parent: Path) -> tuple[list[RunRecord], list[str]]:
    """Every readable run below a folder, oldest first, and a sentence for each that is not."""
    return _read_all(layout.run_dirs(parent))


def read_local_runs(parent: Path) -> tuple[list[RunRecord], list[str]]:
    """The same of a folder of local runs, those of its campaigns among them."""
    return _read_all(layout.local_run_dirs(parent))


def _read_all(folders: list[Path]) -> tuple[list[RunRecord], list[str]]:
    runs, broken = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except RecordError as error:
            broken.append(str(error))
    return runs, broken
