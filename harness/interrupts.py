"""SIGINT and SIGTERM as ordinary failures: the run ends, is recorded, and says which signal it was."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from .errors import RunFailure
from .status import Status

_STATUS = {signal.SIGINT: Status.INTERRUPTED, signal.SIGTERM: Status.TERMINATED}


class Interrupts:
    """Holds both signals while a run lasts. They raise only inside `raised()`: cleaning up and recording are left in
    peace, and a signal that comes before raises there as well."""

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._raises = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _STATUS}
        self._around = getattr(self._before[signal.SIGINT], "__self__", None)
        if isinstance(self._around, Interrupts):  # a run inside a campaign hears what the campaign heard before it
            self._received = self._around._received
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(self._around, Interrupts):  # and the campaign, what came while the run was recorded
            self._around._received = self._received

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, the first signal raises RunFailure; later ones are ignored."""
        self._raises = True
        try:
            if self._received is not None:
                raise _failure(self._received)
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = signal.Signals(number)
            if self._raises:
                raise _failure(self._received)


def _failure(received: signal.Signals) -> RunFailure:
    return RunFailure(_STATUS[received], f"the run was stopped by {received.name}")
