"""Control groups: the kernel's own limits on memory and processes, where we may set them, and its own account of
processor time.

Used only where nobody else manages the group we are in: at the root of a hierarchy, as in a container with one of
its own. A supervisor's group (systemd's, a container engine's) is its to divide. Versions 1 and 2.
"""

import itertools
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from ..system import processes, scratch
from .policy import Limits

ROOT = Path("/sys/fs/cgroup")
KILL_S = 10.0
ACCOUNT = "cpuacct"  # of processor time; it limits nothing
_NAME = re.compile(r"^speedrun-([0-9a-f]+)-(\d+)-(\d+)-\d+$")
_counter = itertools.count()


class ControlGroups:
    """One group per controller, for one process tree."""

    def __init__(self, limits: Limits) -> None:
        me = processes.this_process()
        name = f"speedrun-{scratch.here()}-{me.pid}-{me.start_ticks}-{next(_counter)}"
        self.folders: dict[str, Path] = {}  # by controller
        for controller, parent in parents().items():
            with suppress(OSError):
                folder = parent / name
                folder.mkdir(exist_ok=True)
                self.folders[controller] = folder
                _limit(folder, controller, limits)
        self._entrances = [os.open(f / "cgroup.procs", os.O_WRONLY) for f in set(self.folders.values())]

    @property
    def controls(self) -> set[str]:
        return set(self.folders)

    def cpu_ns(self) -> int | None:
        """Processor time of every process that ever was a member: threads, and the dead, however they were reaped.

        None where no group keeps that account.
        """
        folder = self.folders.get(ACCOUNT)
        if folder is None:
            return None
        with suppress(OSError, ValueError):
            return int((folder / "cpuacct.usage").read_text())
        return 1000 * used if (used := _count(folder, "cpu.stat", "usage_usec")) else None

    def enter(self) -> None:
        """In a child before exec: it and all its descendants are members."""
        for descriptor in self._entrances:
            os.write(descriptor, b"0")

    def members(self) -> set[int]:
        found: set[int] = set()
        for folder in set(self.folders.values()):
            with suppress(OSError):
                found.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
        return found

    def refused(self) -> set[str]:
        """The controllers whose limit a member has run into."""
        found = set()
        if _count(self.folders.get("pids"), "pids.events", "max"):
            found.add("pids")
        memory = self.folders.get("memory")
        if _count(memory, "memory.events", "oom_kill") or _count(memory, "memory.oom_control", "oom_kill"):
            found.add("memory")
        return found

    def kill(self) -> None:
        """SIGKILL every member; none can fork meanwhile."""
        if "pids" in self.folders:
            with suppress(OSError):
                (self.folders["pids"] / "pids.max").write_text("0")
        deadline = time.monotonic() + KILL_S
        while (found := self.members()) and time.monotonic() < deadline:
            processes.kill_all(found)
            time.sleep(0.002)

    def close(self) -> None:
        for descriptor in self._entrances:
            os.close(descriptor)
        self._entrances = []
        _remove(set(self.folders.values()))


def parents() -> dict[str, Path]:
    """By controller, the folder below which groups can be made here."""
    found: dict[str, Path] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if path != "/":
                continue
            if controllers:
                found |= {name: ROOT / name for name in controllers.split(",") if name in ("pids", "memory", ACCOUNT)}
            elif (ROOT / "cgroup.controllers").exists():
                found |= {name: ROOT for name in (*_unified(), ACCOUNT)}  # every group of version 2 keeps the account
    return {name: folder for name, folder in found.items() if os.access(folder, os.W_OK)}


def _unified() -> list[str]:
    """The controllers a child of version 2's root can have."""
    with suppress(OSError):
        known = (ROOT / "cgroup.controllers").read_text().split()
        wanted: list[str] = [name for name in ("memory", "pids") if name in known]
        (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
        return wanted
    return []


def _limit(folder: Path, controller: str, limits: Limits) -> None:
    if controller == ACCOUNT:
        return
    if controller == "pids":
        (folder / "pids.max").write_text(str(limits.processes))
    elif (folder / "memory.max").exists():
        (folder / "memory.max").write_text(str(limits.memory_bytes))
        (folder / "memory.oom.group").write_text("1")
    else:
        (folder / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))


def _count(folder: Path | None, name: str, key: str) -> int:
    if folder is not None:
        with suppress(OSError, StopIteration):
            return next(int(line.split()[1]) for line in (folder / name).read_text().splitlines()
                        if line.split()[0] == key)  # fmt: skip
    return 0


def sweep() -> None:
    """Kill and remove the groups of referees that are gone, and those this process has left."""
    me = processes.this_process()
    for parent in set(parents().values()):
        for folder in parent.glob("speedrun-*"):
            match = _NAME.match(folder.name)
            if match is None or match[1] != scratch.here():  # of another pid namespace: not ours to judge
                continue
            if int(match[2]) == me.pid or not processes.is_alive(int(match[2]), int(match[3])):
                with suppress(OSError, ValueError):
                    processes.kill_all({int(pid) for pid in (folder / "cgroup.procs").read_text().split()})
                _remove({folder})


def _remove(folders: set[Path]) -> None:
    """A group can be removed once its last member has been reaped."""
    deadline = time.monotonic() + 1
    for folder in folders:
        while folder.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.01)
