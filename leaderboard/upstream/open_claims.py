"""Open claims: what others say they reached and no table has accepted, beside what their own logs hold.

A closed schema, one file per track, apart from the records: a claim is never a record and holds no place. Its runs are
audited by the same code. Titles are the names of folders; no text of anybody's README is kept.
"""

import json
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from data.files import replace_file
from harness.errors import RecordError, first_problem
from harness.formats import layout
from harness.formats.track import Track
from harness.system.plainfile import read_plain

from .audit import AuditRow, audit
from .history import (
    MAX_HISTORY_BYTES,
    Claim,
    EmbeddedScript,
    History,
    HistorySection,
    ImportedRecord,
    ImportedRun,
    Lost,
    Machine,
    Metric,
    Source,
    Stated,
    compact,
    dangling,
)

SCHEMA_VERSION = 1
Status = Literal["open", "unmerged", "not in the table"]
STATUSES = {
    "open": "its pull request could be merged when the checkout was fetched, or is known to be open",
    "unmerged": "its pull request was closed, or is in conflict with what came since",
    "not in the table": "its folder is in the repository, and no row of a table links it",
}


class OpenClaim(HistorySection):
    """One claim."""

    key: str  # its pull request, with -2 where that makes two claims; else its folder
    title: str
    status: Status
    pull_request: int | None = None
    commit: str = ""  # that has its folder; empty where no checkout had it
    folder: str = ""
    authors: tuple[str, ...] = ()
    date: date | None  # UTC, of its last commit
    claim: Claim
    saves_s: float | None = None  # where only the difference to the record is said
    stated: Stated | None = None
    group: str = ""  # the arm that its runs are
    runs: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()  # at the claimed step, on a track that counts steps
    metric: Metric = "val_loss"
    left_out: int = 0
    baseline: tuple[int, ...] = ()
    other_runs: int = 0  # of further arms
    parents: tuple[str, ...] = ()  # "PR 344", "row 89": what it says it builds on
    note: str = ""


class ClaimBoard(HistorySection):
    """A track's claims and every run of their logs."""

    schema_version: Literal[1] = 1
    track: str
    source: Source
    folders: tuple[str, ...] = ()
    machines: tuple[Machine, ...] = ()
    scripts: tuple[EmbeddedScript, ...] = ()
    runs: tuple[ImportedRun, ...] = ()
    claims: tuple[OpenClaim, ...] = ()
    lost: tuple[Lost, ...] = ()

    def as_history(self) -> History:
        """The same for the code that reads imported records; none of them is official."""
        return History(
            track=self.track, source=self.source, folders=self.folders, machines=self.machines, scripts=self.scripts,
            runs=self.runs, lost=self.lost, records=tuple(_as_record(claim) for claim in self.claims),
            heads={claim.folder: claim.commit for claim in self.claims if claim.folder and claim.commit},
        )  # fmt: skip


def _as_record(claim: OpenClaim) -> ImportedRecord:
    return ImportedRecord(
        number=claim.pull_request or 0, official=False, date=claim.date, title=claim.title, authors=claim.authors,
        claim=claim.claim, pull_request=claim.pull_request, folder=claim.folder or None, group=claim.group,
        metric=claim.metric, runs=claim.runs, losses=claim.losses, left_out=claim.left_out, baseline=claim.baseline,
        stated=claim.stated or Stated(), note=claim.note,
    )  # fmt: skip


def audit_claims(board: ClaimBoard, track: Track) -> list[AuditRow]:
    """One row per claim, in their order: as records are audited."""
    return audit(board.as_history(), track)


def gaps(claim: OpenClaim, row: AuditRow, board: ClaimBoard) -> list[str]:
    """What neither documents nor logs say of a claim, or what of it was lost; empty: it came out whole."""
    stated = claim.stated or Stated()
    found = {
        "a time or a number of steps": row.time_s or claim.claim.train_time_s or claim.claim.steps,
        "how many runs": row.runs or claim.claim.runs,
        "a loss": row.val_loss or claim.claim.val_loss,
        "a p": row.p_value is not None or stated.p_value is not None,
        "all of its files": not any(lost.path.startswith(f"{claim.folder}/") for lost in board.lost if claim.folder),
    }
    return [name for name, value in found.items() if not value]


def read_claims(track: str) -> ClaimBoard | None:
    """The open claims of a track, None where none were imported. Raises RecordError naming what is wrong."""
    path = layout.claims_file(track)
    if not path.exists():
        return None
    raw = read_plain(path, MAX_HISTORY_BYTES, RecordError)
    try:
        board = ClaimBoard.model_validate_json(raw)
    except ValidationError as error:
        raise RecordError(
            f"{path}: {first_problem(error)}; see the schema in leaderboard/upstream/open_claims.py"
        ) from error
    if problem := dangling(board.as_history()):
        raise RecordError(f"expected indices that exist, found {problem} in {path}; import it again")
    return board


def write_claims(path: Path, board: ClaimBoard) -> None:
    replace_file(path, [encode_claims(board)])


def encode_claims(board: ClaimBoard) -> bytes:
    """The file's bytes: one line per run and per claim; the same claims give the same ones."""
    values = json.loads(board.model_dump_json(exclude_defaults=True)) | {"schema_version": SCHEMA_VERSION}
    return compact({"schema_version": SCHEMA_VERSION} | values)
