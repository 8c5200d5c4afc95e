"""SIGINT and SIGTERM as ordinary failures: the run ends, is recorded, and says which signal it was."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import RunFailure
from .status import Status

_STATUS = {signal.SIGINT: Status.INTERRUPTED, signal.SIGTERM: Status.TERMINATED}


@contextmanager
def interrupts() -> Iterator[None]:
    """Inside, the first signal raises RunFailure; later ones are ignored, so that cleaning up is left in peace."""
    before = {number: signal.signal(number, _raise) for number in _STATUS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    for each in _STATUS:
        signal.signal(each, signal.SIG_IGN)
    received = signal.Signals(number)
    raise RunFailure(_STATUS[received], f"the run was stopped by {received.name}")
