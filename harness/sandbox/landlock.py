"""Sandbox level `landlock`: file rules a process takes on itself, without namespaces.

No network namespace, so the network is narrowed instead: no UDP and no raw sockets (seccomp), TCP to and from ports
of the ephemeral range only (ABI 4), where torchrun and gloo live; abstract Unix sockets and signals stay within
the sandbox (ABI 6). Landlock does not hide names: `stat`, and `readlink` outside what may be listed, still answer.
/dev/shm is the machine's and stays shut but for CUDA, and with it queues and locks of multiprocessing. Evaluators see
nobody's process but their own, and no socket family but UNIX.

System calls by number, equal on x86_64 and aarch64; docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from . import namespaces, seccomp, software
from .policy import View

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _PATH_BENEATH, _NET_PORT = 1, 1, 2
READ, READ_DIR, EXECUTE, WRITE, TRUNCATE, IOCTL = 1 << 2, 1 << 3, 1 << 0, 1 << 1, 1 << 14, 1 << 15
_FILE_RIGHTS = READ | EXECUTE | WRITE | TRUNCATE | IOCTL  # the only ones a rule on a file may carry
_LAST_RIGHT = {1: 12, 2: 13, 3: 14, 4: 14}  # bit of the newest file right per ABI; 15 from ABI 5
_SCOPES = 3  # abstract Unix sockets, signals
LEAST_ABI = 3  # without "truncate" a read-only file can be emptied
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PCI = Path("/sys/bus/pci/devices")  # gloo looks for the network's cards there, and gives up where it may not look
PROC = [Path("/proc") / name for name in ("cpuinfo", "meminfo", "filesystems", "version", "sys/vm/overcommit_memory")]
OWN_PROC = ("auxv", "cgroup", "cmdline", "exe", "fd", "fdinfo", "limits", "maps", "mountinfo", "mounts", "smaps",
            "stat", "statm", "status")  # fmt: skip
"""What an evaluator may read of /proc, and of its own process there. What others call their threads and sockets is a
channel (`comm`, `net/unix`, both again in `task`), and `pagemap` tells which pages of a shared file are in memory."""
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PR_SET_SECUREBITS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 28, 24, 38
_NO_ROOT_POWERS = 0b1111  # SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP, both locked
_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The version of landlock here, 0 where the kernel has none or does not use it."""
    return max(0, int(_libc.syscall(_CREATE, None, 0, _VERSION)))


def lacking() -> str | None:
    """Why the level is not available here, in half a sentence; None if it is."""
    if not seccomp.is_known():
        return "no table of this machine's system calls"
    found = abi()
    if not found:
        return "no landlock in this kernel"
    return None if found >= LEAST_ABI else f"landlock ABI {found}, and {LEAST_ABI} is the first that can protect files"


def file_rights(version: int) -> int:
    """Every file right an ABI knows; what a ruleset handles, it denies unless a rule allows."""
    return (1 << (_LAST_RIGHT.get(version, 15) + 1)) - 1


def rules(view: View, version: int) -> list[tuple[Path, int]]:
    """What may be done beneath which path, for a view."""
    everything = file_rights(version)
    look = READ | READ_DIR | EXECUTE
    trees, lists = _seen(software.nodes(view.python, view.packages))
    trees += [Path("/etc") / name for name in software.ETC] + (PROC if view.evaluator else [Path("/proc")])
    found = [(path, look) for tree in trees for path in _without(tree, view.hidden)]
    found += [(path, READ_DIR) for path in lists if path not in software.sites(view.python)]
    found += [(path, look) for path in view.readable]
    found += [(Path("/dev") / name, READ | WRITE | IOCTL & everything) for name in DEVICES]
    found += [(path, everything) for path in (view.home, *view.writable)]
    if not view.evaluator:
        found.append((PCI, READ_DIR))
        found += [(path, right) for c in PCI.glob("*") for path, right in ((c / "class", READ), (c / "net", READ_DIR))]
    if view.cuda:
        found += [(path, READ | WRITE | IOCTL & everything) for path in sorted(Path("/dev").glob("nvidia*"))]
        found += [(Path(name), look) for name in (*software.CUDA, *namespaces.CUDA_SERVICES)]
        found.append((Path("/dev/shm"), everything))  # noqa: S108 - NCCL's; a run could leave something there for the next
    return found


def _seen(nodes: Iterable[software.Node]) -> tuple[list[Path], list[Path]]:
    """What is shown with all below it, and folders of which a part is, which may be listed: imports look there."""
    trees: list[Path] = []
    lists: list[Path] = []
    for node in nodes:
        if node.shown:
            trees.append(Path(node.path))
        elif node.children:
            below = _seen(node.children)
            trees, lists = trees + below[0], [*lists, Path(node.path), *below[1]]
    return trees, lists


def _without(tree: Path, hidden: Iterable[Path]) -> list[Path]:
    """A tree, or its parts around hidden folders: landlock can allow a subtree but not take a part of it back."""
    resolved = [path.resolve() for path in hidden]
    if tree.resolve() in resolved:
        return []
    if tree.is_symlink() or not any(path.is_relative_to(tree) for path in resolved):
        return [tree]
    return [part for child in sorted(tree.iterdir()) for part in _without(child, resolved)]


def ephemeral_ports() -> range:
    """The ports the kernel hands out to whoever asks for any."""
    first, last = map(int, _PORTS.read_text().split())
    return range(first, last + 1)


def make_ruleset(view: View) -> int:
    """A descriptor of the rules of a view, to be entered by the child. Raises OSError."""
    version = abi()
    handled = struct.pack("=QQQ", file_rights(version), 3 if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    handled = handled[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(_libc.syscall(_CREATE, handled, len(handled), 0))
    os.set_inheritable(ruleset, False)
    for path, rights in rules(view, version):
        with suppress(FileNotFoundError):
            _allow(ruleset, path, rights)
    if version >= 4:
        for port in (0, *ephemeral_ports()):  # 0: "any", for bind
            _checked(_libc.syscall(_ADD, ruleset, _NET_PORT, struct.pack("=QQ", 3 if port else 1, port), 0))
    return ruleset


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        _checked(_libc.syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0))
    finally:
        os.close(descriptor)


def enter(ruleset: int, filter_: bytes) -> None:
    """In the child, before exec: give up every capability, then take on the rules and the filter."""
    for name in OWN_PROC:
        _allow(ruleset, Path("/proc/self") / name, READ | READ_DIR)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:
        _checked(_libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT_POWERS, 0, 0, 0))
        for capability in range(64):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        header, data = struct.pack("=Ii", 0x20080522, 0), bytes(24)
        _checked(_libc.capset(header, data))
    _checked(_libc.syscall(_RESTRICT, ruleset, 0))
    seccomp.apply(filter_)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
