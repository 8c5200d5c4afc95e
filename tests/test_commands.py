"""The command line as its user meets it: help, one-sentence errors, JSON, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent


def speedrun(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, timeout=600)


def test_help_names_every_command_and_every_exit_code() -> None:
    shown = speedrun("--help")
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)
    assert "130, 143" in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str) -> None:
    shown = speedrun(name, "--help", COLUMNS="200", NO_COLOR="1")
    assert shown.returncode == 0
    assert f"speedrun {name}" in shown.stdout
    assert len(shown.stdout.splitlines()) > 5


def test_a_mistyped_command_is_one_sentence_with_a_suggestion() -> None:
    shown = speedrun("leaderbord")
    assert shown.returncode == 2
    assert "did you mean 'leaderboard'?" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["run", "nowhere.py"], "found nothing of the kind at nowhere.py"),
        (["run", "README.md"], "expected a Python file"),
        (["run", "train_gpt.py", "--track", "no-such-track"], "found 'no-such-track'"),
        (["run", "train_gpt.py", "--track", "nano-2cpu", "--nproc", "64"], "found 64"),
        (["run", "train_gpt.py", "--track", "optimizer-steps"], "cannot be refereed yet"),
        (["run", "train_gpt.py", "--track", "nano-2cpu", "--require-sandbox", "steel", "--dry-run"], "found 'steel'"),
        (["leaderboard", "--track", "docs"], "expected a track file at docs/track.toml"),
        (["leaderboard", "--track", "nano-2cpu", "--format", "xml"], "expected one of table, csv, json"),
    ],
)
def test_wrong_input_starts_nothing_and_says_why(argv: list[str], expected: str, tmp_path: Path) -> None:
    shown = speedrun(*argv, SPEEDRUN_RUNS=str(tmp_path), COLUMNS="300", NVIDIA_VISIBLE_DEVICES="")
    assert shown.returncode == 2
    assert expected in shown.stderr
    assert "Traceback" not in shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_are_json_where_json_is_asked_for() -> None:
    shown = speedrun("run", "nowhere.py", "--json")
    answer = json.loads(shown.stdout)
    assert answer["exit_code"] == shown.returncode == 2
    assert "nowhere.py" in answer["error"]


def test_dry_run_says_what_would_run_and_starts_nothing(tmp_path: Path) -> None:
    argv = ("run", "tests/submissions/bigram.py", "--track", "tests/tracks/tiny", "--dry-run", "--json")
    plan = json.loads(speedrun(*argv, SPEEDRUN_RUNS=str(tmp_path / "runs"), SPEEDRUN_DATA=str(tmp_path)).stdout)
    assert (plan["track"], plan["world_size"], plan["seed"]) == ("tiny", 2, None)
    assert plan["missing_data"] == []  # a run on the embedded corpus makes its own text
    argv = ("run", "tests/submissions/bigram.py", "--track", "shakespeare-2cpu", "--dry-run", "--json")
    plan = json.loads(speedrun(*argv, SPEEDRUN_RUNS=str(tmp_path / "runs"), SPEEDRUN_DATA=str(tmp_path)).stdout)
    assert len(plan["missing_data"]) == 2
    assert not (tmp_path / "runs").exists()


def test_dry_run_finds_what_the_run_would_find(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("def train(run:\n")
    shown = speedrun("run", str(script), "--track", "tests/tracks/tiny", "--dry-run")
    assert shown.returncode == 3
    assert "broken.py, line 1" in shown.stderr


def test_tracks_lists_all_seven_with_what_is_missing() -> None:
    tracks = {track["name"]: track for track in json.loads(speedrun("tracks", "--json").stdout)}
    assert set(tracks) == {
        "gpt2-small-8xh100", "gpt2-medium-8xh100", "gpt2-small-1gpu", "optimizer-steps", "gpt2-small-10min",
        "shakespeare-2cpu", "nano-2cpu",
    }  # fmt: skip
    assert tracks["gpt2-small-8xh100"]["target_val_loss"] == 3.28
    assert tracks["gpt2-small-8xh100"]["data"]["val_tokens"] == 10_485_760
    assert any("reported" in reason for reason in tracks["optimizer-steps"]["lacks"])
    assert speedrun("tracks", "nano-2cpu").stdout.count("nano-2cpu") >= 1


def test_doctor_looks_at_everything_and_exits_zero_where_a_track_runs() -> None:
    shown = speedrun("doctor", "--json")
    answer = json.loads(shown.stdout)
    names = {check["name"] for check in answer["checks"]}
    assert {"cpu", "torch", "gpus", "sandbox", "compiler", "data embedded"} <= names
    assert shown.returncode == (0 if any(not reasons for reasons in answer["tracks"].values()) else 5)
    assert "nano-2cpu" in speedrun("doctor").stdout


def test_the_folder_can_be_executed_as_torchrun_does() -> None:
    command = [sys.executable, "harness", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert shown.returncode == 0
    assert shown.stdout == speedrun("--help").stdout
