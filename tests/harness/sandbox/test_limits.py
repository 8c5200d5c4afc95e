"""Nothing else on the machine suffers: hogs, bombs, fillers, flooders and sleepers are contained, and none is left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunFailure
from harness.sandbox import cgroups, levels, namespaces, process_tree
from harness.sandbox.levels import LEVELS
from harness.sandbox.policy import Limits, View
from harness.sandbox.process_tree import ProcessTree
from harness.status import Status
from harness.system import processes

MIB = 2**20
needs_groups = pytest.mark.skipif("pids" not in cgroups.parents(), reason="no control group for processes to be made")


def require(level: str) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")


def python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script]


@pytest.fixture
def tree_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """tree_of(level, limits...): a tree with a home; killed and closed at the end, and nobody left."""
    made: list[ProcessTree] = []
    for module in (processes, cgroups):
        monkeypatch.setattr(module, "KILL_S", 60.0)  # however slow the machine is
    processes.adopt_orphans()
    (tmp_path / "home").mkdir()

    def make(level: str, **limits: int) -> ProcessTree:
        require(level)
        made.append(ProcessTree(level, View(readable=(), home=tmp_path / "home", limits=Limits(**limits))))
        return made[-1]

    yield make
    for tree in made:
        tree.kill()
        processes.kill_children()
        assert tree._process is not None
        tree._process.communicate()
        tree.close()
    assert processes.children(os.getpid()) == []
    assert not [
        folder for parent in cgroups.parents().values() for folder in parent.glob(f"speedrun-*-{os.getpid()}-*")
    ]


def watched(tree: ProcessTree, script: str, seconds: float = 100) -> RunFailure:
    """Start a script and watch it until a limit is passed."""
    process, deadline = tree.start(python(script)), time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            tree.watch()
            time.sleep(min(0.05, tree.watch_s))
    except RunFailure as failure:
        return failure
    raise AssertionError(f"no limit was passed within {seconds:g} s; exit {process.poll()}, last look {tree._full}")


SLOW_BOMB = """
import os, time
for _ in range(200):  # more than the limit, fewer than the least pid_max a namespace can have
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    time.sleep(0.002)
time.sleep(600)
"""
BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
HOG = """
import time
kept = []
while True:
    kept.append(bytearray(16 * 2**20))
    time.sleep(0.005)
"""
FILLER = """
import os, time
places, kept = [os.environ["HOME"], "/tmp", "/dev/shm"], 0
for place in places:
    try:
        with open(place + "/filler", "wb") as file:
            while True:
                kept += file.write(bytes(2**20))
                time.sleep(0.001)
    except OSError as error:
        print(place, error.errno, flush=True)
print("kept", kept, flush=True)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_too_many_processes_are_seen_without_control_groups(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setattr(cgroups, "parents", dict)
    failure = watched(tree_of(level, processes=100), SLOW_BOMB)
    assert failure.status == Status.PROCESS_LIMIT
    assert "at most 100 processes and threads" in failure.sentence


def our_threads() -> int:
    return 1000 + sum(processes.threads(pid) for pid in processes.tree(os.getpid()))


def our_memory() -> tuple[int, int]:
    return 2**40 - sum(processes.memory_bytes(pid, False) for pid in processes.tree(os.getpid())), 2**40


@pytest.fixture
def full_looks(tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch) -> tuple[ProcessTree, list[int]]:
    """A tree without control groups, and a one for each of its looks at every process; none is due by the clock.

    On a machine that nobody else uses, and with a file in its home once it has been looked at.
    """
    monkeypatch.setattr(cgroups, "parents", dict)
    monkeypatch.setattr(process_tree, "FULL_S", float("inf"))
    monkeypatch.setattr(process_tree, "WATCH_S", 0.02)
    monkeypatch.setattr(process_tree, "MOST_OF_A_CORE", 1.0)
    monkeypatch.setattr(process_tree, "_machine_threads", our_threads)
    monkeypatch.setattr(process_tree, "_machine_memory", our_memory)
    tree, full = tree_of("process", processes=100, memory_bytes=512 * MIB), []
    look = tree._look_at_processes

    def counted() -> None:
        full.append(1)
        look()
        (tree.view.home / "seen").touch()

    monkeypatch.setattr(tree, "_look_at_processes", counted)
    return tree, full


@pytest.mark.parametrize(("script", "status"), [(SLOW_BOMB, Status.PROCESS_LIMIT), (HOG, Status.MEMORY_LIMIT)])
def test_every_process_is_looked_at_when_the_machine_takes_more(
    full_looks: tuple[ProcessTree, list[int]], script: str, status: Status
) -> None:
    tree, full = full_looks
    wait = "import os, time\nwhile not os.path.exists(os.environ['HOME'] + '/seen'): time.sleep(0.01)\n"
    assert watched(tree, wait + script).status == status
    assert len(full) >= 2


def test_a_still_machine_is_looked_at_whole_only_once(
    full_looks: tuple[ProcessTree, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree, full), looks, look = full_looks, [], full_looks[0]._look
    monkeypatch.setattr(tree, "_look", lambda: (looks.append(1), look()))
    tree.start(python("print(flush=True); import time; time.sleep(600)")).stdout.readline()  # type: ignore[union-attr]
    while len(looks) < 30:
        tree.watch()
        time.sleep(0.01)
    assert len(full) == 1


@pytest.mark.parametrize(("processes", "status"), [(20, Status.PROCESS_LIMIT), (1000, Status.PREPARE_FAILED)])
def test_a_failure_is_explained_by_a_limit_that_is_passed(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch, processes: int, status: Status
) -> None:
    """Whoever fails at a fork the kernel refused may tell so before the referee's next look."""
    monkeypatch.setattr(cgroups, "parents", dict)
    tree = tree_of("process", processes=processes)
    swarm = "for _ in range(40):\n    if os.fork() == 0: time.sleep(600)\n"
    process = tree.start(python(f"import os, time\n{swarm}print(flush=True)\ntime.sleep(600)"))
    assert process.stdout is not None
    process.stdout.readline()
    assert tree.explain(RunFailure(Status.PREPARE_FAILED, "Resource temporarily unavailable")).status == status


@pytest.mark.skipif(not namespaces.can_hold_processes(), reason="no pid_max for each namespace in this kernel")
def test_a_fork_bomb_meets_the_pid_max_of_its_namespace(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "parents", dict)
    before = Path("/proc/sys/kernel/pid_max").read_text()
    tree = tree_of("namespaces", processes=100)  # the kernel's bound lies above ours, which is the one that is named
    count = "import os, time\nfor n in range(1000):\n    if os.fork() == 0: time.sleep(600)"
    process = tree.start(python(f"print(open('/proc/sys/kernel/pid_max').read(), flush=True)\n{count}"))
    assert b"BlockingIOError" in process.communicate(timeout=600)[0]
    assert Path("/proc/sys/kernel/pid_max").read_text() == before  # the machine's own


@needs_groups
@pytest.mark.parametrize("level", LEVELS)
def test_a_fork_bomb_meets_the_kernel(tree_of: Callable[..., ProcessTree], level: str) -> None:
    tree = tree_of(level, processes=150)
    failure = watched(tree, BOMB)
    assert failure.status == Status.PROCESS_LIMIT
    assert len(tree._members()) <= 150


@pytest.mark.parametrize("level", LEVELS)
def test_a_memory_hog_is_seen(tree_of: Callable[..., ProcessTree], level: str) -> None:
    failure = watched(tree_of(level, memory_bytes=200 * MIB), HOG)
    assert failure.status == Status.MEMORY_LIMIT
    assert "209,715,200 bytes of memory" in failure.sentence


def test_files_in_memory_count(tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three file systems of a quarter each, and a process that holds the rest."""
    monkeypatch.setattr(cgroups, "parents", dict)
    tree = tree_of("namespaces", memory_bytes=256 * MIB)
    failure = watched(tree, f"import time\nheld = bytearray(120 * 2**20)\n{FILLER}\ntime.sleep(600)")
    assert failure.status == Status.MEMORY_LIMIT


def test_files_in_memory_count_beside_a_zombie(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead child that nobody has reaped has the highest pid, and no root to look below."""
    monkeypatch.setattr(cgroups, "parents", dict)  # which would not name it
    tree = tree_of("namespaces", memory_bytes=256 * MIB)
    zombie = "if os.fork() == 0: os._exit(0)\nos.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)"
    script = f"import os, time\nopen('/tmp/file', 'wb').write(bytes(50 * 2**20))\n{zombie}\nprint(flush=True)"
    process = tree.start(python(f"{script}\ntime.sleep(600)"))
    assert process.stdout is not None
    process.stdout.readline()
    assert tree._file_bytes(tree._members()) >= 50 * MIB


def test_a_disk_filler_fills_its_own_memory_only(tree_of: Callable[..., ProcessTree]) -> None:
    tree = tree_of("namespaces", memory_bytes=400 * MIB)
    process = tree.start(python(FILLER))
    *places, kept = process.communicate(timeout=600)[0].decode().splitlines()
    assert [line.split()[1] for line in places] == ["28", "28", "28"]  # ENOSPC
    assert 0 < int(kept.split()[1]) <= 3 * 100 * MIB + MIB


@pytest.mark.parametrize("level", ["landlock", "process"])
def test_a_disk_filler_is_seen(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    script = FILLER.replace('"/tmp", "/dev/shm"', "") + "time.sleep(600)"
    monkeypatch.setattr(
        process_tree, "_free_bytes", lambda home: 2**40 - process_tree._folder_bytes(home)
    )  # nobody else's disk
    failure = watched(tree_of(level, memory_bytes=128 * MIB), script)
    assert failure.status == Status.SCRATCH_LIMIT
    assert "33,554,432 bytes of files" in failure.sentence


def test_a_folder_on_disk_that_others_fill_is_not_held_against_a_cell(
    tree_of: Callable[..., ProcessTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of("process", memory_bytes=128 * MIB)
    tree.start(python("import time; time.sleep(600)"))
    monkeypatch.setattr(tree, "_free_bytes", tree._free_bytes + 2**40)
    tree._look_at_files()
    (tree.view.home / "mine").write_bytes(bytes(40 * MIB))
    with pytest.raises(RunFailure):
        tree._look_at_files()


BOUNDS = """
import os, resource
for name in ("CORE", "NOFILE", "FSIZE", "RTPRIO", "AS"):
    print(*resource.getrlimit(getattr(resource, f"RLIMIT_{name}")))
print(open("/proc/self/oom_score_adj").read())
print(open("/proc/self/status").read())
"""


@pytest.mark.parametrize("level", LEVELS)
def test_each_process_is_bounded(tree_of: Callable[..., ProcessTree], level: str) -> None:
    done = tree_of(level, memory_bytes=64 * MIB).start(python(BOUNDS)).communicate(timeout=600)[0].decode()
    core, files, size, priority, addresses, victim, *status = done.splitlines()
    assert core == priority == "0 0"
    assert int(files.split()[1]) <= 65536
    assert size == f"{64 * MIB} {64 * MIB}"
    assert addresses == "-1 -1"  # CUDA reserves far more than it uses
    assert victim == "1000"
    facts = dict(line.split(":\t") for line in status if ":\t" in line)
    if level != "process":
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"
        assert {facts[name] for name in ("CapEff", "CapPrm")} == {"0" * 16}
        if level == "namespaces" or os.geteuid() == 0:  # only root may shut this door, and NoNewPrivs stands before it
            assert facts["CapBnd"] == "0" * 16


def test_limits_leave_something_to_others() -> None:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert Limits(memory_bytes=2**60).within_this_machine().memory_bytes == installed * 9 // 10
    assert Limits(memory_bytes=MIB).within_this_machine() == Limits(memory_bytes=MIB)
    assert Limits(memory_bytes=8 * MIB, processes=7).shared_by(2) == Limits(memory_bytes=4 * MIB, processes=3)


RUNNER = """
import os, subprocess, sys
from harness.system import processes
processes.KILL_S = 100  # however slow the machine is
processes.adopt_orphans()
runaway = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE)
assert runaway.stdout.readline() == b"off\\n"
processes.kill_children()
print(len(processes.tree(os.getpid())))
"""
RUNAWAY = """
import os
if os.fork():
    os._exit(0)
print("off", flush=True)
while True:
    if os.fork():
        os._exit(0)  # the child goes on, with another pid, before anybody can look
    os.setsid()
"""


def test_a_child_that_forks_and_exits_for_ever_is_caught() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, RUNAWAY],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout.split() == ["0"], done.stderr


RUNS = [
    ("fork bomb in PREPARE", {"prepare": BOMB}, {"processes": 100}, "process_limit"),
    ("fork bomb in SCORE", {"load": BOMB}, {"processes": 300}, "process_limit"),
    ("memory hog in TRAIN", {"train": HOG.replace("bytearray(16 * 2**20)", "torch.ones(2**23)")},
     {"memory_bytes": 1_500_000_000}, "memory_limit"),
    ("memory hog in SCORE", {"logits": HOG.replace("bytearray(16 * 2**20)", "torch.ones(2**23)")},
     {"memory_bytes": 2_000_000_000}, "memory_limit"),
    # three places of a quarter each, and the rest for the rank itself
    ("disk filler", {"train": FILLER}, {"memory_bytes": 2_000_000_000}, "complete"),
    ("log flooder", {"train": "for _ in range(3000): print('x' * 1000, flush=True)"}, {}, "complete"),
    ("sleeper", {"train": "time.sleep(600)"}, {"train_s": 1}, "train_timeout"),
]  # fmt: skip


@needs_groups
@pytest.mark.slow  # bombs and hogs are tried on a tree above
@pytest.mark.parametrize(
    ("name", "parts", "budget", "status"), [pytest.param(*run, id=run[0].replace(" ", "-")) for run in RUNS]
)
def test_a_run_that_would_take_the_machine_is_recorded_and_gone(
    name: str, parts: dict[str, str], budget: dict[str, object], status: str, speedrun: Any, tmp_path: Path,
    write_submission: Any, write_track: Any,
) -> None:  # fmt: skip
    outcome = speedrun.run(write_submission(tmp_path, **parts), "--nproc", "1", track=write_track(tmp_path, **budget))
    assert outcome.record["status"] == status, outcome.record["sentence"] + outcome.log[-500:]  # and nothing is left
    if status != "complete":
        assert outcome.code == 4, outcome.stdout + outcome.stderr
    if name == "log flooder":
        assert outcome.record["log_truncated"]
