"""Imported history: another competition's records and the numbers of their logs.

A closed schema, one file per track. Every number in it was read from a log or a table of the checkout it names, or, for
rows that are newer than the checkout, stands in newer_rows.toml with its source; titles, techniques and notes are ours.
Whatever it says is of tier `reported`: the scripts timed and validated themselves.

Schema history (never edited, only added to):
1: the first.
2: of records the day of the merge, the baseline's runs and what their own README states; of scripts files, lines and
   bytes; commits of folders that lie elsewhere; the files that could not be had.
3: of records what the runs in the file show beside the claim.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from data.files import replace_file
from harness.errors import RecordError, first_problem
from harness.formats import layout
from harness.system.plainfile import read_plain

MAX_HISTORY_BYTES = 16 * 2**20
SCHEMA_VERSION = 3
_SINCE = {2: ("merged", "baseline", "stated"), 3: ("shown",)}  # of a record


Day = date  # a field is called so
Metric = Literal["val_loss", "val_ema_loss"]


class HistorySection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(HistorySection):
    """Where it was read from."""

    repository: str
    commit: str  # empty: a plain folder without history


class Machine(NamedTuple):
    """What a log says about its machine; empty text and None where it does not say."""

    gpu: str
    gpu_count: int | None
    torch: str
    cuda: str
    python: str
    triton: str
    driver: str


class EmbeddedScript(NamedTuple):
    """An embedded script: its digest, and whether that text ever was the repository's training script."""

    sha256: str  # the first 16 digits, of the text without trailing space; empty: the log embeds none
    committed: bool | None  # None: unknown
    files: int = 0  # 0: not known
    lines: int = 0  # that are not empty
    size_bytes: int = 0


class ImportedRun(NamedTuple):
    """One run of one log, at its last validation."""

    folder: int  # index into folders
    file: str
    position: int  # which run of the file, from 0
    val_loss: float | None
    train_time_ms: int | None  # by the script's own clock
    step: int
    total: int | None  # steps announced
    validations: int
    machine: int  # index into machines
    script: int  # index into scripts
    copy_of: int | None  # index of the run with the same validations, read before

    @property
    def is_complete(self) -> bool:
        return self.total is None or self.step == self.total


class Claim(HistorySection):
    """What the table says."""

    train_time_s: float | None = None
    steps: int | None = None
    val_loss: float | None = None  # a mean
    runs: int | None = None


class Link(NamedTuple):
    """What the table points at."""

    path: str
    exists: bool
    runs: tuple[int, ...]  # of the linked log, also where it was found under another path


class Quoted(NamedTuple):
    """A list of losses in the record's own README."""

    runs: int
    mean_val_loss: float


class Stated(HistorySection):
    """What a README or its statistics say of their own runs; None where they do not."""

    time_s: float | None = None  # means
    time_sd_s: float | None = None
    steps: int | None = None
    val_loss: float | None = None
    val_loss_sd: float | None = None
    runs: int | None = None
    p_value: float | None = None
    baseline_time_s: float | None = None
    baseline_val_loss: float | None = None
    baseline_runs: int | None = None
    files: tuple[str, ...] = ()  # of its source


class Lost(NamedTuple):
    """A file that the checkout lists and could not give."""

    path: str
    why: str


class ShownByRuns(HistorySection):
    """What a record's own runs in this file show, and how far its claim is from that, as audit.py derives it.

    Stored so that a claim, a run or a rule that somebody edits no longer has what it is stored with.
    """

    runs: int
    time_s: float | None = None  # means
    val_loss: float | None = None
    time_off_s: float | None = None  # claimed - shown
    val_loss_off: float | None = None
    runs_off: int | None = None
    flags: tuple[str, ...] = ()  # of the audit


class ImportedRecord(HistorySection):
    """One row of a table."""

    number: int
    official: bool  # False: a re-timing, or a result that held no record
    date: date | None
    title: str
    authors: tuple[str, ...]
    techniques: tuple[str, ...] = ()
    systems_only: bool = False  # claims the same learning, faster: upstream waives its test
    claim: Claim
    pull_request: int | None = None
    folder: str | None = None  # where its logs lie
    link: Link | None = None
    group: str  # the rule that says which runs are its own
    metric: Metric = "val_loss"
    runs: tuple[int, ...] = ()  # its own, without copies
    losses: tuple[float, ...] = ()  # theirs at the claimed step, where that is not the last one or not val_loss
    left_out: int = 0  # runs that would belong to it, but stop before their last step
    quoted: tuple[Quoted, ...] = ()
    note: str = ""
    merged: Day | None = None  # UTC; `date` is what the table says
    baseline: tuple[int, ...] = ()  # runs of the record before it that lie beside its own
    stated: Stated | None = None
    shown: ShownByRuns | None = None


class History(HistorySection):
    """A track's imported records and every run of every log."""

    schema_version: Literal[1, 2, 3] = 3
    track: str
    source: Source
    folders: tuple[str, ...]
    machines: tuple[Machine, ...]
    scripts: tuple[EmbeddedScript, ...]
    runs: tuple[ImportedRun, ...]
    records: tuple[ImportedRecord, ...]
    heads: dict[str, str] = {}  # record folder -> the commit that has it, where source.commit has not
    lost: tuple[Lost, ...] = ()

    @model_validator(mode="after")
    def _is_of_its_version(self) -> Self:
        later = [name for version, names in _SINCE.items() if version > self.schema_version for name in names]
        new = [name for r in self.records for name in later if name in r.model_fields_set]
        if self.schema_version == 1:
            new += [name for name in ("heads", "lost") if name in self.model_fields_set]
            new += ["size of a script" for script in self.scripts if script[2:] != (0, 0, 0)]
        if new:
            raise ValueError(f"schema version {self.schema_version} has no {new[0]}")
        return self

    def path(self, run: ImportedRun) -> str:
        """Of the run's log, in the repository."""
        return f"{self.folders[run.folder]}/{run.file}"

    def url(self, path: str) -> str:
        """Where that file can be read."""
        return f"{self.source.repository}/blob/{self.commit_of(path) or 'master'}/{path}"

    def commit_of(self, path: str) -> str:
        """The commit that has it; empty for a folder without history."""
        found = (commit for folder, commit in self.heads.items() if path == folder or path.startswith(f"{folder}/"))
        return next(found, self.source.commit)

    def lost_below(self, folder: str | None) -> list[Lost]:
        """The files of a record's folder that could not be had."""
        return [lost for lost in self.lost if folder and lost.path.startswith(f"{folder}/")]


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A record of another competition; index: its row in the history."""

    track: str
    history: History
    index: int
    number: str  # with -2 where a table has it twice

    @property
    def record(self) -> ImportedRecord:
        return self.history.records[self.index]

    @property
    def key(self) -> str:
        return f"{self.track}/{self.number}"

    @property
    def names(self) -> tuple[str, ...]:
        return self.key, f"{self.history.source.repository.rpartition('/')[2]} {self.number}", self.record.title


def read_history(track: str) -> History | None:
    """The imported history of a track, None where there is none. Raises RecordError naming what is wrong."""
    path = layout.history_file(track)
    if not path.exists():
        return None
    raw = read_plain(path, MAX_HISTORY_BYTES, RecordError)
    try:
        history = History.model_validate_json(raw)
    except ValidationError as error:
        raise RecordError(
            f"{path}: {first_problem(error)}; see the schema in leaderboard/upstream/history.py"
        ) from error
    problem = dangling(history)
    if problem:
        raise RecordError(f"expected indices that exist, found {problem} in {path}; import it again")
    return history


def row_numbers(history: History) -> list[str]:
    """The numbers of a history's records, made distinct: 21, 21-2."""
    seen: Counter[int] = Counter()
    numbers = []
    for record in history.records:
        seen[record.number] += 1
        times = seen[record.number]
        numbers.append(f"{record.number}" if times == 1 else f"{record.number}-{times}")
    return numbers


def write_history(path: Path, history: History) -> None:
    """One line per run and per record, so that a difference between two imports can be read."""
    replace_file(path, [encode(history)])


def encode(history: History) -> bytes:
    """The file's bytes: the same history gives the same ones."""
    values = json.loads(history.model_dump_json(exclude_defaults=True))
    return compact({"schema_version": SCHEMA_VERSION} | values | {"schema_version": SCHEMA_VERSION})


def compact(values: dict[str, Any]) -> bytes:
    """JSON with one line for each entry of a list at its top."""
    parts = []
    for name, value in values.items():
        if isinstance(value, list):
            rows = ",\n".join(_compact(item) for item in value)
            parts.append(f"{json.dumps(name)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {_compact(value)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dangling(history: History) -> str:
    """The first index that points nowhere."""
    for number, run in enumerate(history.runs):
        bounds = ((run.folder, history.folders), (run.machine, history.machines), (run.script, history.scripts))
        if not all(0 <= index < len(table) for index, table in bounds) or not (0 <= (run.copy_of or 0) <= number):
            return f"run {number}"
    for record in history.records:
        named = (*record.runs, *record.baseline, *(record.link.runs if record.link else ()))
        if not all(0 <= index < len(history.runs) for index in named):
            return f"record {record.number}"
        if record.losses and len(record.losses) != len(record.runs):
            return f"{len(record.losses)} losses of {len(record.runs)} runs in record {record.number}"
    return ""
