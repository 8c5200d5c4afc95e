"""Self-timed scripts, run as they are: what they say, what was seen, and what never helps them."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.__main__ import main
from harness.campaigns.bundle import read_bundle
from harness.errors import RecordError, UserError
from harness.formats.logfile import CUT_MARK
from harness.formats.run import Owner
from harness.formats.track import default_track
from harness.referee import machine
from harness.sandbox.usage import Meter, read_gpu_samples
from harness.selftimed.grammars import GRAMMARS
from harness.selftimed.observed_log import LineStamper, read_observed_log
from harness.selftimed.record import SelfTimedRecord, SelfTimedScript, encode, read_self_timed
from harness.selftimed.workcopy import LINKED_BYTES, find_checkout, take_out, take_working_copy
from harness.status import Status

SAY = """
def say(step, loss, ms, total=10):
    print(f"step:{step}/{total} val_loss:{loss} train_time:{ms}ms step_avg:1.00ms")
"""
SECOND = 1_000_000_000
TRACK = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"


@pytest.fixture
def legacy(speedrun: Any, tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], Path]]:
    """legacy(lines, options): a script of these lines, run; the finished process and the folder of its run."""

    def run(
        lines: str, *options: str, arguments: tuple[str, ...] = ()
    ) -> tuple[subprocess.CompletedProcess[str], Path]:
        process = start(speedrun, tmp_path, lines, *options, arguments=arguments)
        stdout, stderr = process.communicate(timeout=600)
        assert speedrun.leftovers() == []
        folder = max((path.parent for path in speedrun.runs.glob("*/legacy.json")), default=speedrun.runs)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr), folder

    return run


def start(
    speedrun: Any, tmp_path: Path, lines: str, *options: str, arguments: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    folder = tmp_path / "theirs"
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text("import os, sys, time\n" + SAY + textwrap.dedent(lines))
    argv = [sys.executable, "-m", "harness", "run", "--legacy", str(folder / "train.py"), *options]
    process: subprocess.Popen[str] = speedrun.start(*argv, "--", *arguments)
    return process


def found(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "legacy.json").read_bytes())
    return record


def ids(folder: Path) -> list[str]:
    return [finding["id"] for finding in found(folder)["findings"]]


def test_what_it_says_and_what_was_seen_stand_side_by_side(legacy: Any) -> None:
    done, folder = legacy(
        "began = time.monotonic()\nsay(0, 10.8, 0)\ntime.sleep(1)\n"
        "say(10, 3.25, round(1000 * (time.monotonic() - began)))\n",
        arguments=("a b", "--x=1"),
    )
    record = found(folder)
    assert done.returncode == 0, done.stderr
    said_ms = int((folder / "log.txt").read_text().partition("val_loss:3.25 train_time:")[2].partition("ms")[0])
    assert (record["status"], record["tier"], record["sandbox"]) == ("complete", "reported", record["sandbox"])
    assert record["claim"]["grammar"].startswith("modded-nanogpt")
    assert (record["claim"]["val_loss"], record["claim"]["step"], record["claim"]["total"]) == (3.25, 10, 10)
    assert record["claim"]["train_time_ns"] == said_ms * 1_000_000
    first, last = record["points"]
    assert 0 <= first["arrived_ns"] < last["arrived_ns"] <= record["observed"]["wall_ns"]
    assert last["arrived_ns"] - first["arrived_ns"] >= 0.5 * SECOND  # of a whole one
    assert record["observed"]["cpu_ns"] > 0
    assert record["script"]["arguments"] == ["a b", "--x=1"]
    assert record["findings"] == []
    assert sorted(path.name for path in folder.iterdir()) == ["legacy.json", "log.txt"]
    assert f"it says      step 10 of 10, val_loss 3.2500, {said_ms / 1000:.3f} s" in done.stdout


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("say(0, 9, 0)\nsay(10, 3, 90000)", "clock_ahead"),
        ("print('step:1/10 train_loss:5.0 train_time:5ms step_avg:5.00ms')\nsay(10, 3, 900000)", "clock_ahead"),
        ("say(0, 9, 0)\ntime.sleep(3)\nsay(10, 3, 10)", "outside_its_clock"),
        ("time.sleep(1.2)\nsys.stdout.write(''.join(f'step:{i}/9 val_loss:3 train_time:{i * 100}ms step_avg:1ms\\n' "
         "for i in range(10)))", "buffered"),
        ("say(9, 4, 9)\nsay(10, 3, 10)\nsay(1, 3, 1)\nsay(2, 2, 2)", "several_runs"),
        ("print('iter_dt 1.00ms; iter 10: train loss 3.10000')", "no_validation"),
        ("print('training ...')", "no_result_lines"),
        ("say(0, 9, 500)\nsay(5, 9, 700)\nsay(10, 3, 600)", "log_oddity"),
        ("print('step:2/9 train_time:2ms step_avg:1ms')\nprint('step:1/9 train_time:3ms step_avg:1ms')\nsay(9, 3, 9)",
         "steps_disordered"),
    ],
)  # fmt: skip
def test_where_claim_and_clock_disagree_is_a_finding(legacy: Any, lines: str, expected: str) -> None:
    done, folder = legacy(lines)
    assert done.returncode == 0, done.stderr
    assert expected in ids(folder)
    assert {finding["severity"] for finding in found(folder)["findings"]} == {"warning"}
    assert expected in done.stdout


def test_a_forged_loss_is_a_claim_and_never_more(legacy: Any) -> None:
    done, folder = legacy("say(10, 0.0001, 1)\n", "--track", str(TRACK), "--json")
    record = json.loads(done.stdout)
    assert record == found(folder) | {"log": str(folder / "log.txt"), "traceback": None}
    assert (record["tier"], record["measured"], record["claim"]["val_loss"]) == ("reported", None, 0.0001)
    assert read_self_timed(folder).reached_target is None
    raised = {**record, "tier": "refereed"}
    with pytest.raises(ValidationError):
        SelfTimedRecord.model_validate_json(json.dumps(raised))
    assert not list(folder.parent.glob("*/run.json"))  # nothing that a board or a campaign would read


@pytest.mark.parametrize(
    ("lines", "options", "code", "status"),
    [
        ("say(1, 3, 1)\nraise SystemExit(7)", (), 3, "train_failed"),
        ("say(1, 3, 1)\nos.kill(os.getpid(), 11)", (), 3, "train_failed"),
        ("say(1, 3, 1)\ntime.sleep(600)", ("--budget-s", "8"), 4, "train_timeout"),
        ("say(1, 3, 1)\nos.fork() or (os.setsid(), time.sleep(600))", (), 0, "complete"),
    ],
)
def test_it_is_recorded_whatever_becomes_of_it(
    legacy: Any, lines: str, options: tuple[str, ...], code: int, status: str
) -> None:
    done, folder = legacy(lines, *options)
    assert (done.returncode, found(folder)["status"]) == (code, status), done.stderr
    assert found(folder)["observed"]["wall_ns"] > 0
    assert "val_loss:3" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(("number", "code", "status"), [(2, 130, "interrupted"), (15, 143, "terminated")])
def test_signals_end_and_record_it(
    speedrun: Any, tmp_path: Path, number: int, code: int, status: str, until: Callable[..., Any]
) -> None:
    process = start(speedrun, tmp_path, "say(1, 3.5, 1)\ntime.sleep(600)")
    folder = speedrun.wait_for("val_loss:3.5")
    process.send_signal(signal.Signals(number))
    stdout, stderr = process.communicate(timeout=600)
    assert (process.returncode, found(folder)["status"]) == (code, status), stdout + stderr
    assert found(folder)["claim"]["val_loss"] == 3.5
    assert speedrun.leftovers() == []


SIGNALLED = """
import os, signal, sys
from harness import __main__ as program
from harness.formats.logfile import LogFile
from harness.selftimed import execution

def signal_after(owner, name):
    function = getattr(owner, name)
    def call(*arguments, **options):
        found = function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return found
    setattr(owner, name, call)

signal_after(LogFile if sys.argv[1] == "write" else execution, sys.argv[1])
sys.argv[1:2] = []
program.main()
"""


@pytest.mark.parametrize("moment", ["write", "_hear_chunk", "_last_words", "_observed", "read_observed_log"])
def test_a_signal_at_any_moment_takes_no_line_out_of_the_claim(speedrun: Any, tmp_path: Path, moment: str) -> None:
    """Between keeping a line and reading it, and while what was heard is put together."""
    (tmp_path / "train.py").write_text(f"import time\n{SAY}say(1, 3.5, 1)\n")
    argv = ["run", "--legacy", str(tmp_path / "train.py"), "--json"]
    done = speedrun.end(speedrun.start(sys.executable, "-c", SIGNALLED, moment, *argv))
    (folder,) = speedrun.runs.iterdir()
    assert found(folder)["claim"]["val_loss"] == 3.5, done.stderr
    assert found(folder)["status"] in ("complete", "terminated"), done.stderr
    assert speedrun.leftovers() == []


def test_a_killed_referee_leaves_an_abandoned_run_and_no_process(
    speedrun: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    process = start(speedrun, tmp_path, "say(1, 3.5, 1)\ntime.sleep(600)")
    folder = speedrun.wait_for("val_loss:3.5")
    assert read_self_timed(folder).status == Status.STARTED
    process.kill()
    process.communicate(timeout=600)
    until(lambda: not speedrun.processes() or None, "the script's death")
    assert read_self_timed(folder).status == Status.ABANDONED
    start(speedrun, tmp_path, "say(1, 3.5, 1)").communicate(timeout=600)
    assert speedrun.leftovers() == []  # the next run gives back what it had reserved
    closed = found(folder)
    assert (closed["status"], closed["finished_at"] is None) == ("abandoned", False)


def test_of_a_script_that_never_had_the_machine_nothing_is_kept(
    speedrun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(speedrun.temporary))
    with machine.exclusive(wait=False):
        process = start(speedrun, tmp_path, "say(1, 3.5, 1)")
        stdout, stderr = process.communicate(timeout=600)
    assert "machine_busy: another run holds this machine" in stdout, stderr
    assert "nothing kept" in stdout
    assert list(speedrun.runs.iterdir()) == []


def test_it_works_in_a_copy_and_reaches_nothing_else(legacy: Any, speedrun: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("outside")
    lines = f"""
        import socket
        open("train.py", "a").write("# changed")
        os.makedirs("out"), open("out/made", "w").write("x")
        print("secret", os.path.exists({str(secret)!r}), "data", sorted(os.listdir("data")))
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=2)
        except OSError as error:
            print("network", type(error).__name__)
    """
    done, folder = legacy(lines)
    log = (folder / "log.txt").read_text()
    assert done.returncode == 0, log
    if found(folder)["sandbox"] != "namespaces":
        pytest.skip("only namespaces hide files and network")
    assert "secret False data ['embedded-tiny', 'tales']" in log
    assert "network OSError" in log
    assert "# changed" not in (tmp_path / "theirs" / "train.py").read_text().splitlines()[-1]
    assert not (tmp_path / "theirs" / "out").exists()


def test_hostile_output_is_bounded_and_told(legacy: Any, tmp_path: Path, write_track: Callable[..., Path]) -> None:
    track = write_track(tmp_path, log_bytes=200_000)
    lines = """
        sys.stdout.buffer.write(b"\\x1b[2J\\0\\xff\\n" + b"y" * 100_000 + b"\\n")
        say(5, 3.5, 1)
        sys.stdout.write("step:6/10 val_loss:1" + "0" * 300 + " train_time:1ms step_avg:1ms\\n")
        for _ in range(100): sys.stdout.write("x" * 65_000)
        print()
        say(8, 3.25, 1)
        for _ in range(100): sys.stdout.write("x" * 65_000)
        print("\\nthe last words")
    """
    done, folder = legacy(lines, "--track", str(track))
    record = found(folder)
    assert done.returncode == 0, done.stderr
    assert record["log_truncated"]
    assert "its head and its tail are kept" in done.stdout
    log = (folder / "log.txt").read_bytes()
    assert len(log) < 201_000
    assert CUT_MARK in log
    assert log.endswith(b"the last words\n")
    assert (record["claim"]["step"], record["claim"]["val_loss"]) == (8, 3.25)  # heard, though it was not kept
    assert "\x1b" not in done.stdout
    told = {finding["found"] for finding in record["findings"] if finding["id"] == "log_oddity"}
    assert {"nul-bytes", "terminal-escapes", "invalid-utf8", "unreadable-results"} <= told


def test_a_rank_that_fails_after_the_last_line_loses_no_claim(legacy: Any) -> None:
    """torchrun prints a banner of `=` behind what the ranks said."""
    lines = "say(10, 3.5, 1) if os.environ['RANK'] == '0' else sys.exit(1)\n"
    done, folder = legacy(lines, "--nproc", "2")
    assert done.returncode == 3
    log = (folder / "log.txt").read_text()
    assert found(folder)["claim"] is not None or "val_loss" not in log
    assert "no_result_lines" not in {finding["id"] for finding in found(folder)["findings"]} or "val_loss" not in log


def test_what_comes_behind_the_last_step_and_a_loss_that_is_none_are_said(legacy: Any) -> None:
    done, folder = legacy("say(10, 3.5, 1); print('final_int8_zlib_roundtrip val_loss:3.6 val_bpb:1.25')")
    assert found(folder)["claim"]["later"] == [{"label": "final_int8_zlib_roundtrip", "val_loss": 3.6, "val_bpb": 1.25}]
    assert "and then final_int8_zlib_roundtrip: val_loss 3.6000, val_bpb 1.2500" in done.stdout
    done, folder = legacy("say(9, 3.5, 1); say(10, '-nan', 2)")
    assert "diverged: its last loss is no finite number, at step 10" in found(folder)["sentence"]


def test_settings_of_the_caller_are_passed_recorded_or_told(
    legacy: Any, monkeypatch: pytest.MonkeyPatch, speedrun: Any
) -> None:
    monkeypatch.setenv("ITERATIONS", "7")
    monkeypatch.setenv("UNRELATED", "1")
    lines = "say(int(os.environ.get('ITERATIONS', '20')), 3.5, 1, 20); print('other', os.getenv('OTHER'))"
    done, folder = legacy(lines)
    noted = [f["found"] for f in found(folder)["findings"] if f["id"] == "environment_not_passed"]
    assert (found(folder)["claim"]["step"], noted) == (20, ["ITERATIONS"])
    assert "--env" in done.stdout
    _, folder = legacy(lines, "--env", "ITERATIONS", "--env", "OTHER=a b")
    assert found(folder)["claim"]["step"] == 7
    assert found(folder)["script"]["environment"] == {"ITERATIONS": "7", "OTHER": "a b"}
    assert "other a b" in (folder / "log.txt").read_text()
    assert not [f for f in found(folder)["findings"] if f["id"] == "environment_not_passed"]
    for bad in ("1X=3", "NOWHERE_TO_BE_FOUND"):
        done, _ = legacy(lines, "--env", bad)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("style", ["relative", "absolute", "option"])
def test_data_outside_the_checkout_is_readable_and_never_written(legacy: Any, tmp_path: Path, style: str) -> None:
    outside = tmp_path / "elsewhere" / "shards"
    outside.mkdir(parents=True)
    (outside / "x.bin").write_text("their data")
    theirs = tmp_path / "theirs"
    (theirs / "mine").mkdir(parents=True)
    where = f"'{outside}'" if style == "option" else "'mine/shards'"
    if style != "option":
        target = Path("../../elsewhere/shards") if style == "relative" else outside
        (theirs / "mine" / "shards").symlink_to(target)
    lines = f"""
        print(open({where} + '/x.bin').read())
        try: open({where} + '/x.bin', 'w').write('changed')
        except OSError as error: print('write', type(error).__name__)
        say(10, 3.5, 1)
    """
    done, folder = legacy(lines, *(("--readable", str(outside)) if style == "option" else ()))
    log = (folder / "log.txt").read_text()
    assert done.returncode == 0, log
    assert "their data" in log
    if found(folder)["sandbox"] != "process":
        assert (outside / "x.bin").read_text() == "their data"
    if style == "option":
        assert found(folder)["script"]["readable"] == [str(outside.resolve())]


def test_torchrun_starts_ranks(legacy: Any) -> None:
    lines = "print(f\"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}\")\n"
    lines += "if os.environ['RANK'] == '0': say(10, 3.5, 1)\n"
    done, folder = legacy(lines, "--nproc", "2")
    assert done.returncode == 0, (folder / "log.txt").read_text()
    log = (folder / "log.txt").read_text()  # two ranks may share a line
    assert "rank 0 of 2" in log
    assert "rank 1 of 2" in log
    assert (found(folder)["script"]["launcher"], found(folder)["script"]["world_size"]) == ("torchrun", 2)


def test_a_dry_run_starts_nothing(legacy: Any, speedrun: Any) -> None:
    done, _ = legacy("say(1, 3, 1)", "--dry-run", "--json", arguments=("--legacy",))
    plan = json.loads(done.stdout)
    assert (plan["script"], plan["tier"], plan["arguments"]) == ("train.py", "reported", ["--legacy"])
    assert not speedrun.runs.exists()


def test_a_campaign_is_on_the_machines_track_and_in_a_folder_named_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither --track nor an absolute --out, and the sandbox that this machine has."""
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text('print("step:1/1 val_loss:3.5 train_time:9ms step_avg:9.00ms")\n')
    with pytest.raises(SystemExit):
        main(["compare", "--legacy", "train.py", "--baseline-env", "A=1", "--runs", "2", "--out", "runs", "--json"])
    told = json.loads(capsys.readouterr().out)
    bundle = read_bundle(Path(told["folder"]))
    assert (bundle.plan.track.name, bundle.folder.parent) == (default_track(), Path("runs"))
    assert [attempt.run.status for attempt in bundle.stated] == [Status.COMPLETE] * 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--grammar", "nonsense"), "expected auto or one of the grammars"),
        (("--checkpoint", "out/ckpt.pt"), "expected --track beside --checkpoint"),
        (("--track", str(TRACK), "--checkpoint", "x"), "expected an adapter for the checkpoint"),
    ],
)
def test_a_mistake_is_one_sentence(legacy: Any, options: tuple[str, ...], sentence: str) -> None:
    done, _ = legacy("pass", *options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------- parts

LOG = b"".join(
    b"chatter\nstep:%d/9 val_loss:%d.5 train_time:%dms step_avg:1.00ms\nstep:%d/9 train_time:%dms step_avg:1ms\n"
    % (i, 10 - i, i * 10, i + 1, i * 10 + 5)
    for i in range(9)
)


@given(st.lists(st.integers(0, len(LOG)), max_size=30))
def test_lines_are_the_same_in_pieces_of_any_size(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(LOG)]
    stamper = LineStamper(GRAMMARS)
    for number, (a, b) in enumerate(itertools.pairwise(bounds)):
        stamper.feed(LOG[a:b], number)
    assert [stamp.reading.step for stamp in stamper.stamped if stamp.line.kind == "val"] == list(range(9))
    assert len(stamper.stamped) == 18
    assert [stamp.at_ns for stamp in stamper.stamped] == sorted(stamp.at_ns for stamp in stamper.stamped)


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_no_bytes_break_a_transcript(a: bytes, b: bytes) -> None:
    stamper = LineStamper(GRAMMARS)
    for chunk in (a, b"\n" + LOG[:80], b):
        stamper.feed(chunk, 1)
    assert len(stamper.stamped) <= 3


def test_stamps_belong_to_the_lines_that_count() -> None:
    """The embedded source holds a line like a result: it is stamped as it comes, and must not shift the rest."""
    source = b"step:1/9 val_loss:0.5 train_time:1ms step_avg:1ms\n" + b"=" * 100 + b"\n"
    stamper = LineStamper(GRAMMARS)
    for number, line in enumerate((source + LOG).splitlines(keepends=True)):
        stamper.feed(line, number * SECOND)
    heard = read_observed_log(stamper, 0, 100 * SECOND)
    first = next(point for point in heard.points if point.kind == "val")
    assert (first.step, first.loss, first.arrived_ns) == (0, 10.5, 3 * SECOND)
    assert "log_oddity" in [finding.id for finding in heard.findings]


def test_a_working_copy_copies_what_is_small_and_links_what_is_large(tmp_path: Path) -> None:
    theirs, work, data = tmp_path / "theirs", tmp_path / "work", tmp_path / "shards"
    for folder in (theirs / ".git", theirs / "data" / "mine", work, data / "fineweb10B", data / "mine"):
        folder.mkdir(parents=True)
    (theirs / "train.py").write_text("pass")
    (theirs / ".git" / "config").write_text("x")
    with (theirs / "data" / "mine" / "big.bin").open("wb") as file:
        file.truncate(LINKED_BYTES + 1)
    checkout = find_checkout(theirs / "train.py")
    take_working_copy(checkout, work, data)
    assert not (work / ".git").exists()
    assert (work / "data" / "mine" / "big.bin").readlink() == theirs / "data" / "mine" / "big.bin"
    assert (work / "data" / "fineweb10B").resolve() == data / "fineweb10B"
    assert (work / "data" / "mine").is_dir() and not (work / "data" / "mine").is_symlink()
    assert not (work / "train.py").is_symlink()


def test_the_checkout_is_the_repository_around_the_script(tmp_path: Path) -> None:
    script = tmp_path / "projects" / "chargpt" / "chargpt.py"
    script.parent.mkdir(parents=True)
    script.write_text("pass")
    assert find_checkout(script).root == script.parent
    (tmp_path / ".git").mkdir()
    assert find_checkout(script).root == tmp_path
    with pytest.raises(UserError, match="inside its checkout"):
        find_checkout(script, tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["out/link", "linked/secret", "../secret", "/etc/passwd", "out/missing", "out/fifo"])
def test_only_a_plain_file_is_taken_out_of_a_working_copy(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("s")
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    (work / "out" / "link").symlink_to(tmp_path / "secret")
    (work / "linked").symlink_to(tmp_path)
    os.mkfifo(work / "out" / "fifo")
    with pytest.raises(UserError):
        take_out(work, name, tmp_path / "taken", 100)
    (work / "out" / "good").write_text("x" * 50)
    assert len(take_out(work, "out/good", tmp_path / "taken", 100)) == 64
    with pytest.raises(UserError, match="at most 10 bytes"):
        take_out(work, "out/good", tmp_path / "taken", 10)


def test_gpu_samples_are_read_from_nvidia_smis_lines() -> None:
    use = read_gpu_samples(b"50, 1000\n100, 3000\n[N/A], 5\ngarbage\n0, 2000\n")
    assert use is not None
    assert (use.samples, use.mean_utilisation, use.peak_memory_mib) == (3, 0.5, 3000)
    assert read_gpu_samples(b"\xff\n") is None


def test_the_meter_sees_what_a_child_takes() -> None:
    meter = Meter()
    program = "x = bytearray(60_000_000); sum(range(10**7)); print('up', flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        meter.look()
        child.kill()
    use = meter.end()
    assert use.peak_memory_bytes > 60_000_000
    assert use.cpu_ns > 10_000_000


@pytest.mark.parametrize(("key", "value"), [("status", "won"), ("tier", "refereed"), ("extra", 1), ("points", [{}])])
def test_the_schema_is_closed(bundles: ModuleType, tmp_path: Path, key: str, value: object) -> None:
    sample = encode(a_record(bundles)).decode()
    record = json.loads(sample)
    (tmp_path / "legacy.json").write_text(json.dumps({**record, key: value}))
    with pytest.raises(RecordError, match=r"legacy\.json"):
        read_self_timed(tmp_path)
    (tmp_path / "legacy.json").write_text(sample)
    assert json.loads(encode(read_self_timed(tmp_path))) == record


def a_record(bundles: ModuleType) -> SelfTimedRecord:
    """A script that ended, with invented numbers."""
    return SelfTimedRecord(
        run_id="2026-01-02T03-04-05Z-abcdef", status=Status.COMPLETE, sentence="ended", track=None, device="cpu",
        script=SelfTimedScript(
            entry="train.py", sha256="0" * 64, checkout="theirs", checkout_sha256="1" * 64, launcher="python",
            world_size=1,
        ),
        started_at=bundles.START, owner=Owner(pid=1, start_ticks=1, boot_id="x"), environment=bundles.ENVIRONMENT,
    )  # fmt: skip
