"""The level landlock: the rules it makes, and what a child that took them on can still do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox import landlock, levels
from harness.sandbox.landlock import EXECUTE, READ, READ_DIR, WRITE
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree

ROOT = Path(__file__).resolve().parents[3]
has_landlock = pytest.mark.skipif(landlock.lacking() is not None, reason=str(landlock.lacking()))


@pytest.mark.parametrize(
    ("version", "says"), [(0, "no landlock in this kernel"), (2, "ABI 2, and 3 is the first"), (3, None), (9, None)]
)
def test_what_is_lacking_is_said(version: int, says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: version)
    found = landlock.lacking()
    assert found is None if says is None else says in str(found)


def test_rights_grow_with_the_version() -> None:
    rights = [landlock.file_rights(version) for version in (1, 2, 3, 4, 5, 6, 7)]
    assert rights == [0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF]  # linux/landlock.h


def test_only_home_can_be_written(tmp_path: Path) -> None:
    view = View(readable=(tmp_path / "source",), home=tmp_path / "home")
    found = dict(landlock.rules(view, 7))
    writable = {path for path, rights in found.items() if rights & (WRITE | 1 << 8)}  # 8: make a file
    assert writable == {tmp_path / "home", *(Path("/dev") / name for name in landlock.DEVICES)}
    assert found[tmp_path / "source"] == READ | READ_DIR | EXECUTE
    for private in (Path("/root"), Path("/home/somebody"), tmp_path):
        assert not [path for path in found if private.is_relative_to(path)]


def test_a_hidden_folder_is_left_out_of_the_tree_around_it(tmp_path: Path) -> None:
    for name in ("a/data/x", "a/other/y", "b/z"):
        (tmp_path / name).mkdir(parents=True)
    found = landlock._without(tmp_path, [tmp_path / "a" / "data"])
    assert found == [tmp_path / "a" / "other", tmp_path / "b"]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert landlock._without(tmp_path / "a" / "data", [tmp_path / "link" / "data"]) == []
    assert landlock._without(tmp_path / "b", [tmp_path / "a"]) == [tmp_path / "b"]


ENTER = """
import os, sys
from pathlib import Path
from harness.sandbox.process_tree import ProcessTree
from harness.sandbox.policy import View
readable, home, script, mark = sys.argv[1:]
cell = ProcessTree("landlock", View(readable=(Path(readable),), home=Path(home)))
process = cell.start([sys.executable, "-I", "-c", script, readable, home, str(os.getpid()), mark])
print(process.communicate(timeout=600)[0].decode(), flush=True)
cell.close()
"""
TRY = """
import json, multiprocessing, os, signal, socket, subprocess, sys
readable, home, parent, mark = sys.argv[1:]
def attempt(action):
    try:
        action()
        return "done"
    except Exception as error:
        return type(error).__name__ + " " + str(getattr(error, "errno", ""))
def connect(port, family=socket.AF_INET):
    with socket.socket(family) as sock: sock.connect(("127.0.0.1", port))
def loop():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()): pass
def look_at_cards(what="class"):
    for name in os.listdir("/sys/bus/pci/devices"):
        open(f"/sys/bus/pci/devices/{name}/{what}").read()
found = {
    "read": attempt(lambda: open(readable + "/file").read()),
    "write": attempt(lambda: open(readable + "/file", "a")),
    "truncate": attempt(lambda: os.truncate(readable + "/file", 0)),
    "remove": attempt(lambda: os.unlink(readable + "/file")),
    "beside": attempt(lambda: open(os.path.dirname(readable) + "/secret").read()),
    "listing": attempt(lambda: os.listdir(os.path.dirname(readable))),
    "stat": attempt(lambda: os.stat(os.path.dirname(readable) + "/secret")),
    "home": attempt(lambda: open(os.environ["HOME"] + "/mine", "w").write("x")),
    "home of others": attempt(lambda: open(home + "/mine", "w").write("x")),
    "tmp": attempt(lambda: open("/tmp/" + mark, "w")),
    "shm": attempt(lambda: open("/dev/shm/" + mark, "w")),
    "proc": attempt(lambda: open("/proc/self/oom_score_adj", "w").write("-1000")),
    "parent's environment": attempt(lambda: open(f"/proc/{parent}/environ").read()),
    "parent's memory": attempt(lambda: open(f"/proc/{parent}/mem", "rb")),
    "parent's descriptors": attempt(lambda: open(f"/proc/{parent}/fd/1", "w")),
    "list of the parent's descriptors": attempt(lambda: os.listdir(f"/proc/{parent}/fd")),
    "signal": attempt(lambda: os.kill(int(parent), 0)),
    "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect(b"\\0" + mark.encode())),
    "low port": attempt(lambda: connect(80)),
    "loopback": attempt(loop),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    "vsock": attempt(lambda: socket.socket(40)),
    "program": attempt(lambda: subprocess.run(["/bin/true"], check=True)),
    "chown": attempt(lambda: os.chown(home, 1, 1)),
    "semaphore": attempt(multiprocessing.Lock),  # so torch's DataLoader has no workers here: a stated limit
    "class of a card": attempt(look_at_cards),
    "configuration of a card": attempt(lambda: look_at_cards("config")),
}
print(json.dumps(found))
"""


@has_landlock
def test_what_a_child_can_do(tmp_path: Path) -> None:
    import socket

    for name in ("readable", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "readable" / "file").write_text("content")
    (tmp_path / "secret").write_text("secret")
    with socket.socket(socket.AF_UNIX) as server:
        mark = f"landlock-{os.urandom(8).hex()}"  # nobody else's, and short: an address holds 107 bytes
        argv = [sys.executable, "-c", ENTER, str(tmp_path / "readable"), str(tmp_path / "home"), TRY, mark]
        server.bind(b"\0" + mark.encode())
        server.listen()
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    for name, version in {"low port": 4, "signal": 6, "abstract": 6}.items():
        if landlock.abi() < version:
            found.pop(name)  # this kernel leaves it open
    cards = [found.pop("class of a card"), found.pop("configuration of a card")]
    if any(landlock.PCI.glob("*")):
        assert cards == ["done", "PermissionError 13"]  # gloo reads the one; the other is nobody's business
    allowed = {"read", "stat", "home", "loopback", "program", "list of the parent's descriptors"}
    assert {name for name, result in found.items() if result == "done"} == allowed, found
    assert found["semaphore"] == "PermissionError 13"
    assert found["beside"] == found["write"] == "PermissionError 13"
    assert found["vsock"].startswith("OSError 97")
    if landlock.abi() >= 6:
        assert found["signal"] == "PermissionError 1"
    if landlock.abi() >= 4:
        assert found["low port"] == "PermissionError 13"
    assert (tmp_path / "readable" / "file").read_text() == "content"
    assert not os.path.exists(f"/tmp/{mark}")


MARK = """
import fcntl, os, struct, sys
file, folder = sys.argv[1:]
def attempt(action):
    try:
        action()
    except OSError:
        pass
shown = os.open(file, os.O_RDONLY)
attempt(lambda: os.chmod(file, 0o600))
attempt(lambda: os.fchmod(shown, 0o640))
attempt(lambda: os.chmod(folder, 0o700))
attempt(lambda: os.utime(file, ns=(1, 2)))
attempt(lambda: os.utime(shown, ns=(1, 2)))
attempt(lambda: os.setxattr(file, "user.note", b"1"))
attempt(lambda: fcntl.ioctl(shown, 0x40086602, struct.pack("q", 0x40)))  # FS_IOC_SETFLAGS: no dump
attempt(lambda: os.link(file, os.environ["HOME"] + "/link"))
attempt(lambda: open(folder + "/new", "w"))
open(os.environ["HOME"] + "/mine", "w").close()
print(os.environ["HOME"])
"""
LOOK = """
import os, sys
file, home, parent = sys.argv[1:]
found = [os.stat(home + "/mine").st_size]  # that a name is there cannot be hidden: names are not to be guessed
for name in (parent, home, os.path.dirname(os.environ["HOME"])):
    try:
        found.append(os.listdir(name))
    except OSError as error:
        found.append(error.errno)
try:
    found.append(os.statvfs(file).f_bfree >= 0)
except OSError as error:
    found.append(error.errno)
print(found)
"""


@has_landlock
def test_an_evaluator_cannot_leave_a_note_on_what_both_can_see(tmp_path: Path) -> None:
    """Landlock says nothing of owners, dates, modes and marks of files, and who runs this may own them."""
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "file").write_text("content")

    def facts() -> list[object]:
        found = [os.stat(path) for path in (tmp_path / "shown", tmp_path / "shown" / "file")]
        marks = subprocess.run(["lsattr", tmp_path / "shown" / "file"], capture_output=True).stdout
        return [*((f.st_mode, f.st_mtime_ns, f.st_ctime_ns, f.st_nlink) for f in found), marks,
                os.listxattr(tmp_path / "shown" / "file")]  # fmt: skip

    def said(script: str, *arguments: str) -> str:
        cell = ProcessTree("landlock", View(readable=(tmp_path / "shown",), home=tmp_path / "home", evaluator=True))
        process = cell.start([sys.executable, "-I", "-S", "-c", script, *arguments])
        words = process.communicate(timeout=600)[0].decode()
        cell.close()
        assert process.returncode == 0, words
        return words.strip()

    before, file = facts(), str(tmp_path / "shown" / "file")
    home = said(MARK, file, str(tmp_path / "shown"))
    assert facts() == before
    assert Path(home).parent == tmp_path / "home"
    assert said(LOOK, file, home, str(tmp_path / "home")) == "[0, 13, 13, 13, 38]"


@has_landlock
def test_gloo_finds_its_network(tmp_path: Path) -> None:
    """What every run of two ranks begins with."""
    script = "import torch.distributed as d; d.init_process_group('gloo', store=d.HashStore(), rank=0, world_size=1)"
    cell = ProcessTree("landlock", View(readable=(), home=tmp_path))
    process = cell.start([sys.executable, "-c", script])
    said = process.communicate(timeout=600)[0].decode()
    cell.close()
    assert process.returncode == 0, said


def test_a_level_that_is_lacking_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    levels.lacking.cache_clear()
    levels.available_levels.cache_clear()
    try:
        assert "landlock" not in levels.available_levels()
        assert levels.lacking("landlock") == "no landlock in this kernel"
    finally:
        levels.lacking.cache_clear()
        levels.available_levels.cache_clear()
