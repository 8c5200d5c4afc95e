"""Where a submission's own files raised: out of logs as they are, of whatever else stands in them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.referee.last_frames import MOST_FRAMES, last_frames

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
SCRATCH = "/somewhere/speedrun-6771ec01-12-34-abc_d"
PLAIN = f"""noise
Traceback (most recent call last):
  File "{SCRATCH}/inside/inside.py", line 283, in run_rank
    module.train(run)
  File "{SCRATCH}/source/train_gpt.py", line 6, in train
    x = deeper(4)
        ^^^^^^^^^
  File "/usr/lib/python3/torch/nn.py", line 3, in forward
    torch_only()
  File "{SCRATCH}/source/parts/model.py", line 4, in deeper
    return 1 / 0
ZeroDivisionError: division by zero
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def test_own_frames_and_the_error_without_what_is_ours_or_torchs(log: Path) -> None:
    log.write_text(PLAIN + "more noise")
    assert last_frames(log, "rank 0 raised") == (
        '  File "train_gpt.py", line 6, in train\n    x = deeper(4)\n        ^^^^^^^^^\n'
        '  File "parts/model.py", line 4, in deeper\n    return 1 / 0\nZeroDivisionError: division by zero'
    )


def test_of_several_ranks_the_one_the_sentence_names(log: Path) -> None:
    other = PLAIN.replace("ZeroDivisionError: division by zero", "RuntimeError: the peer is gone")
    log.write_text(PLAIN + other)
    named = last_frames(log, "rank 0 raised in TRAIN: ZeroDivisionError: division by zero")
    assert named is not None
    assert named.endswith("ZeroDivisionError: division by zero")
    unnamed = last_frames(log, "rank 3 died")
    assert unnamed is not None
    assert unnamed.endswith("the peer is gone")


def test_a_syntax_error_of_an_imported_file(log: Path) -> None:
    lines = f'  File "{SCRATCH}/source/other.py", line 1\n    x = (\n        ^\nSyntaxError: never closed\n'
    log.write_text(lines)
    assert last_frames(log, "") == '  File "other.py", line 1\n    x = (\n        ^\nSyntaxError: never closed'


def test_deep_recursion_and_a_torn_end_stay_short(log: Path) -> None:
    frame = f'  File "{SCRATCH}/source/a.py", line 2, in f\n    f()\n'
    log.write_text("x" * 10**6 + "\nTraceback (most recent call last):\n" + frame * 2000)
    found = last_frames(log, "")
    assert found is not None
    assert found.count("line 2, in f") == MOST_FRAMES


@pytest.mark.parametrize(
    "text", ["", "no traceback", 'Traceback (most recent call last):\n  File "/x.py", line 1\nE: x\n']
)
def test_without_own_frames_there_is_nothing(log: Path, text: str) -> None:
    assert last_frames(log, "") is None  # no file at all
    log.write_text(text)
    assert last_frames(log, "") is None
    log.write_bytes(b"\xff\x00Traceback\n" + bytes(range(256)) * 100)
    assert last_frames(log, "") is None


RAISE = "def deeper(): return [][1]\ndeeper()"


@pytest.mark.parametrize(
    "part", ["load", *(pytest.param(p, marks=pytest.mark.slow) for p in ("prepare", "train", "logits"))]
)
def test_whoever_raises_is_shown_with_its_line_and_its_log(
    speedrun: Any, tmp_path: Path, write_submission: Any, part: str
) -> None:
    outcome = speedrun.run(write_submission(tmp_path, **{part: RAISE}), "--nproc", "1", "--json")
    shown = json.loads(outcome.stdout)
    assert shown["log"] == str(outcome.folder / "log.txt")
    assert "in deeper\n" in shown["traceback"], outcome.log
    assert shown["traceback"].endswith("IndexError: list index out of range")
    assert 'File "submission.py", line ' in shown["traceback"]


@pytest.mark.slow
def test_a_person_sees_the_frames_in_a_run_and_in_a_campaign(
    speedrun: Any, tmp_path: Path, write_submission: Any
) -> None:
    script = write_submission(tmp_path, prepare="1 / 0")
    single = speedrun.run(script, "--nproc", "1")
    assert '    File "submission.py", line ' in single.stdout
    assert f"log: {single.folder / 'log.txt'}" in single.stdout
    campaign = speedrun.end(speedrun.begin(script, "--nproc", "1", "--runs", "2", "--anyway"))
    assert campaign.stderr.count("ZeroDivisionError: division by zero") >= 2
    assert "submission.py" in campaign.stderr
    assert "log.txt" in campaign.stderr


def test_a_self_timed_script_shows_its_frames_too(speedrun: Any, tmp_path: Path) -> None:
    """Its checkout holds the folder for temporary files: the working copy does not copy itself."""
    speedrun.temporary = tmp_path / "tmp"
    speedrun.temporary.mkdir()
    (tmp_path / "train.py").write_text("def f():\n    return 1 / 0\nf()\n")
    done = speedrun.end(speedrun.start(sys.executable, "-m", "harness", "run", "--legacy", tmp_path / "train.py"))
    assert '    File "train.py", line 2, in f' in done.stdout, done.stderr
    assert "ZeroDivisionError" in done.stdout


@pytest.mark.parametrize("form", ["{track}/{name}", "{name}", "{folder}"])
def test_a_record_is_run_as_it_is_whatever_it_is_called_by(form: str) -> None:
    track, name = "nano-2cpu", "2026-11-22_Muon"
    words = form.format(track=track, name=name, folder=ROOT / "records" / track / name)
    argv = [sys.executable, "-m", "harness", "run", words, "--track", track, "--dry-run", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    shown = json.loads(done.stdout)
    run = next((ROOT / "records" / track / name / "runs").glob("*/run.json"))
    assert shown["sha256"] == json.loads(run.read_bytes())["submission"]["sha256"]


def test_a_record_brings_its_track_along(tmp_path: Path) -> None:
    folder = ROOT / "records" / "shakespeare-2cpu" / "2026-11-22_Muon"
    argv = [sys.executable, "-m", "harness", "run", str(folder), "--dry-run", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout)["track"] == "shakespeare-2cpu"
    other = subprocess.run(
        [*argv[:4], "shakespeare-2cpu/2026-11-22_Muon", "--track", "nano-2cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert other.returncode == 2
    assert "--track shakespeare-2cpu" in other.stderr
