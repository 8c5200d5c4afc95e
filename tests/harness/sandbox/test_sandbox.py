"""What a submission sees from inside, at every level this machine has."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunFailure, UserError
from harness.sandbox import levels
from harness.sandbox.levels import LEVELS, View
from harness.status import Status

ONE_LEVEL_HERE = (LEVELS[0], *(pytest.param(level, marks=pytest.mark.slow) for level in LEVELS[1:]))
LOOK = """
import glob, json, socket

def may(path):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
        return True
    except OSError:
        return False

def listed(folder):
    try:
        return os.listdir(folder)
    except OSError:  # evaluators at landlock cannot even see themselves
        return []

def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file: return file.read()
    except OSError:
        return b""

def look(run=None):
    found = {"environment": dict(os.environ), "home": os.listdir(os.environ["HOME"]), "here": os.listdir(".")}
    try:
        found["interfaces"] = [name for _, name in socket.if_nameindex()]
    except OSError as error:
        found["interfaces"] = error.strerror
    found["exists"] = [path for path in PATHS if os.path.exists(path)]
    found["opened"] = [path for path in found["exists"] if may(path)]
    found["datasets"] = {path: os.listdir(path) for path in FOLDERS if os.path.isdir(path) and may(path)}
    found["pids"] = [int(name) for name in listed("/proc") if name.isdigit()]
    found["referee"] = any(b"-m\\0harness\\0run" in command(pid) for pid in found["pids"])
    found["fds"] = sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in listed("/proc/self/fd") if int(fd) > 2
                          and os.path.exists(f"/proc/self/fd/{fd}"))
    try:
        open(__file__, "a").close()
        found["source"] = "writable"
    except OSError as error:
        found["source"] = error.strerror
    try:
        with open("/dev/shm/MARK", "w") as file: file.write("x")
    except OSError as error:
        found["shm"] = error.strerror
    if run:
        stage = os.path.dirname(os.path.dirname(run.warmup_shards[0]))
        paths = glob.glob(stage + "/**", recursive=True)
        found["stage"] = sorted(os.path.basename(path) for path in paths if os.path.isfile(path))
        found["above"] = sorted(os.listdir(os.path.dirname(stage))) if may(os.path.dirname(stage)) else None
    os.write(1, f"LOOK {json.dumps(found)}\\n".encode())  # at once: another's would lie between its pieces
"""


class Sight:
    """What a submission saw in PREPARE, in TRAIN and in each evaluator."""

    def __init__(self, log: str) -> None:
        found = [json.loads(line.partition("LOOK ")[2]) for line in log.splitlines() if "LOOK {" in line]
        self.prepare, self.train, *self.evaluators = found
        self.everywhere = found


@pytest.fixture
def opt() -> Iterator[Path]:
    """A data folder below /opt, which the sandbox otherwise shows."""
    if not os.access("/opt", os.W_OK):
        pytest.skip("cannot write to /opt")
    with tempfile.TemporaryDirectory(dir="/opt") as folder:
        yield Path(folder)


def see(speedrun: Any, tmp_path: Path, write_submission: Any, track: Path, level: str) -> Sight:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine")
    data = speedrun.data / "tales"
    paths = [str(path) for path in data.resolve().iterdir()] + [str(data / path.name) for path in data.iterdir()]
    paths += [str(Path(__file__)), str(Path(__file__).parents[3] / "data"), str(speedrun.runs)]
    top = (
        LOOK.replace("PATHS", repr(paths))
        .replace("FOLDERS", repr([str(data)]))
        .replace("MARK", speedrun.data.parent.name)
    )
    load = "global looked\nif not looked:\n    looked = True\n    look()"  # it loads several times
    script = write_submission(tmp_path, top=top + "\nlooked = False", prepare="look(run)", train="look(run)", load=load)
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level, track=track)
    assert outcome.record["status"] == "complete", outcome.record["sentence"]
    assert outcome.record["sandbox"] == level
    sight = Sight(outcome.log)
    assert len(sight.evaluators) in (2, 4, 6)  # fresh pairs, where the first answer was slow
    return sight


@pytest.mark.parametrize("level", ONE_LEVEL_HERE)
def test_what_a_submission_sees(
    speedrun: Any,
    tmp_path: Path,
    write_submission: Any,
    standing_track: Path,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    monkeypatch.setenv("HIDDEN_MARK", "secret")  # of the caller; must not come along
    sight = see(speedrun, tmp_path, write_submission, standing_track, level)
    assert sight.prepare["stage"] == ["warmup_000000.bin", "warmup_000001.bin"]
    train_shards = [path.name for path in (speedrun.data / "tales").iterdir() if "train" in path.name]
    assert sight.train["stage"] == sorted(train_shards) + sight.prepare["stage"]
    for found in sight.everywhere:
        assert found["environment"].keys().isdisjoint({"HIDDEN_MARK", "SPEEDRUN_DATA", "SPEEDRUN_RUNS", "PYTHONPATH"})
        own = "/tmp" if level == "namespaces" else found["environment"]["HOME"]  # a fresh one of its own either way
        tmpdir = Path(found["environment"]["TMPDIR"])
        is_short = found not in sight.evaluators and tmpdir.parent == speedrun.temporary  # of ranks, where HOME is long
        assert str(tmpdir) == own or (level != "namespaces" and is_short and tmpdir.name.startswith("speedrun-"))
    for found in sight.evaluators:
        assert "SPEEDRUN_SOCKET" not in found["environment"]
        assert not [target for target in found["fds"] if "memfd:weights" in target]  # but copies
    if level == "namespaces":
        check_namespaces(sight)
    if level == "landlock":
        check_landlock(sight)
    assert level != "process" or all(found["referee"] for found in sight.everywhere)  # it can be seen there
    in_memory = Path("/dev/shm", speedrun.data.parent.name)
    assert in_memory.exists() == (level == "process")
    in_memory.unlink(missing_ok=True)


def check_namespaces(sight: Sight) -> None:
    assert sight.prepare["above"] == ["stage"]  # and not the hidden shards beside it
    assert [found["home"] for found in sight.evaluators] == [[], []]
    for found in sight.everywhere:
        assert found["interfaces"] == ["lo"]
        assert found["exists"] == []  # no shard, no source of ours, no run
        assert all(names == [] for names in found["datasets"].values())
        assert found["source"] == "Read-only file system"
        assert max(found["pids"]) < 1000
        assert not found["referee"]
        assert "shm" not in found  # it can write there, but into a memory of its own


def check_landlock(sight: Sight) -> None:
    assert sight.prepare["above"] is None
    for found in sight.everywhere:
        assert found["exists"] != []  # names can be asked for
        assert found["opened"] == []
        assert found["datasets"] == {}
        assert found["source"] == "Permission denied"
        assert found["shm"] == "Permission denied"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_data_below_a_folder_of_the_system_is_hidden(
    speedrun: Any, tmp_path: Path, write_submission: Any, standing_track: Path, opt: Path, level: str
) -> None:
    (opt / "tales").mkdir()
    for path in (speedrun.data / "tales").iterdir():
        if path.is_file():
            (opt / "tales" / path.name).write_bytes(path.read_bytes())
    speedrun.data = opt
    sight = see(speedrun, tmp_path, write_submission, standing_track, level)
    for found in sight.everywhere:
        assert found["opened"] == []
        assert found["datasets"] == ({str(opt / "tales"): []} if level == "namespaces" else {})
    assert sight.prepare["above"] == (["stage"] if level == "namespaces" else None)


def test_the_process_level_adds_nothing(tmp_path: Path) -> None:
    argv, environment = levels.command("process", View(readable=(), home=tmp_path, environment={"A": "b"}), ["true"])
    assert argv == ["true"]
    assert environment["A"] == "b"
    assert environment["HOME"] == str(tmp_path)
    assert not [
        name for name in environment if name.startswith(("LD_", "PYTHONPATH", "CUDA_V", "MASTER", "TORCHELASTIC"))
    ]


def test_every_cache_lies_in_the_fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in levels.CACHES:
        monkeypatch.setenv(name, "/somewhere/that/lasts")
    for level in LEVELS:
        _, environment = levels.command(level, View(readable=(), home=tmp_path), ["true"])
        assert {name for name, value in environment.items() if "CACHE" in name} <= set(levels.CACHES)
        assert all(Path(environment[name]).parent == tmp_path for name in levels.CACHES)


def test_a_level_this_machine_lacks_is_a_failure_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "available_levels", lambda: ("process",))
    monkeypatch.setattr(levels, "lacking", {"namespaces": "install bubblewrap", "landlock": "no landlock"}.get)
    assert levels.choose(None) == "process"
    assert levels.choose("process") == "process"
    with pytest.raises(RunFailure, match="install bubblewrap") as raised:
        levels.choose("namespaces")
    assert raised.value.status == Status.SANDBOX_FAILED
    with pytest.raises(UserError, match="'landlocks'"):
        levels.choose("landlocks")


def test_a_weaker_level_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "available_levels", lambda: LEVELS)
    assert levels.choose("landlock") == "landlock"
    assert levels.choose("process") == "process"
    assert levels.choose(None) == LEVELS[0]


LANGUAGE = """
import json, os, re, sys

WORDS = re.compile(rb"[a-z]{2,12}[ ,.;]")
PREFIXES = tuple({os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))})
SKIPPED = ("/proc", "/sys", "/dev")  # of the kernel

def texts():
    found = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if not os.path.join(folder, f).startswith(SKIPPED)
                      and not os.path.realpath(os.path.join(folder, f)).startswith(PREFIXES)]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if os.path.islink(path) or os.stat(path).st_size < 1000: continue
                with open(path, "rb") as file: head = file.read(20_000)
            except OSError:
                continue
            if b"\\0" not in head and 6 * len(WORDS.findall(head)) > len(head) * 0.6:
                found[path] = os.stat(path).st_size
    return found

def look(run=None):
    print("TEXTS", json.dumps(texts()), flush=True)
"""
CODE = ("/usr/include", "/usr/lib", "/usr/libexec", "/usr/local/lib", "/usr/local/include", "/usr/local/cuda", "/opt",
        "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/share/zoneinfo")  # fmt: skip
"""Shown because programs, packages and time zones lie there; what prose they hold is comments, and stays a limit."""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_no_natural_language_but_that_of_code(speedrun: Any, tmp_path: Path, write_submission: Any, level: str) -> None:
    """Text enough to train on before GO: word lists, manuals, licences, fortunes are not there."""
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine")
    script = write_submission(tmp_path, top=LANGUAGE, prepare="look(run)")
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
    assert outcome.record["status"] == "complete", outcome.record["sentence"]
    (line,) = [line for line in outcome.log.splitlines() if "TEXTS {" in line]
    found = json.loads(line.partition("TEXTS ")[2])
    assert [path for path in found if not path.startswith((*CODE, str(tmp_path)))] == []
