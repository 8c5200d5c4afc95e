"""What the leaderboard's commands print with `--json`, as types: schemas come from here.

As in harness/cli/json_types.py a command builds its object itself; a test holds both against each other. Every command
that fails with `--json` prints a Refusal of harness/cli/json_types.py instead.
"""

from typing import Literal

from harness.formats.run import Section
from harness.selftimed.grammars import Reading
from harness.selftimed.lines import LaterResult
from harness.selftimed.training_log import LogEnvironment, Oddity

from ..upstream.replaying import Replay, ReplayedRace

# ------------------------------------------------------------------------------------------------ speedrun plot


# ----------------------------------------------------------------------------------------------- speedrun watch


# ------------------------------------------------------------------------------------------------------- others


class RunInLog(Section):
    """One run of a training log."""

    last: Reading
    is_complete: bool
    validations: list[Reading]
    training: list[Reading]
    later: list[LaterResult]  # behind the last step


class ReadLog(Section):
    """speedrun log"""

    file: str
    bytes: int
    grammar: str | None
    grammar_is_certain: bool  # whether only that kind of trainer writes such lines
    metric: str | None
    untimed_steps: int | None
    source_sha256: str | None
    source_bytes: int
    environment: LogEnvironment
    peak_memory_mib: int | None
    runs: list[RunInLog]
    oddities: list[Oddity]
    tier: Literal["reported"]


class PlannedPython(Section):
    """An interpreter: which one the record ran with, and where one of that version is."""

    locked: str
    found: str | None


class PackageDifference(Section):
    """A package that is not here as it was there."""

    name: str
    locked: str
    here: str


class PlannedReproduction(Section):
    """speedrun reproduce --dry-run, of a record of this checkout"""

    record: str
    source_sha256: str
    track: str
    rules_version: str
    runs: int
    relabelled_runs: int
    environment: str | None
    python: PlannedPython
    packages: int
    installs: list[str]  # name==version, by the track's hashes, for the sandbox alone
    left_out: list[str]  # what the record had and the track has no hash of
    differs_here: list[PackageDifference]
    missing: list[str]


class PlannedTorch(Section):
    """The torch a log names, and the release that comes nearest."""

    wanted: str | None
    install: str | None
    cuda: str | None
    triton: str | None
    exact: bool


class PlannedReplay(Section):
    """speedrun reproduce --dry-run, of an imported record"""

    record: str
    title: str
    log: str | None
    commit: str | None  # whose tree the source is; None: it is the log's
    source: dict[str, int] | None  # file -> bytes
    source_stated: list[str]  # files, as its authors name them; empty where they do not
    python: str | None
    torch: PlannedTorch
    hardware: str | None
    packages: list[str]  # that its script needs
    installs: list[str]  # that the track knows by hash
    left_out: list[str]  # what it needs and the track has no hash of
    differences: list[str]
    missing: list[str]
    tier: Literal["reported"]
    runs: int  # of each record
    world_size: int


class PlannedRace(Section):
    """speedrun reproduce --against --dry-run: two imported records"""

    record: PlannedReplay
    against: PlannedReplay
    order: str  # A: the record, B: the other one
    tier: Literal["reported"]


AnyPlanned = PlannedReproduction | PlannedReplay | PlannedRace  # speedrun reproduce --dry-run
AnyReplayed = Replay | ReplayedRace  # speedrun reproduce, of imported records
