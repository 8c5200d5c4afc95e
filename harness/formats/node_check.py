"""A node check on disk: what `speedrun doctor --race` found of a machine, and the line of it that campaigns keep."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from data.files import replace_file

from ..errors import RecordError, first_problem
from ..status import Status
from ..system.plainfile import read_plain
from . import layout
from .run import Owner, Sha256, full_disk_is_a_failure
from .section import Nanoseconds, Section

MAX_BYTES = 2**20
NodeVerdict = Literal["fit", "slow", "undecided"]
PhaseName = Literal["begin", "middle", "end"]
Amount = Annotated[float, Field(ge=0)]


class StepTimes(Section):
    """Milliseconds per step in one third of a run's steps, or of several runs', as the submission reports its steps."""

    phase: PhaseName
    intervals: Annotated[int, Field(ge=1)]  # between two reports
    median_ms: Amount
    low_ms: Amount  # first quartile
    high_ms: Amount  # third quartile


class ExpectedTime(Section):
    """Where two more runs are expected, from a record's own."""

    runs: Annotated[int, Field(ge=2)]  # n
    mean_s: Amount  # geometric
    low_s: Amount
    high_s: Amount
    confidence: Annotated[float, Field(gt=0, lt=1)]
    further: Annotated[int, Field(ge=1)]  # so many runs all lie in it with this confidence


class CheckedRun(Section):
    """One run of the race."""

    run_id: str
    status: Status
    time_s: Amount | None  # None: it does not count
    at_least_s: Amount | None = None  # where it does not: what it took before it was ended; its time is that or more
    steps: tuple[StepTimes, ...] = ()
    available: Annotated[float, Field(ge=0, le=1)] | None = None  # share of its cores that it could have had
    gpu_sm_mhz: Amount | None = None


class CpuLimits(Section):
    """What holds the CPU back. None: nothing, or nothing that can be seen."""

    needed_cores: Annotated[int, Field(ge=1)]  # that a run uses
    quota_cores: Amount | None = None  # the tightest quota of the control groups
    quota_file: str | None = None
    throttled_periods: Annotated[int, Field(ge=0)] | None = None  # during the race
    throttled_ns: Nanoseconds | None = None
    others_share: Annotated[float, Field(ge=0, le=1)] | None = None  # of the cores, that other processes had meanwhile
    governor: str | None = None
    clock_limit_mhz: Amount | None = None
    clock_most_mhz: Amount | None = None


class NodeCheck(Section):
    """node_check.json"""

    schema_version: Literal[1] = 1
    verdict: NodeVerdict
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]  # the first one decides
    checked_at: datetime
    owner: Owner
    device: Literal["cpu", "cuda"]
    world_size: Annotated[int, Field(ge=1)]
    machine: dict[str, str]  # what had to be alike, as text
    gpu_uuids: tuple[str, ...] = ()
    track: str
    record: str | None  # None: a source that is no record
    submission_sha256: Sha256
    campaign_id: str | None  # None: decided before a run was started
    expected: ExpectedTime | None = None
    expected_steps: tuple[StepTimes, ...] = ()
    runs: tuple[CheckedRun, ...] = ()
    cpu: CpuLimits

    @property
    def kept(self) -> "NodeCheckLine":
        """What a campaign keeps of it."""
        return NodeCheckLine(
            verdict=self.verdict, reason=self.reasons[0], checked_at=self.checked_at, track=self.track,
            record=self.record, host=self.owner.host,
        )  # fmt: skip


class NodeCheckLine(Section):
    """The newest verdict on the machine where a campaign was planned."""

    verdict: NodeVerdict
    reason: str
    checked_at: datetime
    track: str
    record: str | None
    host: str | None


def write_node_check(check: NodeCheck, parent: Path) -> Path:
    """Into a folder of runs, atomically. Raises RunFailure on a full disk, OSError where it cannot be written."""
    path = parent / layout.NODE_CHECK_FILE
    with full_disk_is_a_failure():
        parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [(check.model_dump_json(indent=1) + "\n").encode()])
    return path


def read_node_check(parent: Path) -> NodeCheck | None:
    """The one in a folder of runs; None where there is none. Raises RecordError where it is none."""
    path = parent / layout.NODE_CHECK_FILE
    if not path.exists():
        return None
    try:
        return NodeCheck.model_validate_json(read_plain(path, MAX_BYTES, RecordError))
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}; remove it, or make another by doctor --race") from error
