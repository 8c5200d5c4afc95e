"""Every error this package raises, drawn.

    UserError (data.errors)     anything a user can mend: one sentence, no traceback
    ├── DataError (data.errors) a shard, a dataset or its place on disk
    ├── TrackError              a track file, or a track this machine cannot run
    ├── RecordError             a run or a record on disk is not what its schema says
    └── RunFailure              a run that started has ended badly; carries its Status

A broken rule in a finished run is not an error: it is a Finding, and it is data.
"""

from pydantic import ValidationError

from data.errors import DataError, UserError

from .status import Status

__all__ = ["DataError", "RecordError", "RunFailure", "TrackError", "UserError", "first_problem"]


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
