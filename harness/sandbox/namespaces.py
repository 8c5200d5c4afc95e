"""Sandbox level `namespaces`: bubblewrap makes a submission a machine of its own."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..system import scratch
from . import mounts, seccomp, software
from .policy import View

OWN_KERNEL = "kernel"  # likewise: what of /proc counts for the whole machine, as it stood before the evaluator began
KEPT_OF_PROC = frozenset(
    {"self", "thread-self", "mounts", "net", "sys", "cpuinfo", "filesystems", "version", "cmdline", "crypto"}
)  # the process's own, and what stays as it is
KEPT_WITH_CUDA = frozenset({"driver", "devices", "modules", "misc", "iomem"})
READ_BY_LIBRARIES = ("stat", "meminfo", "loadavg", "uptime", "vmstat", "swaps", "partitions", "devices", "cgroups")
COUNTERS_OF_SYS = ("fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/dentry-state", "fs/aio-nr", "kernel/ns_last_pid",
                   "kernel/random/entropy_avail", "kernel/pty/nr", "fs/quota", "vm/stat_refresh")  # fmt: skip
CUDA_SERVICES = ("/sys", "/run/nvidia-persistenced")
OWN_BUBBLEWRAP = "bwrap"  # in a view's own files
NEW_USER, NEW_PID = 0x10000000, 0x20000000  # CLONE_*
FIRST_OWN_PID_MAX = (6, 14)  # Linux
LEAST_PID_MAX = 301  # the kernel keeps 300 for itself
_libc = ctypes.CDLL(None, use_errno=True)


def can_hold_processes() -> bool:
    """Whether each pid namespace has a pid_max of its own here; before Linux 6.14 there is one for the machine."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return version is not None and (int(version[1]), int(version[2])) >= FIRST_OWN_PID_MAX


class Gate:
    """bubblewrap waits at it until its pid namespace has been given its own `kernel.pid_max`."""

    def __init__(self, processes: int) -> None:
        self._most = max(processes, LEAST_PID_MAX)
        self._told_out, self.told_in = os.pipe()
        self.open_out, self._open_in = os.pipe()

    @property
    def fds(self) -> tuple[int, int]:
        return self.told_in, self.open_out

    def let_through(self) -> None:
        """Once bubblewrap runs. Without a word from it, it has failed and ends by itself."""
        for descriptor in self.fds:
            os.close(descriptor)
        told = b""
        while chunk := os.read(self._told_out, 4096):
            told += chunk
        with suppress(OSError, ValueError, KeyError):
            self._hold(os.pidfd_open(json.loads(told)["child-pid"]))
        os.write(self._open_in, b"1")
        os.close(self._told_out)
        os.close(self._open_in)

    def _hold(self, pidfd: int) -> None:
        """Write pid_max from inside the namespace, by a grandchild of ours that enters it from outside."""
        helper = os.fork()
        if helper == 0:
            try:
                if _libc.setns(pidfd, NEW_USER | NEW_PID) == 0 and os.fork() == 0:
                    Path("/proc/sys/kernel/pid_max").write_text(str(self._most))
                else:
                    os.wait()
            finally:
                os._exit(0)
        os.waitpid(helper, 0)
        os.close(pidfd)


def command(view: View, argv: list[str], filter_fd: int | None, gate: Gate | None = None) -> list[str]:
    """bubblewrap and argv behind it. filter_fd: where it finds a compiled seccomp filter; gate: where it waits."""
    own = view.own and view.own / OWN_BUBBLEWRAP
    program = str(own) if own and own.exists() else _bubblewrap()
    arguments = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    arguments += ["--hostname", "localhost", "--proc", "/proc", "--dev", "/dev"]
    if filter_fd is not None:
        arguments += ["--seccomp", str(filter_fd)]
    if gate is not None:
        arguments += ["--info-fd", str(gate.told_in), "--block-fd", str(gate.open_out)]
    if view.cuda:
        arguments += _cuda_devices()
    size = str(view.limits.scratch_bytes)
    for place in ("/dev/shm", "/tmp"):  # noqa: S108 - inside, fresh ones
        arguments += ["--size", size, "--tmpfs", place]
    arguments += _software(view)
    if view.own is not None:
        arguments += _counters(view.own / OWN_KERNEL, view.cuda)
    for path in view.hidden:
        arguments += mounts.empty_folder(str(path))
    arguments += ["--size", size, "--tmpfs", str(view.home)]
    for path in view.readable:
        arguments += ["--ro-bind", f"{view.own or ''}{path}", str(path)]
    for path in view.writable:
        arguments += ["--bind", str(path), str(path)]
    for folder in (*map(str, view.hidden), "/"):
        arguments += ["--remount-ro", folder]
    return [*arguments, "--chdir", str(view.home), "--", *argv]


def _software(view: View) -> list[str]:
    """What shows the system, the interpreter and its packages: the machine's files, or a copy of them."""
    etc = [f"/etc/{name}" for name in software.ETC]
    if view.software is None:
        arguments = [*mounts.of_software(view.python, view.packages)]
        for path in software.CUDA if view.cuda else ():
            arguments += ["--ro-bind-try", path, path]
    else:
        others = (*view.hidden, *view.readable, *view.writable, view.home, *etc, "/dev", "/proc", "/tmp")  # noqa: S108
        arguments = _mounts(view.software, map(str, others))
    for path in etc:
        arguments += ["--ro-bind-try", f"{view.own or ''}{path}", path]
    return arguments


def _mounts(root: Path, others: Iterable[str]) -> list[str]:
    """Arguments for bubblewrap that show a copy where its originals lie, by as few mounts as can be.

    others: paths at which something else will be mounted; the folders around them are not the copy's.
    """
    around = {str(parent) for path in others for parent in (Path(path), *Path(path).parents)}
    return list(_shown(str(root), "", around))


def _shown(root: str, folder: str, around: set[str]) -> Iterator[str]:
    for entry in sorted(os.scandir(root + folder), key=lambda entry: entry.name):
        path = f"{folder}/{entry.name}"
        if entry.is_symlink():
            yield from ("--symlink", os.readlink(entry.path), path)
        elif entry.is_dir() and path in around:
            yield from ("--dir", path)
            yield from _shown(root, path, around)
        else:
            yield from ("--ro-bind", entry.path, path)


def _counters(own: Path, cuda: bool) -> list[str]:
    """What covers the kernel's counters of the whole machine: one evaluator moves them, and the other would see it."""
    arguments: list[str] = []
    kept = KEPT_OF_PROC | (KEPT_WITH_CUDA if cuda else frozenset())
    names = [name for name in sorted(os.listdir("/proc")) if not name.isdigit() and name not in kept]
    for name in (*names, *(f"sys/{name}" for name in COUNTERS_OF_SYS)):
        path, snapshot = f"/proc/{name}", own / name
        if os.path.isdir(path):
            arguments += mounts.empty_folder(path)
        elif os.path.exists(path):
            arguments += ["--ro-bind", str(snapshot if snapshot.exists() else own / "nothing"), path]
    return arguments


def _cuda_devices() -> list[str]:
    arguments: list[str] = []
    for device in sorted(Path("/dev").glob("nvidia*")):
        arguments += ["--dev-bind", str(device), str(device)]
    for path in CUDA_SERVICES:
        arguments += ["--ro-bind-try", path, path]
    return arguments


def own_files(view: View) -> Path:
    """A folder of copies, at their own paths, of the few small files that change from run to run or day to day."""
    folder = scratch.make_scratch(view.home.parent)
    for path in (*view.readable, *(Path("/etc") / name for name in software.ETC)):
        target = folder / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True)
        elif path.exists():
            shutil.copy2(path, target)
    _copy_bubblewrap(folder)
    _copy_counters(folder)
    return folder


def _copy_bubblewrap(folder: Path) -> None:
    """The program that makes a sandbox stays inside as process 1 and can be read there: one for each evaluator.

    None where a copy may make no namespaces: some systems let only the program at its own place do so.
    """
    copy = folder / OWN_BUBBLEWRAP
    shutil.copy(_bubblewrap(), copy)
    argv = [str(copy), "--unshare-all", "--ro-bind", "/", "/", "true"]
    if subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode:
        copy.unlink()


def _bubblewrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def lacking() -> str | None:
    """Why bubblewrap cannot make every namespace here, take a filter and start this interpreter inside; None if it can.

    Half a sentence, in its own words where it has any.
    """
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (no bwrap on PATH)"
    if not seccomp.is_known():
        return f"no filter of system calls is known for {os.uname().machine}"
    view = View(packages=(), readable=(), home=Path("/tmp/speedrun-home"))  # noqa: S108 - a mount point inside, never made outside
    descriptor = seccomp.to_file(seccomp.program())
    argv = command(view, [sys.executable, "-I", "-S", "-c", "pass"], descriptor)
    try:
        done = subprocess.run(
            argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False, pass_fds=(descriptor,)
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap cannot be started: {error}"
    finally:
        os.close(descriptor)
    if done.returncode == 0:
        return None
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    return f"bubblewrap cannot make its namespaces here ({last[0].removeprefix('bwrap: ')})"


def _copy_counters(folder: Path) -> None:
    """The kernel's counters as they are now, for libraries that read them; the others are shown empty."""
    own = folder / OWN_KERNEL
    own.mkdir()
    (own / "nothing").touch()
    for name in READ_BY_LIBRARIES:
        with suppress(OSError):
            (own / name).write_bytes(Path("/proc", name).read_bytes())
