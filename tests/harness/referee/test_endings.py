"""How a run can be cut short from outside, and what must be left of it: a record that says so, and nothing else."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.formats.run import read_run

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
LEVELS = ("namespaces", "landlock", "process")
SLOW = pytest.mark.slow
WAIT = "print('now waiting', flush=True)\ntime.sleep(600)"


def require(level: str) -> None:
    from harness.sandbox.levels import available_levels

    if level not in available_levels():
        pytest.skip(f"no {level} on this machine")


def require_mounts() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("no mount namespaces for this user")


@pytest.mark.parametrize(
    ("number", "part", "status", "code"),
    [
        (signal.SIGINT, "prepare", "interrupted", 130),
        (signal.SIGTERM, "train", "terminated", 143),
        pytest.param(signal.SIGINT, "logits", "interrupted", 130, marks=SLOW),
        pytest.param(signal.SIGTERM, "prepare", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGTERM, "logits", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGHUP, "prepare", "terminated", 143, marks=SLOW),  # a dropped ssh
        pytest.param(signal.SIGHUP, "train", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGHUP, "logits", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGQUIT, "prepare", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGQUIT, "train", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGQUIT, "logits", "terminated", 143, marks=SLOW),
        pytest.param(signal.SIGUSR1, "train", "terminated", 143, marks=SLOW),  # a batch system's warning
        pytest.param(signal.SIGXCPU, "train", "terminated", 143, marks=SLOW),
    ],
)
def test_a_signal_ends_the_run_and_is_recorded(
    speedrun: Any, tmp_path: Path, write_submission: Any, number: int, part: str, status: str, code: int
) -> None:
    process = speedrun.begin(write_submission(tmp_path, **{part: WAIT}), "--nproc", "1")
    speedrun.wait_for("now waiting")
    process.send_signal(number)
    outcome = speedrun.end(process)
    assert (outcome.record["status"], outcome.code) == (status, code), outcome.stdout + outcome.stderr
    assert outcome.record["finished_at"]
    assert outcome.stdout.startswith(f"{status}: the run was stopped by {signal.Signals(number).name}\n")
    assert "Traceback" not in outcome.stderr
    assert speedrun.leftovers() == []


@pytest.mark.slow
def test_a_run_behind_nohup_outlives_its_terminal(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any
) -> None:
    """What the caller ignores stays ignored; the run is ended by a signal that is not."""
    program = (
        "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    script = write_submission(tmp_path, prepare=WAIT)
    argv = [sys.executable, "-m", "harness", "run", script, "--track", TRACK, "--nproc", "1"]
    process = speedrun.start(sys.executable, "-c", program, *argv)
    speedrun.wait_for("now waiting")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR2)
    outcome = speedrun.end(process)
    assert outcome.record["sentence"].endswith("SIGUSR2")
    assert speedrun.leftovers() == []


def test_signals_before_and_after_the_run_raise_at_its_edges_only() -> None:
    from harness.errors import RunFailure
    from harness.system.interrupts import Interrupts

    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        with interrupts.raised():
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # cleaning up is left in peace
        with pytest.raises(RunFailure, match="SIGTERM"), interrupts.raised():
            raise AssertionError("a signal that came before must end the run at once")
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_was_lost_or_deferred_is_insisted_on() -> None:
    from harness.errors import RunFailure
    from harness.system.interrupts import Interrupts, deferred, insist

    def lose() -> None:
        with contextlib.suppress(RunFailure):  # as an import or a __del__ may
            signal.raise_signal(signal.SIGINT)
        insist()

    def defer() -> None:
        with deferred():
            signal.raise_signal(signal.SIGTERM)
            insist()
        insist()

    insist()  # nobody holds signals
    for end, name in ((lose, "SIGINT"), (defer, "SIGTERM")):
        with Interrupts() as interrupts:
            with pytest.raises(RunFailure, match=name), interrupts.raised():
                end()
            insist()  # cleaning up is left in peace


@pytest.mark.parametrize(
    ("level", "part"),
    [
        ("namespaces", "train"),
        pytest.param("namespaces", "prepare", marks=SLOW),
        pytest.param("process", "prepare", marks=SLOW),
        pytest.param("process", "train", marks=SLOW),
        pytest.param("process", "logits", marks=SLOW),
    ],
)
def test_sigkill_of_the_referee_takes_everything_along(
    speedrun: Any, tmp_path: Path, write_submission: Any, until: Callable[..., Any], level: str, part: str
) -> None:
    require(level)
    ranks = "1" if part == "logits" else "2"
    script = write_submission(tmp_path, **{part: WAIT})
    process = speedrun.begin(script, "--nproc", ranks, "--require-sandbox", level)
    folder = speedrun.wait_for("now waiting")
    process.kill()
    process.wait()
    until(lambda: not speedrun.processes(), "the death of every process")

    shown = speedrun.end(speedrun.start(sys.executable, "-m", "harness", "leaderboard", "--track", TRACK, "--json"))
    assert [row["status"] for row in json.loads(shown.stdout)["standings"]] == ["abandoned"]
    assert json.loads((folder / "run.json").read_bytes())["status"] == "started"  # a reader does not write
    assert speedrun.leftovers() != []

    following = tmp_path / "next"
    following.mkdir()
    outcome = speedrun.run(write_submission(following, prepare="1 / 0"), "--nproc", "1")  # asserts: nothing is left
    assert outcome.record["status"] == "prepare_failed"
    assert json.loads((folder / "run.json").read_bytes())["status"] == "abandoned"


DETACHED = """
here, there = os.pipe()  # closed where another program takes over
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.execve(sys.executable, ["python", "-I", "-S", "-c", "import time; time.sleep(1e6)", "{seconds}"], {{}})
    os._exit(0)
os.close(there)
assert os.read(here, 1) == b""
os.wait()
print("detached", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_detached_children_do_not_survive_stop(
    speedrun: Any,
    tmp_path: Path,
    write_submission: Any,
    level: str,
    named_on_a_command_line: Callable[[str], list[int]],
) -> None:
    require(level)
    seconds = f"98765.{int.from_bytes(os.urandom(6)):015}"  # to be found by: it has no environment
    script = write_submission(tmp_path, train=DETACHED.format(seconds=seconds))
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
    assert outcome.record["status"] == "complete", outcome.record["sentence"] + outcome.log[-2000:]
    assert outcome.record["sandbox"] == level
    assert "detached" in outcome.log
    assert named_on_a_command_line(seconds) == []


def waits_for_a_lock(pid: int) -> bool:
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any("->" in words and str(pid) in words for words in locks)


INHERITED = {
    "closed descriptors, umask 777": "for number in (0, 1, 2): os.close(number)\nos.umask(0o777)",
    "umask 000": "os.umask(0)",
    "umask 077": "os.umask(0o077)",
    "stderr closed": "os.close(2)",
    "stdin closed": "os.close(0)",
    "SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})",
}


@pytest.mark.slow
@pytest.mark.parametrize("inherited", INHERITED)
def test_what_a_supervisor_hands_down_changes_nothing(speedrun: Any, inherited: str) -> None:
    """The run is complete, at the sandbox level it has anyhow."""
    from harness.sandbox.levels import available_levels

    program = f"import os, signal, sys\n{INHERITED[inherited]}\nos.execv(sys.executable, sys.argv[1:])"
    argv = [sys.executable, "-m", "harness", "run", BIGRAM, "--track", TRACK, "--nproc", "1"]
    outcome = speedrun.end(speedrun.start(sys.executable, "-c", program, *argv))
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    assert (outcome.record["status"], outcome.record["sandbox"]) == ("complete", available_levels()[0])
    made = [outcome.folder, *outcome.folder.rglob("*")]
    assert [path for path in made if path.stat().st_mode & 0o022] == [], "nobody else may write what was recorded"
    assert speedrun.leftovers() == []


@pytest.mark.parametrize(
    ("given", "used"),
    [(0o777, 0o077), (0o077, 0o077), (0, 0o022), (0o022, 0o022), (0o002, 0o002), (0o020, 0o022), (0o700, 0o022)],
)
def test_a_umask_leaves_us_our_files_and_everybody_nothing_to_write(given: int, used: int) -> None:
    from harness.system.inheritance import usable

    assert usable(given) == used


@pytest.mark.slow
def test_signals_that_a_supervisor_has_blocked_end_the_run(
    speedrun: Any, tmp_path: Path, write_submission: Any
) -> None:
    program = f"import os, signal, sys\n{INHERITED['signals blocked']}\nos.execv(sys.executable, sys.argv[1:])"
    script = write_submission(tmp_path, prepare=WAIT)
    argv = [sys.executable, "-m", "harness", "run", script, "--track", TRACK, "--nproc", "1"]
    process = speedrun.start(sys.executable, "-c", program, *argv)
    speedrun.wait_for("now waiting")
    process.terminate()
    assert speedrun.end(process).code == 143


def test_a_weaker_sandbox_says_why(speedrun: Any, tmp_path: Path) -> None:
    """A bubblewrap that fails, as where user namespaces are forbidden: its own words are told."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    argv = [sys.executable, "-m", "harness", "run", BIGRAM, "--track", TRACK, "--nproc", "1"]
    outcome = speedrun.end(speedrun.start(*argv, PATH=f"{tmp_path}:{os.environ['PATH']}"))
    assert outcome.record["sandbox"] in ("landlock", "process")
    assert (
        f"sandbox {outcome.record['sandbox']}, not namespaces: bubblewrap cannot make its namespaces" in outcome.stderr
    )
    assert "No permissions to create a new namespace" in outcome.stderr


@pytest.mark.slow
def test_a_run_in_another_container_is_left_alone(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any
) -> None:
    """The other sees the same folder of runs and not this process; whatever it does, this run goes on undisturbed."""
    if subprocess.run(["unshare", "-rpf", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("no pid namespaces for this user")
    told = tmp_path / "told"
    hold = f"print('holding', flush=True)\nwhile not os.path.exists({str(told)!r}): time.sleep(0.02)"
    script, track = write_submission(tmp_path, prepare=hold), write_track(tmp_path, prepare_s=600)
    first = speedrun.begin(script, "--nproc", "1", "--require-sandbox", "process", track=track)
    holder = speedrun.wait_for("holding")
    argv = [sys.executable, "-m", "harness", "run", BIGRAM, "--track", TRACK, "--nproc", "1"]
    other = speedrun.end(speedrun.start("unshare", "-rpf", "--mount-proc", *argv))
    assert "another run holds this machine" in other.stdout + other.stderr
    assert json.loads((holder / "run.json").read_bytes())["status"] == "started"
    assert (holder / ".reserve").exists()
    told.touch()
    assert speedrun.end(first).code == 0
    assert json.loads((holder / "run.json").read_bytes())["status"] == "complete"
    assert speedrun.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["prepare", "logits"])
def test_a_run_killed_with_its_whole_container_is_closed_by_the_next(
    speedrun: Any, tmp_path: Path, write_submission: Any, until: Callable[..., Any], part: str
) -> None:
    """Its pid namespace is gone with it; from here only the lock tells that nobody conducts it."""
    if subprocess.run(["unshare", "-rpf", "--mount-proc", "--kill-child", "true"], capture_output=True).returncode:
        pytest.skip("no pid namespaces for this user")
    argv = ["run", write_submission(tmp_path, **{part: WAIT}), "--track", TRACK, "--nproc", "1"]
    container = ["unshare", "-rpf", "--mount-proc", "--kill-child", sys.executable, "-m", "harness"]
    process = speedrun.start(*container, *argv, "--require-sandbox", "process")
    folder = speedrun.wait_for("now waiting")
    seen = read_run(folder)
    assert (seen.status, "of another container, and is in progress" in seen.sentence) == ("started", True)
    process.kill()
    process.wait()
    until(lambda: not speedrun.processes(), "the death of the container")
    assert read_run(folder).status == "abandoned"
    following = tmp_path / "next"
    following.mkdir()
    script = write_submission(following, prepare="1 / 0")
    assert speedrun.end(speedrun.begin(script, "--nproc", "1")).record["status"] == "prepare_failed"
    assert json.loads((folder / "run.json").read_bytes())["status"] == "abandoned"
    assert not (folder / ".reserve").exists()


@pytest.mark.slow
def test_one_run_at_a_time(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any, until: Callable[..., Any]
) -> None:
    """The first holds the machine until it is told to go on, at the level where it can see that it is told."""
    told = tmp_path / "told"
    hold = f"print('holding', flush=True)\nwhile not os.path.exists({str(told)!r}): time.sleep(0.02)"
    script, track = write_submission(tmp_path, prepare=hold), write_track(tmp_path, prepare_s=600)
    first = speedrun.begin(script, "--nproc", "1", "--require-sandbox", "process", track=track)
    holder = speedrun.wait_for("holding")
    second = speedrun.end(speedrun.begin(BIGRAM, "--nproc", "1", "--json"))
    refused = json.loads(second.stdout)
    assert (refused["status"], second.code) == ("machine_busy", 5)
    assert list(speedrun.runs.iterdir()) == [holder], "of what never had the machine nothing is kept"
    assert f"process {first.pid}" in refused["sentence"]
    third = speedrun.begin(BIGRAM, "--nproc", "1", "--wait", "--json")
    until(lambda: waits_for_a_lock(third.pid) or third.poll() is not None, "the third run to wait for the machine")
    assert third.poll() is None, third.communicate()
    told.touch()
    assert "\ncomplete: " in "\n" + speedrun.end(first).stdout  # it was not disturbed
    patient = json.loads(speedrun.end(third).stdout)
    assert patient["status"] == "complete", patient["sentence"]
    earlier = json.loads((holder / "run.json").read_bytes())
    assert patient["stamps"]["start_ns"] > earlier["stamps"]["dead_ns"]
    assert speedrun.leftovers() == []


def in_a_mount_namespace(speedrun: Any, prelude: str, *words: str | Path) -> Any:
    """A run behind `prelude`, shell commands that may mount; its runs come back by a copy."""
    inner = speedrun.runs.with_name("inner")
    inner.mkdir()
    command = f"""{prelude}
        SPEEDRUN_RUNS={inner} {sys.executable} -m harness run {" ".join(map(str, words))} --nproc 1
        code=$?; touch {inner}.over; wait; cp -a {inner} {speedrun.runs}; exit $code"""
    return speedrun.end(speedrun.start("unshare", "-rm", "bash", "-c", command))


@pytest.mark.slow
def test_a_full_disk_is_recorded(speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any) -> None:
    """The log finds no space, and somebody takes every byte that becomes free."""
    require_mounts()
    runs = speedrun.runs.with_name("inner")
    prelude = f"""mount -t tmpfs -o size=12m none {runs}
        (until test -s {runs}/*/log.txt || test -e {runs}.over; do sleep 0.05; done
        until test -e {runs}.over; do cat /dev/zero >> {runs}/filler; sleep 0.01; done) 2>/dev/null &"""
    script = write_submission(tmp_path, train="while True: print('x' * 100_000, flush=True)")
    outcome = in_a_mount_namespace(speedrun, prelude, script, "--track", write_track(tmp_path, log_bytes=100_000_000))
    assert (outcome.record["status"], outcome.code) == ("disk_full", 5), outcome.stdout + outcome.stderr
    assert outcome.record["finished_at"]
    assert "disk is full" in outcome.stdout
    assert "Traceback" not in outcome.stderr
    assert speedrun.leftovers() == []


def test_a_disk_that_a_self_timed_script_fills_is_recorded(speedrun: Any, tmp_path: Path) -> None:
    require_mounts()
    prelude = f"mount -t tmpfs -o size=10m none {speedrun.runs.with_name('inner')}"
    (tmp_path / "train.py").write_text("for step in range(40_000): print(f'step:{step} train_loss:3.0', 'x' * 100)")
    outcome = in_a_mount_namespace(speedrun, prelude, "--legacy", tmp_path / "train.py")
    assert outcome.code == 5, outcome.stdout + outcome.stderr
    assert "disk_full: " in outcome.stdout
    (record,) = [json.loads(path.read_bytes()) for path in speedrun.runs.glob("*/legacy.json")]
    assert record["status"] == "disk_full"
    assert record["finished_at"]
    assert speedrun.leftovers() == []


def test_a_disk_that_is_full_already(speedrun: Any) -> None:
    require_mounts()
    prelude = f"mount -t tmpfs -o size=4m none {speedrun.runs.with_name('inner')}"
    outcome = in_a_mount_namespace(speedrun, prelude, BIGRAM, "--track", TRACK)
    assert outcome.code == 5
    assert re.fullmatch(r"speedrun: the disk is full at .*", outcome.stderr.strip())
    assert list(speedrun.runs.iterdir()) == []
    assert speedrun.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_small_dev_shm_is_enough(speedrun: Any, level: str) -> None:
    require(level)
    require_mounts()
    prelude = "mount -t tmpfs -o size=64k none /dev/shm"
    outcome = in_a_mount_namespace(speedrun, prelude, BIGRAM, "--track", TRACK, "--require-sandbox", level)
    assert (outcome.record["status"], outcome.code) == ("complete", 0), outcome.stdout + outcome.stderr
    assert speedrun.leftovers() == []


def test_runs_cannot_be_written(speedrun: Any) -> None:
    outcome = speedrun.run(BIGRAM, "--out", "/dev/null")
    assert outcome.code == 2
    sentence = "speedrun: expected a folder for runs that can be written at /dev/null, found: Not a directory"
    assert outcome.stderr.strip() == sentence


def test_a_misspelt_sandbox_is_no_run(speedrun: Any) -> None:
    outcome = speedrun.run(BIGRAM, "--require-sandbox", "namespace")
    assert outcome.code == 2
    sentence = "speedrun: expected a sandbox level out of namespaces, landlock, process, found 'namespace'"
    assert outcome.stderr.strip() == sentence
    assert outcome.folders == []


def run_after(speedrun: Any, preparation: str, track: Path = TRACK) -> Any:
    """The command in an interpreter in which something has been changed before."""
    argv = ["run", str(BIGRAM), "--track", str(track), "--nproc", "1"]
    modules = "from harness.referee import execution\nfrom data import datasets"
    code = f"{modules}\n{preparation}\nfrom harness.__main__ import main"
    outcome = speedrun.end(speedrun.start(sys.executable, "-c", f"{code}\nmain({argv})"))
    assert speedrun.leftovers() == []
    return outcome


def test_damaged_data_is_recorded(speedrun: Any, standing_track: Path) -> None:
    """A shard that is damaged after it was looked at."""
    shards = speedrun.data / "tales"
    source = shards.resolve()
    shards.unlink()
    shutil.copytree(source, shards)
    damaged = next(path for path in shards.iterdir() if "train" in path.name)
    damaged.write_bytes(damaged.read_bytes()[:-2])
    outcome = run_after(speedrun, "from harness.cli import run; run.check_data = lambda track: None", standing_track)
    assert (outcome.record["status"], outcome.code) == ("data_invalid", 5)
    assert damaged.name in outcome.record["sentence"]


def test_an_error_of_the_referee_itself_is_recorded_too(speedrun: Any) -> None:
    outcome = run_after(speedrun, "execution._score = None")
    assert outcome.record["status"] == "referee_failed"
    assert outcome.code not in (0, 2)
    assert "TypeError" in outcome.stderr  # a bug of ours is the one thing that shows its traceback


def test_a_signal_at_a_fork_ends_the_run_without_a_traceback(speedrun: Any) -> None:
    """What a handler raises in the hooks of a fork is printed and forgotten by Python."""
    fork = "import os, signal; os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))"
    outcome = run_after(speedrun, fork)
    assert (outcome.record["status"], outcome.code) == ("terminated", 143)
    assert "Traceback" not in outcome.stderr


SOCKET = """
import multiprocessing, tempfile
from multiprocessing.connection import Listener
with Listener(family="AF_UNIX") as listener: print("a socket at", listener.address, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_long_path_of_temporary_files(speedrun: Any, tmp_path: Path, write_submission: Any, level: str) -> None:
    """The address of a Unix socket holds 107 bytes; a TMPDIR may have more, and libraries open sockets below it."""
    require(level)
    speedrun.temporary = speedrun.temporary / ("long" * 40)
    speedrun.temporary.mkdir()
    script = write_submission(tmp_path, prepare=SOCKET)
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
    assert outcome.record["status"] == "complete", outcome.record["sentence"] + outcome.log[-2000:]
    (place,) = re.findall("a socket at (.*)", outcome.log)
    assert not os.path.exists(place)
    mine = [path for path in Path("/tmp").glob("speedrun-*") if place.startswith(str(path))]
    assert mine == []


@pytest.mark.slow
def test_temporary_files_go_where_code_can_be_executed(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    """TMPDIR on a disk mounted noexec; and everything so, which is refused before anything is started."""
    require("landlock")
    require_mounts()
    script = write_submission(tmp_path, prepare="print('home is', os.environ['HOME'], flush=True)")
    prelude = f"mount -t tmpfs -o noexec none {speedrun.temporary}"
    outcome = in_a_mount_namespace(speedrun, prelude, script, "--track", TRACK, "--require-sandbox", "landlock")
    assert outcome.record["status"] == "complete", outcome.stdout + outcome.stderr
    assert str(speedrun.temporary) not in re.findall("home is (.*)", outcome.log)[0]
    for folder in (speedrun.runs, speedrun.runs.with_name("inner")):
        shutil.rmtree(folder)
    prelude += " && mount -t tmpfs -o noexec none /var/tmp"
    prelude += " && mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp"  # with what lies there
    refused = in_a_mount_namespace(speedrun, prelude, script, "--track", TRACK, "--require-sandbox", "landlock")
    assert (refused.record["status"], refused.code) == ("machine_failed", 5)
    assert "nothing there can be executed" in refused.record["sentence"]


BEYOND_STOP = """
import fcntl
here, there = os.pipe()
if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        import atexit
        home, memory = os.environ["HOME"], run._memory
        atexit.register(lambda: os.pwrite(memory, b"\\xdd" * 8, 0))
        print("BEYOND", os.getpid(), flush=True)
        os.write(there, b"!")
        for turn in range(10**9):
            if os.fork(): os._exit(0)  # another pid at every turn
            try:
                os.pwrite(memory, (b"\\xdd" if turn % 2 else b"\\xee") * 4, 0)
            except OSError:
                print("REFUSED", flush=True)
                break
            time.sleep(0.001)
        while True: time.sleep(1)
    os._exit(0)
os.wait()
assert os.read(here, 1) == b"!"  # it is at work
time.sleep(0.3)
time.time = time.monotonic = time.perf_counter = lambda: 0.0
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_detached_writer_that_changes_its_pid_stops_with_the_clock(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    """It writes into the weights until the seal, which it can neither prevent nor outlive; nobody is left of it."""
    require(level)
    outcome = speedrun.run(write_submission(tmp_path, train=BEYOND_STOP), "--nproc", "1", "--require-sandbox", level)
    record = outcome.record
    assert record["status"] == "complete", record["sentence"]
    assert "BEYOND" in outcome.log
    assert record["phases"]["train_ns"] >= 300_000_000  # on the referee's clock, whatever its own says
    assert record["stamps"]["go_ns"] + record["phases"]["train_ns"] == record["stamps"]["stop_ns"]
