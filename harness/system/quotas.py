"""CPU quotas: how many cores the control groups of this process let it use, and how often they held it back.

A quota of any group from the process's own up to the highest that can be seen holds, in version 1 (cpu.cfs_quota_us)
and version 2 (cpu.max) alike. Inside a container that sees only its own group, that one is all that can be known.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """What one control group says. None: no quota, or no counter."""

    file: Path  # where the quota stands
    cores: float | None  # processor time per time on the wall
    throttled_periods: int | None
    throttled_ns: int | None  # of the group's processes, on every core together; of quotas of this very group


def read_quotas(root: Path = ROOT, membership: Path = MEMBERSHIP) -> tuple[CpuQuota, ...]:
    """Every group that could have a quota for this process, its own first; none where the kernel shows none.

    root: where control groups are mounted. membership: the process's lines `hierarchy:controllers:path`.
    """
    found: list[CpuQuota] = []
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:
            mount = root if os.path.exists(root / "cgroup.controllers") else root / "unified"
            found += _chain(mount, name, "cpu.max")
        elif "cpu" in controllers.split(","):
            places = [root / controllers, root / "cpu"]
            mount = next((place for place in places if os.path.isdir(place)), places[0])
            found += _chain(mount, name, "cpu.cfs_quota_us")
    return tuple(found)


def tightest(quotas: Sequence[CpuQuota]) -> CpuQuota | None:
    """The one that allows the fewest cores; None where nothing is limited."""
    return min((quota for quota in quotas if quota.cores is not None), key=lambda q: q.cores or 0.0, default=None)


def throttled_ns(quotas: Sequence[CpuQuota]) -> int | None:
    """Processor time that quotas took so far: each group counts its own. None where no group counts."""
    counted = [quota.throttled_ns for quota in quotas if quota.throttled_ns is not None]
    return sum(counted) if counted else None


def throttled_periods(quotas: Sequence[CpuQuota]) -> int | None:
    """Periods in which a quota was used up, over all groups."""
    counted = [quota.throttled_periods for quota in quotas if quota.throttled_periods is not None]
    return sum(counted) if counted else None


def _chain(mount: Path, name: str, file: str) -> Iterator[CpuQuota]:
    """A group and those above it. What a path names outside of the mount (`/..`) is not to be seen from here."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        quota, periods, time_ns = folder / file, *_throttled(folder / "cpu.stat")
        if os.path.exists(quota) or time_ns is not None:
            yield CpuQuota(quota, _cores(quota), periods, time_ns)


def _cores(file: Path) -> float | None:
    """Version 2 has quota and period (microseconds) in one file, version 1 in two; `max` and -1 are no quota."""
    words = _text(file).split()
    if file.name == "cpu.cfs_quota_us":
        words += _text(file.with_name("cpu.cfs_period_us")).split()
    with suppress(ValueError, IndexError, ZeroDivisionError, OverflowError):
        quota_us, period_us = int(words[0]), int(words[1])
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    return None


def _throttled(file: Path) -> tuple[int | None, int | None]:
    """Throttled periods and nanoseconds of a cpu.stat."""
    counters: dict[str, int] = {}
    for line in _text(file).splitlines():
        name, _, value = line.partition(" ")
        with suppress(ValueError):
            counters[name] = int(value)
    time_ns = counters.get("throttled_time")
    if (time_us := counters.get("throttled_usec")) is not None:
        time_ns = 1000 * time_us
    return counters.get("nr_throttled"), time_ns


def _text(file: Path) -> str:
    with suppress(OSError, ValueError):
        return file.read_text()
    return ""
