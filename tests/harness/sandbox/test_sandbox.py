"""What a submission sees from inside, at every level this machine has."""

import json
import os
import sys
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
    """A data folder below /opt."""
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
    assert not any(found["home"] for found in sight.evaluators)
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


WALK = """
import json, os, re, sys

PROSE = re.compile(r"(?i)(readme|licen[cs]e|copying|changelog|changes|news|authors|notice)([.](txt|md|rst))?$")
OF_NO_PROGRAM = tuple(".txt .md .rst .html .pdf .csv .npy .npz .pt .pth .ptl .gz .xz .zip .bz2 .dat .ttf .otf "
                      ".woff .mo .dic .aff .json .jsonl .wav .png .pkl .safetensors .gguf".split())
PLACES = ("/usr/share", "/usr/games", "/usr/src", "/usr/local/share", "/usr/local/man", "/usr/lib/locale", "/opt",
          "/home", "/var", "/srv", "/mnt", "/media", "/boot", "/usr/lib/chromium", "/usr/lib/jvm", "@checkout@")
PYTHON = tuple(prefix + "/" for prefix in {os.path.realpath(sys.base_prefix), "@prefix@"} - {"/usr"})
KNOWN = (*PYTHON, "/usr/", "/lib", "/etc/", "/bin/", "/sbin/", "@own@/", "/tmp/")

def readable():
    seen = set()
    for root in ("/", *ROOTS):  # at landlock a folder can be readable below one that cannot be listed
      for folder, folders, names in os.walk(root):
        if folder == "/": folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]  # the kernel's
        folders[:] = [name for name in folders if os.path.join(folder, name) not in seen]
        seen.update(os.path.join(folder, name) for name in folders)
        for name in names:
            path = os.path.join(folder, name)
            try:
                if not os.path.islink(path) and os.stat(path).st_size:
                    with open(path, "rb"): yield path
            except OSError:
                continue

def look(run=None):
    found = [path for path in readable() if not path.startswith(("@own@/", "/tmp/"))]
    code = [path for path in found if not path.startswith("/etc/") and "-info/" not in path]
    told = {
        "outside": [path for path in found if not path.startswith(KNOWN)],
        "places": [path for path in found if path.startswith(PLACES) and not path.startswith(PYTHON)],
        "prose": [path for path in code if PROSE.match(os.path.basename(path))],
        "data": [path for path in code if path.endswith(OF_NO_PROGRAM)],
        "packages": sorted({path.partition("/site-packages/")[2].partition("/")[0] for path in found}),
        "torch": [path for path in found if path.endswith("/torch/__init__.py")],
    }
    os.write(1, f"READABLE {json.dumps({key: paths[:40] for key, paths in told.items()})}\\n".encode())
"""
PARENTS = ("/", "/usr", "/usr/lib", "/usr/local", "/usr/share", sys.prefix, os.path.dirname(os.__file__),
           *(path for path in sys.path if path.endswith("-packages")))  # fmt: skip
NOT_ALLOWED = {"pytest", "hypothesis", "pandas", "scipy", "rich", "huggingface_hub", "tqdm", "pip", "harness"}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_all_that_can_be_read_is_what_a_program_needs(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    """A rank and both evaluators walk the whole file system: libraries, a compiler, Python, the allowed packages."""
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine")
    kernel = ("/proc", "/sys", "/dev", "/tmp")
    roots = [entry.path for parent in PARENTS for entry in os.scandir(parent) if entry.is_dir()]
    names = {"@own@": speedrun.temporary, "@checkout@": Path(__file__).parents[3] / "tests", "@prefix@": sys.prefix}
    top = f"ROOTS = {[root for root in roots if root not in kernel]!r}\n{WALK}"
    for name, value in names.items():
        top = top.replace(name, str(value))
    load = "global looked\nif not looked:\n    looked = True\n    look()"
    script = write_submission(tmp_path, top=top + "\nlooked = False", prepare="look(run)", load=load)
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
    assert outcome.record["status"] == "complete", outcome.record["sentence"]
    lines = [line.partition("READABLE ")[2] for line in outcome.log.splitlines() if "READABLE {" in line]
    assert len(lines) >= 3
    for found in map(json.loads, lines):
        assert [found[key] for key in ("outside", "places", "prose", "data")] == [[], [], [], []]
        assert found["torch"]
        assert NOT_ALLOWED.isdisjoint(found["packages"])
