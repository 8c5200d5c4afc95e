"""Newer rows: records accepted after the checkout at hand ends, typed from what is public of them.

Once a checkout has them in its own table, nothing here is read: a row counts only while its number follows the last.
"""

import tomllib
from datetime import date
from typing import Annotated

from pydantic import Field, ValidationError

from harness.errors import RecordError, UserError, first_problem
from harness.formats import layout

from .archive import LOG_SUFFIXES, Archive
from .checkout import Checkout, PullHead
from .claims import ClaimedRow, Words
from .history import Claim, Day, HistorySection, Machine, Stated

Typed = Annotated[tuple[str, float, int], Field(strict=False)]  # log below the folder, val_loss, ms
TypedRuns = Annotated[tuple[Typed, ...], Field(strict=False)]  # TOML has lists


class TypedMachine(HistorySection):
    """What the logs say of theirs."""

    gpu: str
    gpu_count: int
    torch: str = ""
    cuda: str = ""
    python: str = ""
    triton: str = ""
    driver: str = ""


class TypedStated(Stated):
    files: Words = ()


class NewerRow(HistorySection):
    """A row of a table, and as much of its logs as could be read."""

    number: int
    time_s: float
    date: date
    merged: Day
    pull_request: int
    handles: Words
    folder: str
    commit: str  # that has the folder
    stated: TypedStated | None = None
    machine: TypedMachine | None = None
    steps: int = 0
    runs: TypedRuns = ()
    baseline_steps: int = 0
    baseline_runs: TypedRuns = ()

    @property
    def as_stated(self) -> Stated | None:
        return None if self.stated is None else Stated.model_validate(self.stated.model_dump())

    @property
    def row(self) -> ClaimedRow:
        return ClaimedRow(
            number=self.number, claim=Claim(train_time_s=self.time_s), date=self.date, link=self.folder,
            pull_request=self.pull_request, handles=self.handles, held_record=True,
        )  # fmt: skip


def newer_rows(track: str, last: int) -> list[NewerRow]:
    """The rows that follow the last number of a table, without a gap."""
    found: list[NewerRow] = []
    for row in _typed().get(track, []):
        if row.number == last + 1 + len(found):
            found.append(row)
    return found


def read_newer(row: NewerRow, archive: Archive, checkout: Checkout, heads: list[PullHead]) -> str:
    """Add its runs: from its pull request's head where that was fetched, else as typed. Returns the folder's commit."""
    for head in heads:
        if head.number == row.pull_request:
            there = Checkout(checkout.root, head.commit)
            logs = [file for file in there.files(row.folder) if file.path.endswith(LOG_SUFFIXES)]
            if logs:
                archive.read(there, logs)
                return head.commit
    if row.machine is not None:
        machine = Machine(**row.machine.model_dump())
        for runs, steps in ((row.runs, row.steps), (row.baseline_runs, row.baseline_steps)):
            for name, val_loss, time_ms in runs:
                archive.add_typed(f"{row.folder}/{name}", val_loss, time_ms, steps, machine)
    return row.commit


def _typed() -> dict[str, list[NewerRow]]:
    path = layout.NEWER_ROWS
    try:
        tables = tomllib.loads(path.read_text())
        return {track: [NewerRow.model_validate(row) for row in rows] for track, rows in tables.items()}
    except OSError as error:
        raise UserError(f"expected the newer rows at {path}, found none ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"expected TOML in {path}, found: {error}") from error
    except ValidationError as error:
        raise RecordError(
            f"{path}: {first_problem(error)}; see NewerRow in leaderboard/upstream/newer_rows.py"
        ) from error
