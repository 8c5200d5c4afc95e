"""The filter of system calls: simulated for both machines, and taken on for real by a child."""

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox import seccomp

ROOT = Path(__file__).resolve().parents[3]
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, ENOSYS = "allowed", errno.ENOSYS


def answer(program: bytes, machine: str, number: int, *arguments: int) -> Any:
    """What a filter says to a system call, by an interpreter of the BPF it may consist of."""
    data = struct.pack("=IIQ6Q", number, ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        opcode, yes, no, constant = code[at]
        at += 1
        match opcode:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, constant)[0]
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += yes if accumulator == constant else no
            case 0x35:
                at += yes if accumulator >= constant else no
            case 0x45:
                at += yes if accumulator & constant else no
            case 0x06:
                return {0x7FFF0000: ALLOWED, 0x80000000: "killed"}.get(constant, constant & 0xFFFF)
            case _:
                raise AssertionError(f"opcode {opcode:#x}")


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("evaluator", [False, True])
def test_what_each_call_is_answered(machine: str, evaluator: bool) -> None:
    index = list(ARCHITECTURES).index(machine)
    program = seccomp.program(evaluator=evaluator, machine=machine)

    def ask(numbers: tuple[int | None, int | None], *arguments: int) -> Any:
        number = numbers[index]
        assert number is not None
        return answer(program, machine, number, *arguments)

    for call in (seccomp._SOCKET, seccomp._SOCKETPAIR):
        for family in range(64):
            assert ask(call, family, 2) == (ALLOWED if family in (1, 2, 10, 16) else errno.EAFNOSUPPORT)
    assert {ask(numbers) for numbers in seccomp._DENIED.values()} == {errno.EPERM}
    assert {ask(numbers) for numbers in seccomp._ABSENT.values()} == {ENOSYS}
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(seccomp._CLONE, flag | 17) == errno.EPERM
    assert ask(seccomp._CLONE, 0x3D0F00) == ALLOWED  # a thread
    assert {ask(numbers) for numbers in seccomp._OUTLIVES.values()} == {ENOSYS}
    for numbers in seccomp._PRETENDED_TO_EVALUATORS.values():
        assert ask(numbers, 3, 2) == (0 if evaluator else ALLOWED)
    wishes = {advice: ask(seccomp._MADVISE, 4096, 4096, advice) for advice in (0, 3, 4, 8, 12, 14, 20, 21, 22, 23, 25)}
    kept = {advice: ALLOWED for advice in (0, 4, 8, 12, 14)}  # DONTNEED and FREE are malloc's, HUGEPAGE the allocator's
    assert wishes == (dict.fromkeys(wishes, 0) | kept if evaluator else dict.fromkeys(wishes, ALLOWED))
    assert ask(seccomp._PRCTL, 15, 0) == (0 if evaluator else ALLOWED)  # a thread's name
    assert ask(seccomp._PRCTL, 1, 9) == ALLOWED
    locks = {command: ask(seccomp._FCNTL, 3, command) for command in (1, 5, 6, 1024, 1026, 1031, 1033)}
    wanted = {1: ALLOWED, 5: errno.EINVAL, 6: 0, 1024: errno.EINVAL, 1026: errno.EINVAL, 1031: errno.EINVAL,
              1033: ALLOWED}  # fmt: skip
    assert locks == (wanted if evaluator else dict.fromkeys(locks, ALLOWED))
    mincore = ask(seccomp._ABSENT_TO_EVALUATORS["mincore"])
    assert mincore == (ENOSYS if evaluator else ALLOWED)
    plain = [(0, 63), (1, 64), (3, 57), (60, 93), (9, 222)]  # read, write, close, exit, mmap
    assert {ask(numbers) for numbers in plain} == {ALLOWED}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_cores_and_priority_stay_where_they_are_the_tracks(machine: str) -> None:
    index = list(ARCHITECTURES).index(machine)
    for pinned, expected in ((True, errno.EPERM), (False, ALLOWED)):
        program = seccomp.program(pinned=pinned, machine=machine)
        numbers = [numbers[index] for numbers in seccomp._SCHEDULING.values()]
        assert {answer(program, machine, number, 0, 0) for number in numbers} == {expected}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_streams_only(machine: str) -> None:
    program = seccomp.program(only_streams=True, machine=machine)
    number = seccomp._SOCKET[list(ARCHITECTURES).index(machine)]
    for family in (2, 10):
        for flags in (0, 0x80000, 0x800):
            assert answer(program, machine, number, family, 1 | flags) == ALLOWED
            assert answer(program, machine, number, family, 2 | flags) == errno.EACCES
            assert answer(program, machine, number, family, 3 | flags) == errno.EACCES
    assert answer(program, machine, number, 1, 2) == ALLOWED
    assert answer(program, machine, number, 40, 1) == errno.EAFNOSUPPORT
    alone = seccomp.program(only_streams=True, evaluator=True, machine=machine)
    families = [family for family in range(64) if answer(alone, machine, number, family, 1) == ALLOWED]
    assert families == [1]
    rank, walled = program, seccomp.program(evaluator=True, machine=machine)
    index = list(ARCHITECTURES).index(machine)
    for table, expected in ((seccomp._NOTES_ON_FILES, 0), (seccomp._ABSENT_ON_A_SHARED_DISK, ENOSYS)):
        for known in filter(None, (numbers[index] for numbers in table.values())):
            assert answer(alone, machine, known, 3, 0o700) == expected
            assert answer(rank, machine, known, 3, 0o700) == ALLOWED
            assert answer(walled, machine, known, 3, 0o700) == (0 if expected == 0 else ALLOWED)
    for command, expected in ((0x40086602, errno.ENOTTY), (0x401C5820, errno.ENOTTY), (0x5401, ALLOWED)):
        assert answer(alone, machine, seccomp._IOCTL[index], 3, command) == expected


def test_the_other_tables_of_a_machine_are_shut() -> None:
    program = seccomp.program(machine="x86_64")
    assert answer(program, "aarch64", 0) == "killed"  # a call by another architecture, as 32-bit code makes
    assert answer(program, "x86_64", 0x40000000 | 41, 40, 1) == ENOSYS  # x32
    with pytest.raises(KeyError, match="riscv64"):
        seccomp.program(machine="riscv64")


TRY = """
import ctypes, fcntl, json, mmap, os, socket, sys, tempfile, threading
from harness.sandbox import seccomp
libc = ctypes.CDLL(None, use_errno=True)
kind = sys.argv[1]
seccomp.apply(seccomp.program(evaluator=kind == "evaluator", pinned=kind == "rank", only_streams=kind == "streams"))

def sock(family, kind=socket.SOCK_STREAM):
    try:
        socket.socket(family, kind).close()
        return 0
    except OSError as error:
        return error.errno

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return ctypes.get_errno() if result < 0 else 0

found = {str(family): sock(family, 3 if family == 16 else 1) for family in (1, 2, 10, 16, 17, 38, 40)}
found["udp"] = sock(2, socket.SOCK_DGRAM)
found["ptrace"] = call(101, 0, 0, 0, 0)
found["unshare"] = call(272, 0x10000000)
found["io_uring"] = call(425, 1, None)
a, b = os.open(tempfile.gettempdir(), os.O_RDONLY), os.open(tempfile.gettempdir(), os.O_RDONLY)
fcntl.flock(a, fcntl.LOCK_EX)
try:
    fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    found["flock"] = 0
except OSError as error:
    found["flock"] = error.errno
page = mmap.mmap(-1, 4096)
page[:4] = b"kept"
found["page out"] = call(28, ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), 4096, 21)
found["shmget"], found["mq_open"] = call(29, 0, 4096, 0o1600), call(240, b"name", 0o102, 0o600, None)
found["wish"] = call(221, a, 0, 0, 4)
libc.prctl(15, b"message")
found["name"] = open("/proc/self/task/%d/comm" % threading.get_native_id()).read().strip() == "message"
cores = os.sched_getaffinity(0)
try:
    os.sched_setaffinity(0, cores)
    found["cores"] = 0
except OSError as error:
    found["cores"] = error.errno
found["child"] = os.waitstatus_to_exitcode(os.system("true"))
print(json.dumps(found))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize("kind", ["rank", "evaluator", "streams"])
def test_the_kernel_takes_the_filter(kind: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", TRY, kind]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    no_family = errno.EAFNOSUPPORT
    assert found == {
        "1": 0, "2": 0, "10": found["10"], "16": 0, "17": no_family, "38": no_family, "40": no_family,
        "udp": errno.EACCES if kind == "streams" else 0,
        "ptrace": errno.EPERM, "unshare": errno.EPERM, "io_uring": ENOSYS,
        "page out": 0, "shmget": ENOSYS, "mq_open": ENOSYS, "wish": 0, "name": kind != "evaluator",
        "flock": 0 if kind == "evaluator" else errno.EAGAIN, "child": 0,
        "cores": errno.EPERM if kind == "rank" else 0,
    }  # fmt: skip
