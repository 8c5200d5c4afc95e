"""How commands end where the machine or its user is the cause: one sentence, the right exit code, never a traceback."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import ending
from harness.errors import RunFailure, UserError
from harness.status import Status

ROOT = Path(__file__).resolve().parent.parent
HARNESS = [sys.executable, "-m", "harness"]
SLOW = pytest.mark.slow
RECORD = "records/nano-2cpu/2026-11-22_Muon"


def speedrun(*argv: str, stdout: Any = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*HARNESS, *argv], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, env=os.environ | environment, timeout=600
    )


RAISED: dict[str, tuple[Callable[[], BaseException], int, str]] = {
    "a file": (lambda: FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y"), 5, "/x/y, found: No such"),
    "a read-only disk": (lambda: OSError(errno.EROFS, "Read-only file system", b"/x"), 5, "Read-only file system"),
    "a full disk behind stdout": (lambda: OSError(errno.ENOSPC, "No space left on device"), 5, "all of the output"),
    "an error without words": (lambda: OSError(), 5, "OSError"),
    "text of another encoding": (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), 5, "LANG"),
    "too little memory": (lambda: MemoryError(), 5, "enough memory"),
    "Ctrl-C": (lambda: KeyboardInterrupt(), 130, "interrupted"),
    "a mistake": (lambda: UserError("expected this, found that"), 2, "expected this, found that"),
    "a run that failed": (lambda: RunFailure(Status.SCORE_TIMEOUT, "too long"), 4, "too long"),
    "a reader that is gone": (lambda: BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("case", RAISED)
def test_whatever_is_raised_becomes_a_sentence_and_its_exit_code(
    case: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    make, code, words = RAISED[case]

    def fail() -> int:
        raise make()

    assert ending.run_to_its_end(fail, ["--json"] if as_json else []) == code
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.splitlines()) == bool(words)
    if as_json and words:
        assert json.loads(shown.out) == {"error": shown.err.strip().removeprefix("speedrun: "), "exit_code": code}


def test_only_a_bug_of_ours_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending.run_to_its_end(lambda: 1 // 0, []) == 6
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["", "leaderboard --track nano-2cpu", pytest.param(f"verify {RECORD}", marks=SLOW)])
def test_nobody_reads_the_output_any_more(words: str) -> None:
    """As behind `| head -1`: the reading end is closed before the first byte."""
    reader, writer = os.pipe()
    os.close(reader)
    done = speedrun(*words.split(), stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", ["--help", "leaderboard --track nano-2cpu"])
def test_a_full_disk_behind_stdout(words: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        done = speedrun(*words.split(), stdout=full)
    assert done.returncode == 5
    assert done.stderr.decode().splitlines()[-1] == (
        "speedrun: expected to write all of the output, found: No space left on device"
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=SLOW)])
@pytest.mark.parametrize(
    "words", ["leaderboard --track nano-2cpu", f"show {RECORD}", "plot progress --track nano-2cpu"]
)
def test_a_terminal_that_is_not_utf8(words: str, encoding: str) -> None:
    done = speedrun(*words.split(), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode(encoding)


@pytest.mark.parametrize(
    "words", ["leaderboard --track nano-2cpu --json", "leaderboard --track nano-2cpu --format csv"]
)
def test_what_is_for_machines_is_utf8_whatever_the_locale(words: str) -> None:
    assert speedrun(*words.split(), PYTHONIOENCODING="ascii").stdout == speedrun(*words.split()).stdout


INTERRUPTED = """
import os, signal, sys
sys.argv = ["speedrun"]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)
from harness.__main__ import main
class Finder:  # Ctrl-C while this module is imported
    def find_spec(self, name, *_):
        if name == {name!r}: os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
main(["leaderboard", "--track", "nano-2cpu"])
"""


@pytest.mark.parametrize("name", ["typer", "rich.table", "pydantic", "harness.errors", "leaderboard.cli.leaderboard"])
def test_ctrl_c_while_modules_are_imported(name: str) -> None:
    program = [sys.executable, "-c", INTERRUPTED.format(name=name)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (130, "speedrun: interrupted\n"), done.stdout


USAGE = {
    "compare": "expected CANDIDATE, found none; see `speedrun compare --help`",
    "run x --trak y": "expected an option that there is, found '--trak'; did you mean --track?",
    "leaderboard nano": "expected no more arguments, found nano; see `speedrun leaderboard --help`",
    "run x --nproc y": "expected another value of --nproc, found: ",
    "data nope": "found 'nope'; see `speedrun data --help`",
    "site --what": "expected an option that there is, found '--what'",
    "submit runs/x": "expected --title, found none",
    "leaderbord": "did you mean 'leaderboard'?",
}


@pytest.mark.parametrize("words", USAGE)
def test_a_wrong_command_line_is_one_sentence_of_ours_and_json_where_that_is_asked_for(words: str) -> None:
    plain, machine = speedrun(*words.split()), speedrun(*words.split(), "--json")
    assert (plain.returncode, machine.returncode, plain.stdout) == (2, 2, b"")
    told = json.loads(machine.stdout)
    assert told["exit_code"] == 2
    assert plain.stderr.decode() == f"speedrun: {told['error']}\n" == machine.stderr.decode()
    assert USAGE[words] in told["error"]


@pytest.mark.parametrize(
    "words",
    ["site build --out {out}", "site build --out README.md/x", "plot progress --out {out}.svg --track nano-2cpu"],
)
def test_an_output_that_cannot_be_written_is_named(words: str) -> None:
    out = "/proc/no-such-place"
    done = speedrun(*words.format(out=out).split())
    assert done.returncode == 2
    assert b"can be written at" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_chart_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    lines = [f"step:{step}/3 val_loss:{9 - step}.5 train_time:{step}0ms step_avg:1.00ms" for step in range(4)]
    log.write_text("\n".join([*lines, ""]))
    done = speedrun("log", str(log), "--chart", "/proc/no-such-place.svg")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"can be written at /proc/no-such-place.svg" in done.stderr


def test_a_folder_that_is_gone_is_the_machines_failure_and_recorded(speedrun: Any) -> None:
    """A run in whose middle the operating system refuses something that nobody foresaw."""
    program = (
        "from harness.referee import execution\n"
        "def gone(*_): raise FileNotFoundError(2, 'No such file or directory', '/gone')\n"
        "execution._score = gone\nfrom harness.__main__ import main\n"
        f"main(['run', {str(ROOT / 'tests/submissions/bigram.py')!r}, '--track', "
        f"{str(ROOT / 'tests/tracks/tiny/track.toml')!r}, '--nproc', '1'])"
    )
    outcome = speedrun.end(speedrun.start(sys.executable, "-c", program))
    assert (outcome.record["status"], outcome.code) == ("machine_failed", 5)
    assert "/gone, found: No such file or directory" in outcome.stdout
    assert "Traceback" not in outcome.stderr
    assert speedrun.leftovers() == []


@pytest.mark.slow
def test_whoever_stops_listening_to_a_run_does_not_end_it(speedrun: Any) -> None:
    """stderr is a pipe without a reader, as when a terminal or `tee` has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [*HARNESS, "run", "tests/submissions/bigram.py", "--track", "tests/tracks/tiny", "--nproc", "1", "--json"]
    done = subprocess.run(
        argv, cwd=ROOT, env=speedrun.environment(), stdout=subprocess.PIPE, stderr=writer, timeout=600
    )
    os.close(writer)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "complete"


@pytest.mark.slow
def test_a_working_folder_that_is_gone(speedrun: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script, track = ROOT / "tests/submissions/bigram.py", ROOT / "tests/tracks/tiny/track.toml"
    program = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); os.rmdir({str(gone)!r}); " + (
        f"from harness.__main__ import main; main(['run', {str(script)!r}, '--track', {str(track)!r}, '--nproc', '1'])"
    )
    outcome = speedrun.end(speedrun.start(sys.executable, "-c", program, cwd=gone))
    assert (outcome.record["status"], outcome.code) == ("complete", 0), outcome.stderr


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_ctrl_c_on_a_quick_command_is_130_whenever_it_comes(number: int) -> None:
    """Some points of its life, one after the other: never a traceback, never another code but its own."""
    for kilobytes in (0, 1, 4):
        process = subprocess.Popen(
            [*HARNESS, "leaderboard", "--track", "gpt2-small-8xh100", "--json"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(kilobytes * 1024)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=600)
        assert process.returncode in (0, 130, -number), stderr
        assert b"Traceback" not in stderr
