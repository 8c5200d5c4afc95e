"""Imported history: another competition's records and the numbers of their logs.

A closed schema, one file per track. Every number in it was read from a log or a table of the checkout it names; titles,
techniques and notes are ours. Whatever it says is of tier `reported`: the scripts timed and validated themselves.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from data.files import replace_file
from harness.errors import RecordError, first_problem
from harness.formats import layout
from harness.system.plainfile import read_plain

MAX_HISTORY_BYTES = 16 * 2**20


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
    metric: Literal["val_loss", "val_ema_loss"] = "val_loss"
    runs: tuple[int, ...] = ()  # its own, without copies
    losses: tuple[float, ...] = ()  # theirs at the claimed step, where that is not the last one or not val_loss
    left_out: int = 0  # runs that would belong to it, but stop before their last step
    quoted: tuple[Quoted, ...] = ()
    note: str = ""


class History(HistorySection):
    """A track's imported records and every run of every log."""

    schema_version: Literal[1] = 1
    track: str
    source: Source
    folders: tuple[str, ...]
    machines: tuple[Machine, ...]
    scripts: tuple[EmbeddedScript, ...]
    runs: tuple[ImportedRun, ...]
    records: tuple[ImportedRecord, ...]

    def path(self, run: ImportedRun) -> str:
        """Of the run's log, in the repository."""
        return f"{self.folders[run.folder]}/{run.file}"

    def url(self, path: str) -> str:
        """Where that file can be read."""
        return f"{self.source.repository}/blob/{self.source.commit or 'master'}/{path}"


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
    problem = _dangling(history)
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
    parts = []
    for name, value in json.loads(history.model_dump_json(exclude_defaults=True)).items():
        if isinstance(value, list):
            rows = ",\n".join(_compact(item) for item in value)
            parts.append(f"{json.dumps(name)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {_compact(value)}")
    return ('{\n"schema_version": 1,\n' + ",\n".join(parts) + "\n}\n").encode()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _dangling(history: History) -> str:
    """The first index that points nowhere."""
    for number, run in enumerate(history.runs):
        bounds = ((run.folder, history.folders), (run.machine, history.machines), (run.script, history.scripts))
        if not all(0 <= index < len(table) for index, table in bounds) or not (0 <= (run.copy_of or 0) <= number):
            return f"run {number}"
    for record in history.records:
        named = (*record.runs, *(record.link.runs if record.link else ()))
        if not all(0 <= index < len(history.runs) for index in named):
            return f"record {record.number}"
        if record.losses and len(record.losses) != len(record.runs):
            return f"{len(record.losses)} losses of {len(record.runs)} runs in record {record.number}"
    return ""
