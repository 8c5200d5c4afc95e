"""A record: a run or several with a place in a track's history; immutable.

`record.json` holds what people say (title, authors, parents); every number is derived from the runs beside it.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import layout
from .errors import RecordError, first_problem
from .plainfile import read_plain
from .run import RunRecord, read_runs
from .submission import source_digest

MAX_RECORD_BYTES = 2**20


class Statement(BaseModel):
    """record.json"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    track: str
    title: Annotated[str, Field(min_length=1, max_length=200)]
    authors: Annotated[tuple[str, ...], Field(min_length=1)]
    date: date
    parents: tuple[str, ...] = ()  # names of the records it builds on


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record folder, read."""

    name: str  # of the folder: <date>_<Name>
    statement: Statement
    runs: tuple[RunRecord, ...]


def read_record(folder: Path) -> Record:
    """Raises RecordError unless statement, runs and source are there and belong together."""
    path = folder / layout.RECORD_FILE
    try:
        statement = Statement.model_validate_json(read_plain(path, MAX_RECORD_BYTES, RecordError))
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    runs, broken = read_runs(folder / layout.RECORD_RUNS_DIR)
    if broken or not runs:
        raise RecordError(broken[0] if broken else f"expected at least one run in {folder}, found none")
    record = Record(name=folder.name, statement=statement, runs=tuple(runs))
    _check(folder, record)
    return record


def read_records(track: str) -> tuple[list[Record], list[str]]:
    """The records of a track, oldest first, and a sentence for each folder that is not one."""
    records, broken = [], []
    for folder in layout.record_dirs(track):
        try:
            records.append(read_record(folder))
        except RecordError as error:
            broken.append(str(error))
    return records, broken


def _check(folder: Path, record: Record) -> None:
    """What makes a folder one record: its own track, one source, and exactly the bytes that ran."""
    track = folder.parent.name
    for run in record.runs:
        if run.track.name != track or record.statement.track != track:
            raise RecordError(f"{folder}: expected runs on track {track}, found {run.track.name}")
        if run.submission != record.runs[0].submission:
            raise RecordError(f"{folder}: expected runs of one submission, found two in {run.run_id}")
    files = {}
    for name in record.runs[0].submission.files:
        files[name] = hashlib.sha256(read_plain(folder / name, MAX_RECORD_BYTES, RecordError)).hexdigest()
    found = source_digest(files)
    expected = record.runs[0].submission.sha256
    if found != expected:
        raise RecordError(f"{folder}: expected source of digest {expected[:12]}, which ran, found {found[:12]}")
