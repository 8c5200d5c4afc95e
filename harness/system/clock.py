"""The two clocks of a run.

Durations come from CLOCK_MONOTONIC_RAW, read here in the referee's process: no adjustment of the system clock
(NTP slewing, a date set by hand) moves it, and no submission can reach it. Wall time only labels runs; it is read once
a process and goes on with the time since boot, so that no label is older than the one before it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

NS = 1_000_000_000  # in a second
_STARTED_NS = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
_ahead = timedelta(0)  # of this process's wall clock: see not_before


def now_ns() -> int:
    """Nanoseconds on CLOCK_MONOTONIC_RAW; only differences mean anything."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def wall_now() -> datetime:
    """What the wall clock showed when this process began and the time since, in UTC, to the second."""
    seconds = (_STARTED_NS + time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // NS
    return datetime.fromtimestamp(seconds, UTC)


def booted_at() -> datetime:
    """When this machine was booted, by its own wall clock, to the second."""
    return datetime.fromtimestamp(_STARTED_NS // NS, UTC)


def utc_now() -> datetime:
    """The time that labels runs, in UTC, to the second: wall_now, or ahead of it inside `not_before`."""
    return wall_now() + _ahead


@contextmanager
def not_before(moment: datetime) -> Iterator[timedelta]:
    """Inside, utc_now() goes on from this moment where the wall clock shows less; by how much less, 0 where it does
    not. For what is continued after the machine's clock was set back: its labels stay in order."""
    global _ahead
    before, missing = _ahead, moment - wall_now()
    _ahead = max(before, timedelta(seconds=-(-missing // timedelta(seconds=1))))
    try:
        yield _ahead - before
    finally:
        _ahead = before
