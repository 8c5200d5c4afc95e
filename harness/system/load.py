"""Counters of the kernel: who had which processor for how long. All in nanoseconds, all growing."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import clock, processes
from .quotas import read_quotas, throttled_ns

TICK_NS = clock.NS // os.sysconf("SC_CLK_TCK")
_STOLEN, _IDLE = 7, (3, 4)  # columns of a line of /proc/stat


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel had counted at one moment, for some cores and one tree of processes."""

    at_ns: int
    cores: frozenset[int]
    busy_ns: int  # of these cores, by anybody
    steal_ns: int
    tree_ns: int  # of all descendants of this process
    own_ns: int  # of this process
    throttled_ns: int | None
    waiting_ns: int | None


def read_counters() -> Counters:
    """Of the cores this process may use and of its descendants, in milliseconds at most."""
    cores = frozenset(os.sched_getaffinity(0))
    busy, stolen = _cores(cores)
    return Counters(
        at_ns=clock.now_ns(),
        cores=cores,
        busy_ns=busy * TICK_NS,
        steal_ns=stolen * TICK_NS,
        tree_ns=sum(_ticks(pid) for pid in processes.tree(os.getpid())) * TICK_NS,
        own_ns=time.process_time_ns(),
        throttled_ns=throttled_ns(read_quotas()),
        waiting_ns=_waiting_ns(),
    )


def _cores(cores: frozenset[int]) -> tuple[int, int]:
    """Busy and stolen ticks of these cores; a guest's time is a part of its host's, and not counted twice."""
    busy = stolen = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            columns = [int(number) for number in numbers[:8]]
            stolen += columns[_STOLEN]
            busy += sum(columns) - columns[_STOLEN] - sum(columns[i] for i in _IDLE)
    return busy, stolen


def _ticks(pid: int) -> int:
    """User and system ticks of a process and of its children that were waited for; 0 of none."""
    try:
        fields = processes.stat_fields(pid)
        return sum(map(int, fields[11:15]))
    except (OSError, ValueError):
        return 0


def _waiting_ns() -> int | None:
    """While at least one process was ready to run and had no core (pressure stall information)."""
    with suppress(OSError, ValueError, IndexError):
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return int(line.rpartition("total=")[2]) * 1000
    return None
