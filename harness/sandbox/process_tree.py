"""A sandboxed process tree and its limits, until its last process is dead."""

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import RunFailure
from ..status import Status
from ..system import clock, interrupts, processes
from ..system.clock import NS
from . import cgroups, landlock, levels, namespaces, seccomp, software
from .policy import View

WATCH_S = 0.2  # between two looks, where the kernel does not hold a limit itself
FULL_S = 2.0  # between two looks at every process, however still the machine is
MOST_OF_A_CORE = 0.01  # looking costs no more
STOP_S = 60.0  # on a machine that does much else
STOP_LOOK_S = 0.0002
OPEN_FILES = 65536
LEAST_AVAILABLE = 0.02  # of the machine's memory; below it, a tree is too big
WALK_ENTRIES = 200_000
OWN_HOME_CHARACTERS = 10  # 40 bits
KERNEL_SLACK = 4  # times the number of processes: where the kernel only refuses, and it is we who name the limit


@dataclass(frozen=True, slots=True)
class FullLook:
    """What was in use at a look at every process: by the tree, and by the machine."""

    at_ns: int
    threads: int
    memory_bytes: int
    machine_threads: int
    available_bytes: int


class ProcessTree:
    """Starts, watches and kills what runs at one level with one view."""

    def __init__(self, level: str, view: View) -> None:
        """Raises RunFailure when the sandbox cannot be made."""
        self.level, self.limits = level, view.limits.within_this_machine()
        self.view, self._python = view, ""  # the interpreter in place of the one that is asked for
        if level != "namespaces":
            self.view = replace(view, home=_own_home(view.home))
        if level == "landlock" and view.packages is not None:
            folder = self.view.home.with_name(f"{self.view.home.name}-python")
            self._python = str(software.make_environment(folder, view.python, view.packages))
            self.view = replace(self.view, readable=(*view.readable, folder))
        self.strangers: set[int] = set()  # other children of ours, not of this tree
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: set[int] = set()
        self._next_look_ns = 0
        self._full: FullLook | None = None
        self._group = cgroups.ControlGroups(self.limits)
        self._fds: list[int] = []
        try:
            self._filter, self._ruleset = self._prepare()
        except OSError as error:
            self.close()
            raise RunFailure(Status.SANDBOX_FAILED, f"the {level} sandbox cannot be made: {error.strerror}") from error
        self._free_bytes = self._free_now()

    def _prepare(self) -> tuple[int | None, int | None]:
        if self.level == "namespaces":
            self._fds.append(seccomp.to_file(self._calls(only_streams=False)))
            return self._fds[0], None
        if self.level == "landlock":
            self._fds.append(landlock.make_ruleset(self.view))
            return None, self._fds[0]
        return None, None

    def start(self, argv: list[str], *, pass_fds: Collection[int] = ()) -> subprocess.Popen[bytes]:
        """Start argv inside, with its output on a pipe. Raises OSError when its file cannot be run."""
        gate = self._gate()
        if self._python:
            asked = str(self.view.python or sys.executable)
            argv = [self._python if part == asked else part for part in argv]
        argv, environment = levels.command(self.level, self.view, argv, self._filter, gate)
        if self._python:
            environment["PATH"] = f"{os.path.dirname(self._python)}:{environment['PATH'].partition(':')[2]}"
        fds = (*pass_fds, *(() if self._filter is None else (self._filter,)), *(() if gate is None else gate.fds))
        nothing, end = os.pipe()  # not /dev/null: what its owner notes on it, everybody sees
        os.close(end)
        try:
            with interrupts.deferred():
                self._process = subprocess.Popen(
                    argv, env=environment, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    pass_fds=fds, cwd=self.view.home, start_new_session=True, preexec_fn=self._enter,
                )  # fmt: skip
        except subprocess.SubprocessError as error:
            raise RunFailure(Status.SANDBOX_FAILED, f"the {self.level} sandbox cannot be entered: {error}") from error
        finally:
            os.close(nothing)
        if gate is not None:
            gate.let_through()
        return self._process

    def _gate(self) -> namespaces.Gate | None:
        if self.level != "namespaces" or "pids" in self._group.controls or not namespaces.can_hold_processes():
            return None
        return namespaces.Gate(KERNEL_SLACK * self.limits.processes)

    def _enter(self) -> None:
        """In the child, before its program starts: what holds for it holds for all it will ever start."""
        processes.die_with_parent()
        self._group.enter()
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # the kernel takes the tree before its referee
        for name, most in self._bounds().items():
            hard = resource.getrlimit(name)[1]
            value = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(name, (value, value))
        if self._ruleset is not None:
            landlock.enter(self._ruleset, self._calls(only_streams=True))

    def _calls(self, *, only_streams: bool) -> bytes:
        """The filter of system calls."""
        view = self.view
        return seccomp.program(evaluator=view.evaluator, pinned=view.pinned, only_streams=only_streams)

    def _bounds(self) -> dict[int, int]:
        """Limits of each process. Never RLIMIT_AS: CUDA reserves far more addresses than memory."""
        bounds = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_FSIZE: self.limits.memory_bytes,
            resource.RLIMIT_RTPRIO: 0,
        }
        if os.geteuid() != 0 and "pids" not in self._group.controls:
            # it counts all of this user's threads, and those outside may become more while the tree runs
            bounds[resource.RLIMIT_NPROC] = _user_threads() + KERNEL_SLACK * self.limits.processes
        return bounds

    @property
    def watch_s(self) -> float:
        """How long until watch() has something to look at."""
        return max(0.0, (self._next_look_ns - clock.now_ns()) / NS)

    def watch(self) -> None:
        """Raises RunFailure when a limit is passed that the kernel does not hold by itself. Often free of cost."""
        if self._process is None or clock.now_ns() < self._next_look_ns:
            return
        started_ns = time.thread_time_ns()  # not the time on the wall: a bomb must not make us look away
        self._look()
        spent_ns = time.thread_time_ns() - started_ns
        self._next_look_ns = clock.now_ns() + max(int(WATCH_S * NS), int(spent_ns / MOST_OF_A_CORE))

    def _look(self) -> None:
        if (refused := self._refused()) is not None:
            raise refused
        if not self._is_still():
            self._look_at_processes()
        if self.level != "namespaces" or self.view.writable:
            self._look_at_files()

    def _is_still(self) -> bool:
        """Whether the whole machine took less since the last full look than the tree may still take.

        Two files of /proc instead of all: a look at every process takes a millisecond of a core that a rank wants.
        Somebody else's letting go can hide what the tree takes, for FULL_S.
        """
        if {"pids", "memory"} <= self._group.controls:
            return True
        full = self._full
        if full is None or clock.now_ns() - full.at_ns > FULL_S * NS:
            return False
        available, installed = _machine_memory()
        threads = full.threads + _machine_threads() - full.machine_threads
        memory_bytes = full.memory_bytes + full.available_bytes - available
        enough = available >= LEAST_AVAILABLE * installed
        return enough and threads <= self.limits.processes and memory_bytes <= self.limits.memory_bytes

    def _look_at_processes(self) -> None:
        at_ns, machine_threads, (available, installed) = clock.now_ns(), _machine_threads(), _machine_memory()
        members = self._members()
        count = 0 if "pids" in self._group.controls else sum(processes.threads(pid) for pid in members)
        if count > self.limits.processes:
            raise self._over(Status.PROCESS_LIMIT, f"{count:,} processes and threads")
        used = 0 if "memory" in self._group.controls else self._memory_bytes(members, available, installed)
        self._full = FullLook(at_ns, count, used, machine_threads, available)

    def _members(self) -> set[int]:
        """Host pids of the tree."""
        assert self._process is not None
        if found := self._group.members():
            return found
        if self.level == "namespaces":
            return {self._process.pid} | processes.tree(self._process.pid)
        return processes.descendants(self.strangers)

    def _memory_bytes(self, members: set[int], available: int, installed: int) -> int:
        """Memory in use, at most a limit's worth; shared pages count once only where that matters."""
        files = self._file_bytes(members)
        used = files + sum(processes.memory_bytes(pid, False) for pid in members)
        if used <= self.limits.memory_bytes:
            if available >= LEAST_AVAILABLE * installed:
                return used
            raise self._over(Status.MEMORY_LIMIT, f"only {available:,} bytes of this machine's memory left")
        exact = files + sum(processes.memory_bytes(pid, True) for pid in members)
        if exact > self.limits.memory_bytes:
            raise self._over(Status.MEMORY_LIMIT, f"{exact:,} bytes in use")
        return exact

    def _file_bytes(self, members: set[int]) -> int:
        """What lies in the memory file systems of a mount namespace."""
        if self.level != "namespaces" or self._process is None:
            return 0
        roots = (f"/proc/{pid}/root" for pid in sorted(members - {self._process.pid}))  # bubblewrap stays outside
        root = next((root for root in roots if os.path.exists(root)), None)  # a zombie has none
        if root is None:
            return 0
        used = 0
        for place in (self.view.home, "/tmp", "/dev/shm"):  # noqa: S108 - theirs, not ours
            with suppress(OSError):
                status = os.statvfs(f"{root}{place}")
                if status.f_blocks * status.f_frsize <= self.limits.scratch_bytes + processes.PAGE_BYTES:
                    used += (status.f_blocks - status.f_bfree) * status.f_frsize
        return used

    def _look_at_files(self) -> None:
        """Where home is a folder on a disk: cheap when the disk is no fuller than before."""
        if self._free_bytes - self._free_now() <= self.limits.scratch_bytes:
            return
        found = sum(_folder_bytes(place) for place in (self.view.home, *self.view.writable))
        if found > self.limits.scratch_bytes:
            raise self._over(Status.SCRATCH_LIMIT, f"{found:,} bytes in its folder for files")

    def _free_now(self) -> int:
        return sum(_free_bytes(place) for place in (self.view.home, *self.view.writable))

    def _over(self, status: Status, found: str) -> RunFailure:
        most = {
            Status.MEMORY_LIMIT: f"{self.limits.memory_bytes:,} bytes of memory",
            Status.PROCESS_LIMIT: f"{self.limits.processes:,} processes and threads",
            Status.SCRATCH_LIMIT: f"{self.limits.scratch_bytes:,} bytes of files",
        }
        return RunFailure(status, f"expected at most {most[status]}, found {found}")

    def explain(self, failure: RunFailure) -> RunFailure:
        """The same failure, or the limit that was run into before it and may well be its cause."""
        return self._passed() or failure

    def _passed(self) -> RunFailure | None:
        """A limit that is passed now: who fails at what the kernel refused can be faster than our looking."""
        try:
            if self._process is not None:
                self._full = None
                self._look()
        except RunFailure as failure:
            return failure
        return None

    def _refused(self) -> RunFailure | None:
        refused = self._group.refused()
        if "memory" in refused:
            return self._over(Status.MEMORY_LIMIT, "that more was asked for")
        return self._over(Status.PROCESS_LIMIT, "that more were asked for") if "pids" in refused else None

    def cpu_ns(self) -> int | None:
        """Processor time of the whole tree since its start, the dead included; None where the kernel keeps no account.

        It is the control group's. Times of processes, added up, would not do: a child whose parent ignores SIGCHLD,
        or one that lives between two looks, leaves nothing behind in them.
        """
        return self._group.cpu_ns()

    def stop(self) -> None:
        """Stop every process of the tree that can be named, and all they start meanwhile; returns when none runs.

        Raises RunFailure when they cannot be stopped.
        """
        if self._process is None:
            return
        self._stopped = processes.stop_all(self._members)
        deadline_ns = clock.now_ns() + int(STOP_S * NS)
        while not processes.are_still(self._stopped):
            if clock.now_ns() > deadline_ns:
                raise RunFailure(Status.EVALUATOR_FAILED, f"expected to stop within {STOP_S:g} s, found it running")
            time.sleep(STOP_LOOK_S)

    def go_on(self) -> None:
        """Let those go on that were stopped, but for those that have left the tree: whose they are nobody can tell."""
        if self._process is not None and self._stopped:
            own = {self._process.pid} | processes.tree(self._process.pid)
            processes.signal_all(self._stopped & own, signal.SIGCONT)
            self._stopped = set()

    def kill(self) -> None:
        """Kill every process of the tree that can be named; processes.kill_children() takes what was detached."""
        if self._process is not None and self.level == "namespaces":
            processes.kill_all([self._process.pid])  # and with it its pid namespace
        self._group.kill()

    def close(self) -> None:
        """Give descriptors and groups back, after the last process is gone."""
        for descriptor in self._fds:
            os.close(descriptor)
        self._fds = []
        self._group.close()


def _own_home(folder: Path) -> Path:
    """A fresh folder for one tree: what two evaluators could both write to is a channel, and ranks run before them.

    Its name cannot be guessed: landlock lets everybody look whether a file is there. It is short all the same: below
    a long one the sockets of DataLoader workers have no room.
    """
    home = folder / secrets.token_hex(OWN_HOME_CHARACTERS // 2)
    home.mkdir(parents=True)
    return home


def _free_bytes(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def _folder_bytes(folder: Path) -> int:
    """Space taken below a folder; a folder of very many entries counts as too big."""
    total, entries, deadline = 0, 0, time.thread_time() + 1  # not on the wall: others' work must not make it too big
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
        entries += len(names) + 1
        if entries > WALK_ENTRIES or time.thread_time() > deadline:
            return 2**62
    return total


def _machine_memory() -> tuple[int, int]:
    """Bytes available and installed."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[:8]}
    return found["MemAvailable"], found["MemTotal"]


def _machine_threads() -> int:
    """Processes and threads of the whole machine."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def _user_threads() -> int:
    """Threads of this user on this machine."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == os.getuid():
                    total += processes.threads(int(name))
    return total
