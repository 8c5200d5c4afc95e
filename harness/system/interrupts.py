"""Signals that end a process as ordinary failures: the run ends, is recorded, and says which signal it was."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from ..errors import RunFailure
from ..status import Status

_ALWAYS = (signal.SIGINT, signal.SIGTERM)
_UNLESS_IGNORED = (  # a closed terminal, Ctrl-\, a batch system's warning, limits and timers, a power cut
    signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGALRM, signal.SIGVTALRM,
    signal.SIGPROF, signal.SIGPWR,
)  # fmt: skip


class Interrupts:
    """Holds what would end this process while a run lasts. What the caller ignores (nohup) stays ignored, but for
    SIGINT and SIGTERM, by which a run can always be ended.

    They raise only inside `raised()`: cleaning up and recording are left in peace, and a signal that comes before
    raises there as well. What a handler raises is lost where Python may not let it out, in a `__del__` or a module that
    is being imported; so a loop that waits calls `insist`.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._raises = False

    def __enter__(self) -> Self:
        self._around = _held()
        ignored = [number for number in _UNLESS_IGNORED if signal.getsignal(number) == signal.SIG_IGN]
        held = [number for number in (*_ALWAYS, *_UNLESS_IGNORED) if number not in ignored]
        self._before = {number: signal.signal(number, self._handle) for number in held}
        if self._around._received is not None:
            self._received = self._around._received  # a run inside a campaign gets what came to the campaign before it
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._received is not None:
            self._around._received = self._received  # and the campaign, what came while the run was recorded

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, the first signal raises RunFailure; later ones are ignored."""
        self._raises = True
        try:
            self.check()
            yield
        finally:
            self._raises = False

    def check(self) -> None:
        """Raise RunFailure if a signal has come, inside `raised()`."""
        if self._raises and self._received is not None:
            status = Status.INTERRUPTED if self._received == signal.SIGINT else Status.TERMINATED
            raise RunFailure(status, f"the run was stopped by {self._received.name}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = signal.Signals(number)
            self.check()


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, no signal raises: for a fork, whose hooks would print a traceback and go on. `insist` raises it later."""
    held = _held()
    before, held._raises = held._raises, False
    try:
        yield
    finally:
        held._raises = before


def insist() -> None:
    """Raise RunFailure for a signal that came and was deferred or lost."""
    _held().check()


def _held() -> Interrupts:
    """Who holds the signals now; one that never receives any where nobody does."""
    holder = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return holder if isinstance(holder, Interrupts) else Interrupts()
