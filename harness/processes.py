"""Processes and their deaths. Nothing a run started outlives it.

Three independent ways: the sandbox's pid namespace dies with its first process; every process of ours asks the
kernel to die with its parent; and as the subreaper of its descendants the referee inherits, and kills, whatever
a submission detached (double forks, new sessions).
"""

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_S = 10.0
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same pid."""

    pid: int
    start_ticks: int  # since boot
    boot_id: str

    def is_alive(self) -> bool:
        return self.boot_id == boot_id() and is_alive(self.pid, self.start_ticks)


def this_process() -> ProcessId:
    return ProcessId(os.getpid(), _start_ticks(os.getpid()) or 0, boot_id())


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether the process that had this pid and start time since boot is still there."""
    return _start_ticks(pid) == start_ticks


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """When a process started, None if there is none (or only its zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def die_with_parent() -> None:
    """For preexec_fn: the kernel kills the child when the referee dies, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def kill_children() -> None:
    """SIGKILL every child with all its descendants, and whatever becomes an orphan of ours by that, until none is left.

    A process that forks faster than we look is given up after KILL_S; only a pid namespace is proof against it.
    """
    deadline = time.monotonic() + KILL_S
    while (found := children(os.getpid())) and time.monotonic() < deadline:
        for child in found:
            _kill(child)
        time.sleep(0.005)


def _kill(pid: int) -> None:
    """Kill a child with all its descendants, deepest knowledge first, and reap it."""
    for child in children(pid):
        _kill(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
