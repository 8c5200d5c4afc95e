"""Every error this package raises, drawn.

    UserError (data.errors)     anything a user can mend: one sentence, no traceback
    ├── DataError (data.errors) a shard, a dataset or its place on disk
    ├── TrackError              a track file, or a track this machine cannot run
    ├── RecordError             a run or a record on disk is not what its schema says
    └── RunFailure              a run that started has ended badly; carries its Status

A broken rule in a finished run is not an error: it is a Finding, and it is data.
"""

import errno
import os

from pydantic import ValidationError

from data.errors import DataError, UserError

from .status import Status

__all__ = ["DataError", "RecordError", "RunFailure", "TrackError", "UserError", "first_problem", "machine_sentence"]


class TrackError(UserError):
    """A track file is not what its schema says, or there is no such track."""


class RecordError(UserError):
    """A run or a record on disk is not what its schema says."""


class RunFailure(UserError):
    """A run that was started has ended badly: what became of it, and one sentence for a person."""

    def __init__(self, status: Status, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def first_problem(error: ValidationError) -> str:
    """The first key that breaks a schema and how, as half a sentence."""
    first = error.errors()[0]
    return f"key {'.'.join(map(str, first['loc']))!r}: {first['msg']}"


def machine_sentence(error: OSError) -> str:
    """What the operating system refused, and where."""
    found = error.strerror or str(error) or type(error).__name__
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF):
        return f"expected to write all of the output, found: {found}"
    if error.filename is None:
        return f"expected a machine that can do this, found: {found}; see `speedrun doctor`"
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"expected to use {where}, found: {found}; mend its place or its permissions"
