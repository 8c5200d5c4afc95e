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
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from .whereabouts import boot_id

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_S = 10.0
STOP_LOOKS = 20
_STILL = frozenset("TtZXD")  # stopped, traced, dead, or in a system call that nothing interrupts
ADOPTED_LOOKS = 2000
PARENT_LOOKS = 10
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
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


def _start_ticks(pid: int) -> int | None:
    """When a process started, None if there is none (or only its zombie)."""
    try:
        fields = stat_fields(pid)
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def stat_fields(process: int | str) -> list[str]:
    """What /proc says of a process, or of `PID/task/THREAD`, from its state on. Raises OSError where there is none."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """For preexec_fn: the kernel kills the child, by this signal, when the referee dies, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    return [child for child, parent in _parents().items() if parent == pid]


def tree(pid: int, without: Collection[int] = ()) -> set[int]:
    """All descendants of a process, as of one look at /proc; without some of them and theirs."""
    below: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        below.setdefault(parent, []).append(child)
    found: set[int] = set()
    pending = [pid]
    while pending:
        new = [child for child in below.get(pending.pop(), []) if child not in found and child not in without]
        found.update(new)
        pending += new
    return found


def descendants(without: Collection[int] = ()) -> set[int]:
    """Ours, with the orphans that have become ours, without some of them and theirs, and without who is spared."""
    return tree(os.getpid(), _spared.union(without))


def _parents() -> dict[int, int]:
    """Every process and its parent.

    Nobody stands still meanwhile. Whoever was read before its parent, which has died in between, has another one now,
    and is read again: its descendants would be lost from the tree with the link to it.
    """
    found: dict[int, int] = {}
    unread = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for _ in range(PARENT_LOOKS):
        for pid in unread:
            found.pop(pid, None)
            with contextlib.suppress(OSError):
                found[pid] = int(stat_fields(pid)[1])
        unread = [child for child, parent in found.items() if parent and parent not in found]
        if not unread:
            break
    return found


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL, and reap those that are children of ours."""
    signal_all(pids, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


_spared: set[int] = set()  # children of our own that outlive what they serve


def spare(pid: int) -> None:
    """Leave this child of ours alone when all others are killed: no submission has started it."""
    _spared.add(pid)


def spare_no_more(pid: int) -> None:
    """The opposite."""
    _spared.discard(pid)


def kill_children() -> None:
    """SIGKILL every child with all its descendants, and whatever becomes an orphan of ours by that, until none is left.

    All are stopped before any is killed, so that none forks meanwhile; and what dies while its child lives on hands
    that child to us, where it is found in microseconds. A swarm that forks faster than that is given up after KILL_S;
    only a pid namespace or a control group is proof against it.
    """
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        _kill_adopted()
        found = stop_all(descendants)
        if not found:
            return
        kill_all(found)


def stop_all(members: Callable[[], set[int]]) -> set[int]:
    """SIGSTOP to all of these, deepest look until a look finds nobody new. Returns whom it was sent to."""
    stopped: set[int] = set()
    for _ in range(STOP_LOOKS):
        new = members() - stopped
        if not new:
            break
        signal_all(new, signal.SIGSTOP)
        stopped |= new
    return stopped


def are_still(pids: Iterable[int]) -> bool:
    """Whether no thread of these can run: SIGSTOP is heeded by one thread of a process, whenever that is scheduled."""
    for pid in pids:
        with contextlib.suppress(OSError):  # gone meanwhile
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):  # this thread alone
                    if stat_fields(f"{pid}/task/{task}")[0] not in _STILL:
                        return False
    return True


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those that are there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _kill_adopted() -> None:
    """Kill direct children as fast as the kernel can name them: a process that forks and exits cannot outrun this."""
    for _ in range(ADOPTED_LOOKS):
        found = _adopted()
        if not found:
            return
        kill_all(found)


def _adopted() -> list[int]:
    """Our direct children, by the kernel's own list where it keeps one (CONFIG_PROC_CHILDREN)."""
    try:
        lists = [Path(f"/proc/self/task/{task}/children").read_text() for task in os.listdir("/proc/self/task")]
    except OSError:
        return []
    return [pid for text in lists for pid in map(int, text.split()) if pid not in _spared]


def memory_bytes(pid: int, exactly: bool) -> int:
    """Memory of a process: what it maps, or, slower, with pages it shares divided among those that share them."""
    try:
        if not exactly:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration, IndexError):  # gone meanwhile
        return 0


def threads(pid: int) -> int:
    try:
        return int(stat_fields(pid)[17])
    except OSError:
        return 0
