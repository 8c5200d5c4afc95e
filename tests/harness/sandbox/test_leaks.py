"""What a submission that searches everything finds of the data it may not have; what one run leaves for the next; and
what two evaluators can tell each other.

At the level `process` the search succeeds: that is what the level cannot stop, and the proof that the search works.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from data.shards import read_shard
from harness.sandbox import landlock, levels

NEEDLE_TOKENS = 32
SLOW = pytest.mark.slow
MASK = 0x5A  # the submission carries what it looks for, but not so that it finds itself

SEARCH = """
import glob, json, re, socket, stat

NEEDLES = {name: bytes(b ^ 0x5A for b in bytes.fromhex(text)) for name, text in HEX.items()}
LARGE = 2**26

def has(content):
    return {name for name, needle in NEEDLES.items() if needle in content}

def read(path, most=LARGE):
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(most)
    except (OSError, ValueError):
        return b""

def files(found, roots, hints):
    seen = set()
    system = [os.path.realpath(path) for path in ("/usr", "/lib", "/opt", sys.prefix, sys.base_prefix)]
    for root in roots:
        for folder, names, entries in os.walk(root):
            if folder in ("/proc", "/sys", "/dev") and root == "/":
                names.clear()
            for entry in entries:
                path = os.path.join(folder, entry)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                of_system = any(folder.startswith(path) for path in system)
                if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in seen:
                    continue
                if of_system and status.st_size not in SIZES:
                    continue
                seen.add((status.st_dev, status.st_ino))
                for name in has(read(path)):
                    found.add(f"{name} in file {path}")
    for path in hints:  # where the test knows it to be
        for name in has(read(path)):
            found.add(f"{name} in file {path}")

def descriptors(found):
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                continue
        except OSError:
            continue
        for name in has(read(path)):
            found.add(f"{name} in descriptor {os.path.realpath(path)}")
        for name in has(read(path + "/../../cwd/" + os.path.basename(HINTS[0]))):
            found.add(f"{name} below another's working directory")

def environments(found):
    for path in glob.glob("/proc/[0-9]*/environ"):
        if DATA.encode() in read(path) and "/self/" not in path:
            found.add("data path in " + os.path.basename(path))

def memories(found):
    mine = {str(os.getpid()), "self"}
    for path in glob.glob("/proc/[0-9]*/maps"):
        pid = path.split("/")[2]
        if pid in mine:
            continue
        try:
            memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        except OSError:
            continue
        for line in read(path).decode(errors="replace").splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\\S+) \\S+ \\S+ (\\d+)", line)
            if match is None or (match[4] != "0" and "memfd" not in line and ".bin" not in line):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            try:
                for name in has(os.pread(memory, min(end - start, LARGE), start)):
                    found.add(f"{name} in memory of another process")
            except (OSError, OverflowError):
                pass
        os.close(memory)

def listen(sock, address, found, where):
    ours = address in (("127.0.0.1", PORT), "\\0" + ABSTRACT)  # which does answer, be it late
    try:
        with sock:
            sock.settimeout(60 if ours else 0.5)
            sock.connect(address)
            for name in has(sock.recv(2**16)):
                found.add(f"{name} from {where}")
    except OSError:
        pass

def network(found, ports):
    for port in ports:
        try:
            listen(socket.socket(), ("127.0.0.1", port), found, "a loopback port")
        except OSError:
            pass
    for line in read("/proc/net/unix").decode(errors="replace").splitlines() + ["x @" + ABSTRACT]:
        if "@" in line:
            name = line.partition("@")[2]
            listen(socket.socket(socket.AF_UNIX), "\\0" + name, found, "an abstract socket")
    for family, kind in ((40, 1), (2, 3), (17, 3), (38, 5)):  # vsock, raw, packet, the kernel's crypto
        try:
            socket.socket(family, kind).close()
            found.add(f"socket family {family} kind {kind}")
        except OSError:
            pass

def search(phase, hints=()):
    found = set()
    first = phase == "PREPARE"  # the system does not change: one look at all of it
    files(found, ROOTS if first else [root for root in ROOTS if root != "/"], [*HINTS, *hints])
    for look in (descriptors, environments, memories):
        look(found)
    network(found, {PORT, *(range(1, 2**16) if first and not PROCESS else ())})
    line = "LEAK " + json.dumps({"phase": phase, "found": sorted(found)}) + "\\n"
    os.write(1, line.encode())  # at once: that of the other evaluator would lie between its pieces
"""


class Bait:
    """A server on loopback and one on an abstract socket that give the validation tokens away to anybody."""

    def __init__(self, content: bytes, name: str) -> None:
        self.tcp, self.unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        self.unix.bind(b"\0" + name.encode())
        self.unix.listen()
        self.name, self.port = name, self.tcp.getsockname()[1]
        for server in (self.tcp, self.unix):
            threading.Thread(target=self._serve, args=(server, content), daemon=True).start()

    @staticmethod
    def _serve(server: socket.socket, content: bytes) -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            with connection, suppress(OSError):  # who has gone away again
                connection.sendall(content)

    def close(self) -> None:
        for server in (self.tcp, self.unix):
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def shard(folder: Path, part: str) -> Path:
    return next(path for path in sorted(folder.resolve().iterdir()) if part in path.name and path.suffix == ".bin")


@pytest.fixture
def bait(speedrun: Any) -> Iterator[Bait]:
    content = read_shard(shard(speedrun.data / "tales", "val"))[100 : 100 + NEEDLE_TOKENS].tobytes()
    bait = Bait(content, f"speedrun-bait-{os.urandom(8).hex()}")
    yield bait
    bait.close()


def hide(content: bytes) -> str:
    return bytes(byte ^ MASK for byte in content).hex()


def search_of(speedrun: Any, bait: Bait, level: str) -> str:
    """The script, told everything a submission could know or guess about where to look."""
    folder = speedrun.data / "tales"
    shards = {name: shard(folder, name) for name in ("val", "train")}
    needles = {name: hide(read_shard(path)[100 : 100 + NEEDLE_TOKENS].tobytes()) for name, path in shards.items()}
    hints = [str(path) for path in shards.values()] + [str(folder / path.name) for path in shards.values()]
    roots = [str(speedrun.temporary.parent), str(folder.resolve())]
    if level != "process":  # whose system is the whole machine
        roots = ["/", "/tmp", "/dev/shm", "/home", "/root", "/var/tmp", "/run", *roots]
    values = {
        "HEX": needles, "HINTS": hints, "ROOTS": roots, "DATA": str(speedrun.data), "PORT": bait.port,
        "ABSTRACT": bait.name, "SIZES": {path.stat().st_size for path in shards.values()},
        "PROCESS": level == "process",
    }  # fmt: skip
    return "".join(f"{name} = {value!r}\n" for name, value in values.items()) + SEARCH


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock", "process"])
def test_a_search_for_the_data(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any, bait: Bait, level: str
) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    script = write_submission(
        tmp_path, top=search_of(speedrun, bait, level) + "looked = False\n", prepare="search('PREPARE')",
        train="search('TRAIN', shards)",
        load="global looked\nif not looked:\n    looked = True\n    search('SCORE')",  # it loads several times
    )  # fmt: skip
    track = write_track(tmp_path, prepare_s=600, train_s=600, score_s=600, dataset='"tales"')
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level, track=track)
    assert outcome.record["status"] == "complete", outcome.record["sentence"] + outcome.log[-2000:]
    lines = [json.loads(line.partition("LEAK ")[2]) for line in outcome.log.splitlines() if "LEAK {" in line]
    phases = [line["phase"] for line in lines]
    assert phases[:2] == ["PREPARE", "TRAIN"]
    assert phases[2:] in (["SCORE"] * 2, ["SCORE"] * 4, ["SCORE"] * 6)  # fresh pairs, where the first answer was slow
    found = {(line["phase"], leak) for line in lines for leak in line["found"]}
    if level == "process":
        check_that_the_search_works(found)
        return
    real = {leak for phase, leak in found if phase == "TRAIN" and leak.startswith("train in file")}
    assert len(real) == 1  # from GO, in TRAIN, on the stage
    assert "/stage/train/" in real.pop()
    rest = {leak for phase, leak in found if not (phase == "TRAIN" and leak.startswith("train in "))}
    assert rest == (known_holes(level))


def known_holes(level: str) -> set[str]:
    """What a level cannot stop, and says so."""
    return {"val from a loopback port"} if level == "landlock" else set()


def check_that_the_search_works(found: set[tuple[str, str]]) -> None:
    for phase in ("PREPARE", "SCORE"):
        kinds = {leak.partition("/")[0].strip() for where, leak in found if where == phase}
        assert {"val in file", "train in file", "val from a loopback port", "val from an abstract socket"} <= kinds
        assert "data path in environ" in kinds


CANARY = """
import glob, json, tempfile
MARK = "canary-" + NAME

def places():
    here = [os.environ[name] for name in sorted(os.environ) if os.environ[name].startswith("/")
            and ":" not in os.environ[name]]
    there = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/usr", "/usr/lib", "/etc", "/opt", "/home",
             "/root", "/proc", "/sys", sys.prefix, os.path.dirname(torch.__file__), os.path.dirname(__file__), "."]
    return here + there + [tempfile.gettempdir(), os.path.expanduser("~")]

def leave():
    left = []
    for place in places():
        try:
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, MARK), "w") as file: file.write(MARK)
            left.append(place)
        except OSError:
            pass
    return left

def look():
    return [place for place in places() if os.path.exists(os.path.join(place, MARK))]

def canary():
    import torch._inductor.codecache as caches
    assert caches.cache_dir().startswith(os.environ["HOME"])
    if os.environ.get("HOME"):
        os.write(1, f"CANARY {json.dumps({'found': look(), 'left': leave()})}\\n".encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_nothing_one_run_writes_is_there_in_the_next(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    """A canary, left wherever a rank and an evaluator can write, and looked for by all that come after."""
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    top = f"NAME = {speedrun.temporary.parent.name!r}\nlooked = False\n{CANARY}"
    load = "global looked\nif not looked:\n    looked = True\n    canary()"  # it loads several times
    script = write_submission(tmp_path, top=top, train="canary()", load=load)
    seen = []
    for _ in range(2):
        outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
        assert outcome.record["status"] == "complete", outcome.record["sentence"]
        lines = [line for line in outcome.log.splitlines() if "CANARY {" in line]
        seen.append([json.loads(line.partition("CANARY ")[2]) for line in lines])
    assert {len(run) for run in seen} <= {3, 5, 7}  # fresh pairs, where the first answer was slow
    rank, *evaluators = seen[0]
    assert len(rank["left"]) >= len(levels.CACHES)  # it found places to write to
    assert rank["found"] == []
    assert seen[1][0]["found"] == []
    if level == "namespaces":
        assert all(found["found"] == [] for found in [*evaluators, *seen[1]])


SIGNAL = """
import fcntl, glob, socket

def shared_files():
    return [sys.executable, torch.__file__, os.__file__, __file__, "/usr/bin/env"]

def channels():
    found = {}
    for path in shared_files():
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        for name, attempt in {
            "flock": lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB),
            "lockf": lambda: fcntl.fcntl(descriptor, fcntl.F_SETLK, bytes(32)),
            "lease": lambda: fcntl.fcntl(descriptor, 1024, fcntl.F_RDLCK),
            "notify": lambda: fcntl.fcntl(descriptor, 1026, 1),
            "atime": lambda: os.utime(descriptor),
        }.items():
            try:
                attempt()
                found.setdefault(name, set()).add("done")
            except OSError as error:
                found.setdefault(name, set()).add(error.strerror)
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("inotify_init1", "fanotify_init"):
        found[name] = {os.strerror(ctypes.get_errno()) if getattr(libc, name)(0, 0) < 0 else "done"}
    found["peers"] = {str(len(glob.glob("/proc/[0-9]*")))}
    for name, path in {"unix": "/proc/net/unix", "names": "/proc/self/task/%d/net/unix" % os.getpid()}.items():
        try:
            found[name] = {str(open(path).read().count("@"))}
        except OSError as error:
            found[name] = {error.strerror}
    for name, arguments in {"shmget": (0, 4096, 0o1600), "semget": (0, 1, 0o1600), "msgget": (0, 0o1600)}.items():
        found[name] = {os.strerror(ctypes.get_errno()) if getattr(libc, name)(*arguments) < 0 else "done"}
    kinds = {"AF_INET": socket.SOCK_STREAM, "AF_INET6": socket.SOCK_STREAM, "AF_NETLINK": socket.SOCK_RAW}
    for family, kind in kinds.items():
        try:
            socket.socket(getattr(socket, family), kind).close()
            found[family] = {"done"}
        except OSError as error:
            found[family] = {error.strerror}
    print("CHANNELS", {name: sorted(value) for name, value in sorted(found.items())}, flush=True)

def lock_race():
    # each evaluator takes an exclusive lock on the same file and keeps it: would the other one notice?
    held = []
    for path in shared_files():
        try:
            held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("NOTICED", path, flush=True)
        except OSError:
            pass
    return held
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_two_evaluators_cannot_signal_through_shared_files(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    load = "channels()\nglobal held\nheld = lock_race()"
    outcome = speedrun.run(
        write_submission(tmp_path, top=SIGNAL, load=load), "--nproc", "1", "--require-sandbox", level
    )
    assert outcome.record["status"] == "complete", outcome.record["sentence"]
    assert "NOTICED" not in outcome.log
    lines = [line.partition("CHANNELS ")[2] for line in outcome.log.splitlines() if "CHANNELS {" in line]
    assert len(lines) >= 2, "every load of both"
    for line in lines:
        found = eval(line)
        assert found["flock"] == found["lockf"] == ["done"]  # pretended
        assert found["lease"] == found["notify"] == ["Invalid argument"]
        assert found["inotify_init1"] == found["fanotify_init"] == ["Function not implemented"]
        assert found["shmget"] == found["semget"] == found["msgget"] == ["Function not implemented"]
        if level == "namespaces":
            assert found["atime"] == ["done"]  # pretended: /dev/null could be written to
            assert found["peers"] == ["2"]  # itself and the first process of its namespace
            assert found["unix"] == ["0"]
        else:
            assert found["peers"] == ["0"]  # not even itself: /proc cannot be listed
            assert found["unix"] == found["names"] == ["Permission denied"]
            refused = ["Address family not supported by protocol"]
            assert found["AF_INET"] == found["AF_INET6"] == found["AF_NETLINK"] == refused


ALTER = """
import glob
path = sorted(glob.glob(os.path.dirname(os.path.dirname(run.warmup_shards[0])) + "/train/*"))[0]
before = os.stat(path)
os.chmod(path, 0o600)
with open(path, "r+b") as file:
    file.seek(-1, 2)
    byte = file.read(1)
    file.seek(-1, 2)
    file.write(bytes([byte[0] ^ 1]))
os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
print("ALTERED", flush=True)
"""


@pytest.mark.slow
def test_altering_the_shards_is_a_finding_and_not_forgotten(
    speedrun: Any, tmp_path: Path, write_submission: Any, standing_track: Path
) -> None:
    """At the level `process` hard links to the data can be written to by their owner."""
    import shutil

    folder = speedrun.data / "tales"
    source = folder.resolve()
    folder.unlink()
    shutil.copytree(source, folder)  # of our own: it will be damaged
    script = write_submission(tmp_path, train=ALTER)
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", "process", track=standing_track)
    assert "ALTERED" in outcome.log
    assert outcome.record["status"] == "complete"
    assert [finding["id"] for finding in outcome.record["findings"]] == ["data_altered"]
    assert outcome.code == 1
    (altered,) = [path for path in folder.glob("*.bin") if path.read_bytes() != (source / path.name).read_bytes()]
    following = speedrun.run(write_submission(tmp_path), "--nproc", "1", track=standing_track)
    assert following.code == 2  # seen before anything runs, though its mtime had been set back
    assert altered.name in following.stderr
    assert following.folders == outcome.folders
    for level in ("namespaces", "landlock"):
        if level in levels.available_levels():
            shutil.rmtree(folder)
            shutil.copytree(source, folder)
            script = write_submission(tmp_path, train=ALTER)
            refused = speedrun.run(script, "--nproc", "1", "--require-sandbox", level, track=standing_track)
            assert refused.record["status"] == "train_failed"
            assert refused.record["findings"] == []


LOOK_FOR_TEXT = """
import glob, os, sys
def look(phase):
    for name in ("*_val_*", "*_train_*", "languages.secret"):
        for path in glob.glob(f"ROOT/**/{name}", recursive=True):
            if "/stage/train/" in path:
                continue
            try:
                with open(path, "rb") as file:
                    print("FOUND", phase, os.path.basename(path), len(file.read(1)), flush=True)
            except OSError:
                pass
    print("LOOKED", phase, flush=True)
"""


@pytest.mark.parametrize("level", [levels.LEVELS[0], *(pytest.param(level, marks=SLOW) for level in levels.LEVELS[1:])])
def test_the_text_of_a_run_and_the_secret_of_its_campaign_are_out_of_sight(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    """Made for this run on disk, while ranks and evaluators run; only the training shards appear, at GO."""
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    top = LOOK_FOR_TEXT.replace("ROOT", str(speedrun.temporary.parent))
    script = write_submission(tmp_path, top=top, prepare="look('PREPARE')", train="look('TRAIN')", load="look('SCORE')")
    outcome = speedrun.run(script, "--nproc", "1", "--runs", "1", "--anyway", "--require-sandbox", level)
    assert outcome.code in (0, 1), outcome.stderr
    (log,) = [path.read_text() for path in speedrun.runs.glob("*/runs/*/log.txt")]
    assert {line.split()[1] for line in log.splitlines() if line.startswith("LOOKED")} == {"PREPARE", "TRAIN", "SCORE"}
    found = {line.split()[2] for line in log.splitlines() if line.startswith("FOUND")}
    assert ("languages.secret" in found) == (level == "process")  # as said: it reads whatever its user can
    assert any("_val_" in name for name in found) == (level == "process")


def test_landlock_says_what_it_leaves_open() -> None:
    assert "ephemeral" in str(landlock.__doc__)
    assert "stat" in str(landlock.__doc__)
