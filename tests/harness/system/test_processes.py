"""Processes, the folders that carry their names, the lock on the machine, and what torchrun tells us."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.files import locked
from harness.errors import RunFailure, UserError
from harness.formats import layout
from harness.referee import machine, torchrun
from harness.status import Status
from harness.system import processes, scratch

ROOT = Path(__file__).resolve().parents[3]
TREE = """
import os, signal, sys, time
for depth in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if depth == 2: break
        if os.fork(): os._exit(0)
os.write(1, b"up\\n")  # at once, whatever PYTHONUNBUFFERED says
time.sleep(600)
"""
UP = 8  # processes of it that sleep
KILL = """
import subprocess, sys
from harness.system import processes
processes.KILL_S = 100  # however slow the machine is
processes.adopt_orphans()
tree = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], stdout=subprocess.PIPE)
for _ in range(int(sys.argv[3])): assert tree.stdout.readline() == b"up\\n"
seen = processes.children(tree.pid)
processes.kill_children()
print(len(seen), len(processes.children(__import__("os").getpid())))
"""


def test_kill_children_leaves_nobody(named_on_a_command_line: Callable[[str], list[int]]) -> None:
    mark = f"mark-{os.urandom(8).hex()}"
    argv = [sys.executable, "-c", KILL, TREE, mark, str(UP)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert (before > 0, after) == (True, 0), done.stderr
    assert named_on_a_command_line(mark) == []


BETWEEN = """
import os, sys, time
if os.fork() == 0:
    time.sleep(600)
os.write(1, b"up\\n")
sys.stdin.read()
os._exit(0)
"""


def test_a_child_whose_parent_dies_during_the_look_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pids start again at a small number: then children are read before their parent, which may be gone by then."""
    processes.adopt_orphans()
    parent = subprocess.Popen([sys.executable, "-c", BETWEEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    parent.stdout.readline()
    (child,) = processes.children(parent.pid)
    read = processes.stat_fields

    def after_its_child(pid: int) -> list[str]:
        if pid == parent.pid and not parent.stdin.closed:
            parent.stdin.close()
            parent.wait(60)
        return read(pid)

    monkeypatch.setattr(os, "listdir", lambda _: [str(child), str(parent.pid), str(os.getpid())])
    monkeypatch.setattr(processes, "stat_fields", after_its_child)
    try:
        assert child in processes.descendants()
    finally:
        processes.kill_all([child])
        parent.stdout.close()


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    child = subprocess.Popen(["/bin/sleep", "600"])
    ticks = processes._start_ticks(child.pid)
    assert ticks is not None
    assert processes.is_alive(child.pid, ticks)
    assert not processes.is_alive(child.pid, ticks + 1)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead
    assert not processes.is_alive(child.pid, ticks)
    child.wait()
    assert not processes.is_alive(child.pid, ticks)


def test_a_command_name_cannot_confuse_the_reader_of_proc(tmp_path: Path) -> None:
    odd = tmp_path / ") Z 1 ("
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "600"])
    try:
        assert child.pid in processes.children(os.getpid())
        assert processes._start_ticks(child.pid) is not None
    finally:
        child.kill()
        child.wait()


def test_sweeping_takes_the_folders_of_the_dead_and_no_others(tmp_path: Path) -> None:
    mine = scratch.make_scratch(tmp_path)
    dead = tmp_path / mine.name.replace(f"-{os.getpid()}-", "-4194305-")
    reborn = tmp_path / mine.name.replace(f"-{processes._start_ticks(os.getpid())}-", "-1-")
    elsewhere = tmp_path / f"speedrun-00000000-{dead.name.split('-', 2)[2]}"  # another machine on a shared disk
    foreign = tmp_path / "speedrun-notes"
    for folder in (dead, reborn, elsewhere, foreign):
        folder.mkdir()
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o400)
    (tmp_path / "speedrun-machine.lock").write_text("")
    scratch.sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, elsewhere, foreign, tmp_path / "speedrun-machine.lock"}
    assert mine.stat().st_mode & 0o777 == 0o700
    scratch.sweep(tmp_path, alone=True)
    assert set(tmp_path.iterdir()) == {mine, foreign, tmp_path / "speedrun-machine.lock"}
    scratch.remove_own(tmp_path)
    assert set(tmp_path.iterdir()) == {foreign, tmp_path / "speedrun-machine.lock"}


def test_the_machine_is_held_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: Callable[[], set[tuple[int, str]]]
) -> None:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    before = descriptors()
    with machine.exclusive(wait=False):
        with pytest.raises(RunFailure, match=f"process {os.getpid()}") as raised, machine.exclusive(wait=False):
            raise AssertionError("held twice")
        assert raised.value.status == Status.MACHINE_BUSY
    with machine.exclusive(wait=True):
        pass
    assert descriptors() - before == set()


def test_the_lock_of_another_user_holds_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    with machine.exclusive(wait=False):
        pass
    opened = os.open

    def as_stranger(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", as_stranger)
    with machine.exclusive(wait=False), pytest.raises(RunFailure), machine.exclusive(wait=False):
        raise AssertionError("held twice")


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    (tmp_path / "precious").write_text("content")
    (tmp_path / "speedrun-machine.lock").symlink_to("precious")
    with pytest.raises(RunFailure) as raised, machine.exclusive(wait=False):
        raise AssertionError("held through a link")
    assert raised.value.status == Status.MACHINE_BUSY
    assert (tmp_path / "precious").read_text() == "content"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_that_refuses_locks_gets_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The machine's lock, and those of data folders, ledgers and sites."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunFailure, match=r"refuses to at .*SPEEDRUN_LOCKS") as raised, machine.exclusive(wait=True):
        raise AssertionError("held nothing")
    assert raised.value.status.exit_code == 5
    with pytest.raises(UserError, match="can lock files, found that it refuses"), locked(tmp_path / "lock"):
        raise AssertionError("held nothing")


def test_a_lock_file_that_cannot_be_opened_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path / "gone"))
    with pytest.raises(RunFailure, match=r"No such file.*SPEEDRUN_LOCKS"), machine.exclusive(wait=True):
        raise AssertionError("held nothing")
    (tmp_path / "folder").mkdir()
    for broken in (tmp_path / "folder", tmp_path / "nowhere" / "lock", Path("/dev/null/lock")):
        with pytest.raises(UserError, match="expected a folder to write to"), locked(broken):
            raise AssertionError("held nothing")


def test_what_torchrun_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert torchrun.outer() is None
    told = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert torchrun.outer() == torchrun.Outer(local_rank=1, local_world_size=2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="one node"):
        torchrun.outer()


def test_all_users_of_a_machine_hold_the_same_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPEEDRUN_LOCKS", raising=False)
    folder = layout.machine_lock().parent
    assert folder in (Path("/run/lock"), Path("/tmp"))
    assert folder.stat().st_mode & 0o002  # one that root alone can write to would be root's alone
    monkeypatch.setenv("SPEEDRUN_LOCKS", "/elsewhere")
    assert layout.machine_lock() == Path("/elsewhere/speedrun-machine.lock")
