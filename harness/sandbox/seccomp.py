"""The system calls a submission may not make: a BPF filter, assembled here.

Every child inherits it. Where the cores are the track's, none may choose others, or put itself before the referee
(libraries for GPUs pin their threads, so elsewhere they may). Two filters. RANK closes what leads out of a sandbox
(other socket families: a network namespace does not cut AF_VSOCK), outlives a run (System V's memory, queues and
semaphores, POSIX queues) or has no place in training and a history of holes in the kernel. EVALUATOR also closes what
two evaluators could signal each other with: locks, leases and change notices of files both may read, looking at and
asking for their pages in memory (reading a page and timing it stays), times and modes of files (of /dev/null, which is
the machine's at every level), names of threads, and, without namespaces, the loopback network and whatever else the
owner of a file may note on it though it can only be read. Locks, notes and wishes about pages are answered with "done"
and not carried out: torch's caches wait for ever on a lock that is refused, and a loader that says how it will read
goes on reading.

The kernel's rules: docs.kernel.org/userspace-api/seccomp_filter.html. x86_64 and aarch64 are known here.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass, field

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; an argument has 8 bytes, low half first
_X32 = 0x40000000  # the other table of x86_64, with other numbers: shut
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2

# name: number on x86_64, on aarch64
_DENIED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    # reach into another process
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),  # keyrings outlive a run
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "syslog": (103, 116),
    # look into the kernel, or hold it up
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),  # rearrange the view
    "unshare": (272, 97), "setns": (308, 268),  # new namespaces: capabilities in them
}  # fmt: skip
_ABSENT = {  # answered with ENOSYS, so that callers take the older way
    "clone3": (435, 435),  # its flags cannot be read by a filter; clone's can
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),  # goes round filters
}  # fmt: skip
_OUTLIVES = {  # answered with ENOSYS: outside an IPC namespace it stays for the next run, and for the other evaluator
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "shmdt": (67, 197),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgctl": (71, 187), "msgrcv": (70, 188), "msgsnd": (69, 189),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
}  # fmt: skip
_SCHEDULING = {  # which cores, before whom
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "setpriority": (141, 140), "ioprio_set": (251, 30),
}  # fmt: skip
_PRETENDED_TO_EVALUATORS = {  # answered with "done": what brings a file's pages into memory or drops them
    "flock": (73, 32), "fadvise64": (221, 223), "readahead": (187, 213), "sync_file_range": (277, 84),
}  # fmt: skip
_ABSENT_TO_EVALUATORS = {
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262),  # who opened a shared file
    "mincore": (27, 232), "cachestat": (451, 451), "preadv2": (327, 286),  # which pages of it are in memory
    "process_madvise": (440, 440),
}  # fmt: skip
_NOTES_ON_FILES = {  # answered with "done": what others see of a file; /dev/null is the machine's at every level
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
_ABSENT_ON_A_SHARED_DISK = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469), "statfs": (137, 43), "fstatfs": (138, 44), "ustat": (136, None),  # how full it is
}  # fmt: skip
_SOCKET, _SOCKETPAIR, _CLONE, _FCNTL, _MADVISE, _PRCTL, _IOCTL = (
    (41, 198),
    (53, 199),
    (56, 220),
    (72, 25),
    (28, 233),
    (157, 167),
    (16, 29),
)
_OF_FILE_SYSTEMS = (0x6600, 0x5800, 0x7600)  # the types of ioctls that mark a file: FS_IOC_SETFLAGS, FSSETXATTR, ...
_PAGE_WISHES = (3, 20, 21, 22, 23, 25)  # MADV_ WILLNEED, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE, COLLAPSE
_PR_SET_NAME = 15
_FAMILIES = {"UNIX": 1, "INET": 2, "INET6": 10, "NETLINK": 16}
_STREAM = 1
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*: mount, cgroup, uts, ipc, user, pid, net
_FCNTL_PLAIN = (0, 1, 2, 3, 4, 1030, 1033, 1034)  # duplicate, flags, seals
_FCNTL_LOCKS = (6, 7, 37, 38)  # set a lock, of a process or of an open file


@dataclass(slots=True)
class _Program:
    """Instructions as they are appended; every test returns at once, so no jump is longer than a few."""

    machine: int  # index into the tables
    code: list[tuple[int, int, int, int]] = field(default_factory=list)  # opcode, jump if true, if false, constant

    def add(self, opcode: int, constant: int, yes: int = 0, no: int = 0) -> None:
        self.code.append((opcode, yes, no, constant))

    def refuse(self, numbers: tuple[int | None, int | None], error: int) -> None:
        """Answer a system call with an error, 0 for a success that did nothing."""
        number = numbers[self.machine]
        if number is not None:
            self.add(_JUMP_EQUAL, number, 0, 1)
            self.add(_RETURN, _ERRNO | error)

    def block(self, numbers: tuple[int, int], body: "_Program") -> None:
        """Run the body for one system call; it must end in a return."""
        self.add(_JUMP_EQUAL, numbers[self.machine], 0, len(body.code))
        self.code += body.code

    def to_bytes(self) -> bytes:
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in self.code)


def program(
    *, evaluator: bool = False, pinned: bool = False, only_streams: bool = False, machine: str | None = None
) -> bytes:
    """The filter as an array of struct sock_filter.

    evaluator: also what two evaluators could meet through; pinned: cores and priority stay what they are;
    only_streams: no UDP and no raw sockets, and none but UNIX for evaluators, for where no network namespace cuts
    them. Raises KeyError on a machine whose numbers are not known.
    """
    name = platform.machine() if machine is None else machine
    result = _Program(list(_ARCHITECTURES).index(name) if name in _ARCHITECTURES else _unknown(name))
    result.add(_LOAD, _ARCHITECTURE)
    result.add(_JUMP_EQUAL, _ARCHITECTURES[name], 1, 0)
    result.add(_RETURN, _KILL)  # 32-bit calls have other numbers
    result.add(_LOAD, _NUMBER)
    if name == "x86_64":
        result.add(_JUMP_AT_LEAST, _X32, 0, 1)
        result.add(_RETURN, _ERRNO | errno.ENOSYS)
    for denied in (*_DENIED.values(), *(_SCHEDULING.values() if pinned else ())):
        result.refuse(denied, errno.EPERM)
    absent: list[tuple[int | None, int | None]] = [*_ABSENT.values()]
    for numbers in absent + ([*_ABSENT_TO_EVALUATORS.values()] if evaluator else []):
        result.refuse(numbers, errno.ENOSYS)
    for outliving in _OUTLIVES.values():
        result.refuse(outliving, errno.ENOSYS)
    result.block(_CLONE, _clone(result.machine))
    for call in (_SOCKET, _SOCKETPAIR):
        result.block(call, _socket(result.machine, only_streams, evaluator))
    if evaluator and only_streams:
        _close_the_disk(result)
    if evaluator:
        for pretended in (*_PRETENDED_TO_EVALUATORS.values(), *_NOTES_ON_FILES.values()):
            result.refuse(pretended, 0)
        result.block(_FCNTL, _fcntl(result.machine))
        result.block(_MADVISE, _pretend(result.machine, argument=2, values=_PAGE_WISHES))
        result.block(_PRCTL, _pretend(result.machine, argument=0, values=(_PR_SET_NAME,)))
    result.add(_RETURN, _ALLOW)
    return result.to_bytes()


def _close_the_disk(result: _Program) -> None:
    """Without a mount namespace nothing is mounted read-only: an owner may mark files for others to see."""
    for absent in _ABSENT_ON_A_SHARED_DISK.values():
        result.refuse(absent, errno.ENOSYS)
    result.block(_IOCTL, _ioctl(result.machine))


def _unknown(name: str) -> int:
    raise KeyError(f"no table of system calls for {name}")


def _clone(machine: int) -> _Program:
    body = _Program(machine)
    body.add(_LOAD, _ARGUMENTS)
    body.add(_JUMP_ANY_BIT, _NEW_NAMESPACES, 0, 1)
    body.add(_RETURN, _ERRNO | errno.EPERM)
    body.add(_RETURN, _ALLOW)
    return body


def _socket(machine: int, only_streams: bool, evaluator: bool) -> _Program:
    body = _Program(machine)
    body.add(_LOAD, _ARGUMENTS)
    if only_streams and evaluator:  # the loopback network and netlink's messages are the other evaluator's too
        body.add(_JUMP_EQUAL, _FAMILIES["UNIX"], 0, 1)
        body.add(_RETURN, _ALLOW)
    elif only_streams:
        for family in ("UNIX", "NETLINK"):
            body.add(_JUMP_EQUAL, _FAMILIES[family], 0, 1)
            body.add(_RETURN, _ALLOW)
        for family in ("INET", "INET6"):
            body.add(_JUMP_EQUAL, _FAMILIES[family], 0, 5)
            body.add(_LOAD, _ARGUMENTS + 8)
            body.add(_AND, 0xF)  # without SOCK_CLOEXEC and SOCK_NONBLOCK
            body.add(_JUMP_EQUAL, _STREAM, 0, 1)
            body.add(_RETURN, _ALLOW)
            body.add(_RETURN, _ERRNO | errno.EACCES)
    else:
        for number in _FAMILIES.values():
            body.add(_JUMP_EQUAL, number, 0, 1)
            body.add(_RETURN, _ALLOW)
    body.add(_RETURN, _ERRNO | errno.EAFNOSUPPORT)
    return body


def _pretend(machine: int, *, argument: int, values: tuple[int, ...]) -> _Program:
    """Answer "done" where an argument has one of these values, and do nothing; let the others through."""
    body = _Program(machine)
    body.add(_LOAD, _ARGUMENTS + 8 * argument)
    for value in values:
        body.add(_JUMP_EQUAL, value, 0, 1)
        body.add(_RETURN, _ERRNO | 0)
    body.add(_RETURN, _ALLOW)
    return body


def _fcntl(machine: int) -> _Program:
    body = _Program(machine)
    body.add(_LOAD, _ARGUMENTS + 8)
    for command in _FCNTL_PLAIN:
        body.add(_JUMP_EQUAL, command, 0, 1)
        body.add(_RETURN, _ALLOW)
    for command in _FCNTL_LOCKS:
        body.add(_JUMP_EQUAL, command, 0, 1)
        body.add(_RETURN, _ERRNO | 0)
    body.add(_RETURN, _ERRNO | errno.EINVAL)  # leases, directory notices, owners of signals, sizes of pipes
    return body


def _ioctl(machine: int) -> _Program:
    body = _Program(machine)
    body.add(_LOAD, _ARGUMENTS + 8)
    body.add(_AND, 0xFF00)
    for kind in _OF_FILE_SYSTEMS:
        body.add(_JUMP_EQUAL, kind, 0, 1)
        body.add(_RETURN, _ERRNO | errno.ENOTTY)
    body.add(_RETURN, _ALLOW)
    return body


def is_known() -> bool:
    """Whether this machine's system calls are in the tables here."""
    return platform.machine() in _ARCHITECTURES


def to_file(filter_: bytes) -> int:
    """A descriptor bubblewrap can read a filter from."""
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, filter_)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def apply(filter_: bytes) -> None:
    """Hold this thread and all it starts to a filter, for ever. Raises OSError where the kernel refuses."""

    class Fprog(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(filter_, len(filter_))
    argument = Fprog(len(filter_) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(argument), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp filter refused")
