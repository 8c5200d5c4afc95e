"""The folder of a run being made: it appears with its first record, and closes with its last, also on a full disk."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from data.files import TEMPORARY_SUFFIX, replace_file, sync_folder

from ..errors import RecordError, RunFailure, UserError
from ..status import Status
from ..system import clock, scratch
from ..system.scratch import Begun
from . import layout
from .run import RunRecord, encode_run, full_disk_is_a_failure, is_gone, read_run

RESERVE_BYTES = 8 * 2**20  # more than any record: the closing one must fit on a full disk


Record = TypeVar("Record")


class RecordFolder(Generic[Record]):
    """The folder of a run of any kind: `started` first, complete only with its last write.

    It is made under a name that carries this process and takes its own with the first record, so that who is killed in
    between leaves what the next run sweeps.
    """

    def __init__(self, parent: Path, run_id: str, file: str, encode: Callable[[Record], bytes]) -> None:
        """file: of the record. Raises UserError where nothing can be written, RunFailure where there is no space."""
        self.run_id = run_id
        self.saved: Record | None = None  # what its file says by now
        self._file, self._encode = file, encode
        self._life: int | None = None  # the reserve, locked as long as we live
        self._begun = begin_folder(parent, run_id)
        try:
            with full_disk_is_a_failure():
                self._reserve_space()
        except OSError as error:
            self._begun.give_up()
            raise unwritable(parent, error) from error
        except RunFailure:
            self._begun.give_up()
            raise

    @property
    def path(self) -> Path:
        return self._begun.path

    def save(self, record: Record) -> None:
        """Write the record whole."""
        self.saved = record
        with full_disk_is_a_failure():
            replace_file(self.path / self._file, [self._encode(record)])
            self._begun.appear()

    def close(self, record: Record) -> None:
        """Write the last record: into the reserved space, then over the first one by a rename.

        So not a byte of new space is needed, and nobody can take what was reserved in between.
        """
        reserve = self.path / layout.RESERVE_FILE
        with full_disk_is_a_failure(), open(os.open(reserve, os.O_CREAT | os.O_WRONLY, 0o666), "wb") as file:
            file.write(self._encode(record))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        reserve.replace(self.path / self._file)
        self._begun.appear()
        sync_folder(self.path)
        self._let_go()

    def discard(self) -> None:
        """Leave nothing: of a run that never had the machine there is nothing to tell."""
        self._let_go()
        self._begun.give_up()
        scratch.remove_tree(self.path)

    def _reserve_space(self) -> None:
        """Its lock is a sign of life that other containers of this machine see, to whom our pid says nothing."""
        self._life = os.open(self.path / layout.RESERVE_FILE, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            os.posix_fallocate(self._life, 0, RESERVE_BYTES)
            with suppress(OSError):  # a file system without locks: then nobody elsewhere can tell
                fcntl.flock(self._life, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._life is not None:
            os.close(self._life)
            self._life = None


class RunFolder(RecordFolder[RunRecord]):
    """The folder of a refereed run."""

    def __init__(self, parent: Path, run_id: str) -> None:
        super().__init__(parent, run_id, layout.RUN_FILE, encode_run)

    @property
    def source(self) -> Path:
        return self.path / layout.SOURCE_DIR


def begin_folder(parent: Path, name: str) -> Begun:
    """A folder in the making. Raises UserError where nothing can be written, RunFailure where there is no space."""
    try:
        with full_disk_is_a_failure():
            return Begun(parent, name)
    except OSError as error:
        raise unwritable(parent, error) from error


def unwritable(parent: Path, error: OSError) -> UserError:
    return UserError(f"expected a folder for runs that can be written at {parent}, found: {error.strerror}")


def close_abandoned(parent: Path, *, alone: bool = False) -> None:
    """Write `abandoned` into runs whose referee is gone, and give back their reserved space and what was half written.

    A run whose referee cannot be judged from here (another host) is left alone, unless `alone`: the caller holds what
    that referee would have to hold.
    """
    scratch.sweep(parent, alone=alone)
    for folder in layout.local_run_dirs(parent):
        if not (folder / layout.RESERVE_FILE).exists():
            continue
        with suppress(RecordError, OSError):
            record = read_run(folder)
            if record.status == Status.ABANDONED:
                close_for(folder, record.sentence)
            elif record.status == Status.STARTED and alone and record.owner.is_gone is None:
                close_for(folder, "whoever conducted it is gone; nothing of it counts")


def unjudged_runs(parent: Path) -> list[tuple[Path, RunRecord]]:
    """Runs that say they are in progress, and of which nobody here can tell."""
    found = []
    for folder in layout.local_run_dirs(parent):
        with suppress(RecordError):
            if (folder / layout.RESERVE_FILE).exists() and is_unjudged(folder, record := read_run(folder)):
                found.append((folder, record))
    return found


def is_unjudged(folder: Path, record: RunRecord) -> bool:
    """Whether a run that says it is in progress may as well be over, for all that can be seen from here."""
    return (
        record.status == Status.STARTED
        and is_gone(record.owner, folder / layout.RESERVE_FILE, record.started_at) is None
    )


def close_for(folder: Path, sentence: str) -> RunRecord:
    """Close a run in place of its referee, which is gone: `abandoned`, for this reason. Raises RecordError, OSError."""
    record = read_run(folder)
    ended_at = max(record.started_at, clock.utc_now())  # whatever was done to the clock in between
    told = {"status": Status.ABANDONED, "sentence": sentence, "finished_at": ended_at}
    closed = record.model_copy(update=told)
    give_back(folder)
    replace_file(folder / layout.RUN_FILE, [encode_run(closed)])
    return closed


def give_back(folder: Path) -> None:
    """Remove what a run whose referee is gone had reserved or half written."""
    (folder / layout.RESERVE_FILE).unlink(missing_ok=True)
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
