"""What the commands print with `--json`, as types: schemas and documentation come from here.

A command builds its object itself, so that nothing is imported at start-up; a test holds both against each other. Every
command that fails with `--json` prints a Refusal instead.
"""

from typing import Any, Literal

from data.datasets import Dataset

from ..campaigns.campaign import Arm, PlannedTest, Purpose
from ..campaigns.evidence import Evidence
from ..formats.node_check import CpuLimits, ExpectedTime, NodeCheckLine, NodeVerdict
from ..formats.run import Finding, RunRecord, Section
from ..formats.track import Budget, Track
from ..records.reported import ReportedNumbers
from ..records.source_changes import FileChange
from ..records.verdict import WaivedFinding
from ..referee.doctor import Check
from ..selftimed.record import SelfTimedRecord


class Refusal(Section):
    """Any command that could not do what it was asked."""

    error: str
    exit_code: int


class RunOutput(RunRecord):
    """speedrun run"""

    log: str | None  # where what it printed is
    traceback: str | None  # of a run that failed: the last frames of the submission's own files


class LegacyOutput(SelfTimedRecord):
    """speedrun run --legacy"""

    log: str | None
    traceback: str | None


class DryRun(Section):
    """speedrun run --dry-run"""

    track: str
    rules_version: str
    submission: str
    sha256: str
    source_bytes: int
    seed: int | None  # None: the harness draws it
    world_size: int
    device: Literal["cpu", "cuda"]
    sandbox: str
    missing_data: list[str]
    budget: Budget
    runs_root: str
    findings: list[Finding]  # of the source; an error among them: exit code 1
    hindrances: list[Finding]  # what keeps a campaign here from becoming a record


class RunTime(Section):
    """Seconds of one run, and where the number comes from."""

    value: float
    source: str


class CampaignDryRun(Section):
    """speedrun run --runs N --dry-run, speedrun compare --dry-run"""

    track: str
    rules_version: str
    purpose: Purpose
    arms: dict[Arm, str]
    runs_per_arm: int
    order: str  # A: candidate, B: baseline
    test: PlannedTest
    world_size: int
    device: Literal["cpu", "cuda"]
    sandbox: str
    run_s: RunTime
    total_s: float
    gpu_hours: float
    runs_root: str
    node_check: NodeCheckLine | None  # the newest verdict of `speedrun doctor --race` on this machine
    findings: list[Finding]  # what keeps it from becoming a record, and of each arm's source; an error: exit code 1


class ListedTrack(Track):
    """A track, and what this machine lacks for it."""

    lacks: list[str]


ListedTracks = list[ListedTrack]  # speedrun tracks


class Examination(Section):
    """speedrun doctor"""

    checks: list[Check]
    tracks: dict[str, list[str]]  # what this machine lacks, by track
    records: dict[str, list[Finding]]  # of the tracks that run here: what keeps a campaign from becoming a record


class NodeRace(Section):
    """speedrun doctor --race --dry-run"""

    track: str
    record: str | None
    runs: int
    world_size: int
    device: Literal["cpu", "cuda"]
    sandbox: str
    record_runs: int  # of its own, that count
    expected: ExpectedTime | None  # None: they allow no interval
    unlike: dict[str, list[str]]  # what differs: in the record's runs, here
    cpu: CpuLimits
    verdict: NodeVerdict | None  # that needs no race; not null: exit code 1
    reasons: list[str]  # what is known before a race


class ListedRule(Section):
    """One rule of `speedrun rules`."""

    id: str
    of: Literal["runs", "source"]
    severity: Literal["error", "warning"]
    number: str | None  # key of track.toml
    value: Any  # what stands there
    waivable: bool
    why: str
    answers: str


class TrackRules(Section):
    """speedrun rules"""

    track: str
    rules_version: str
    rules: list[ListedRule]


class ReportOutput(Section):
    """One folder that was verified."""

    kind: Literal["record", "challenge", "bundle", "track", "tree", "reported"]
    path: str
    holds: bool
    findings: list[Finding]
    waived: list[WaivedFinding]
    signature: str | None
    signer: str | None
    principal: str | None
    tier: str | None
    predecessor: str | None
    evidence: Evidence | None
    digest: str | None  # of digests.json, where a folder of tracks was verified


class Verification(Section):
    """speedrun verify"""

    holds: bool
    reports: list[ReportOutput]


class Submitted(Section):
    """speedrun submit"""

    track: str
    name: str
    folder: str
    written: bool
    signature: str | None
    place: int | None
    saving: float | None
    placed_by: Literal["time", "ratio"] | None
    rules_version: str
    findings: list[Finding]
    waived: list[WaivedFinding]
    evidence: Evidence
    diff: list[FileChange]
    next: list[str]


class SubmittedCampaign(Section):
    """speedrun submit, of a campaign of scripts that time themselves"""

    track: str
    name: str
    folder: str
    written: bool
    signature: str | None
    tier: Literal["reported"]
    badge: Literal["campaign"]
    rules_version: str
    numbers: ReportedNumbers | None  # of its row; None: no run that counts states a time and a loss
    findings: list[Finding]
    evidence: Evidence
    next: list[str]


AnySubmitted = Submitted | SubmittedCampaign  # speedrun submit


class Challenged(Section):
    """speedrun challenge"""

    record: str
    challenge: str
    kind: Literal["reproduction", "refutation"]
    sentence: str
    signature: str
    written: bool
    tier: str
    campaigns: dict[Literal["reproductions", "refutations"], int]  # intact ones besides the record's own
    findings: list[Finding]


class DatasetState(Section):
    """One dataset of `speedrun data list`."""

    name: str
    title: str
    kind: str
    licence: str
    repository: str | None
    revision: str | None
    vocab_size: int
    train_tokens: int | None
    val_tokens: int | None
    shards: int
    shards_present: int
    bytes_present: int


class DatasetList(Section):
    """speedrun data list"""

    root: str
    datasets: list[DatasetState]


class VerifiedDataset(Section):
    """speedrun data prepare, where nothing had to be fetched"""

    dataset: str
    folder: str
    sha256: dict[str, str]  # shard -> digest


class VerifiedDatasets(Section):
    """speedrun data verify"""

    datasets: list[VerifiedDataset]


class FetchedDataset(VerifiedDataset):
    """speedrun data download"""

    revision: str | None
    fetched: list[str]
    fetched_bytes: int
    seconds: float


PreparedDataset = VerifiedDataset | FetchedDataset  # speedrun data prepare


class MadeDataset(Dataset):
    """speedrun data tokenize, speedrun data import"""

    folder: str
    seconds: float
