"""The two clocks of a run.

Durations come from CLOCK_MONOTONIC_RAW, read here in the referee's process: no adjustment of the system clock
(NTP slewing, a date set by hand) moves it, and no submission can reach it. Wall time only labels runs.
"""

import time
from datetime import UTC, datetime

NS = 1_000_000_000  # in a second


def now_ns() -> int:
    """Nanoseconds on CLOCK_MONOTONIC_RAW; only differences mean anything."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def utc_now() -> datetime:
    """The wall clock, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
