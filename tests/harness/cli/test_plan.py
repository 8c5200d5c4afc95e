"""`speedrun plan`, as a person and as a machine call it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.campaigns.forecast import Forecast
from harness.formats import layout
from tests.harness.campaigns.test_forecast import LOSSES, RUNS

ROOT = Path(__file__).resolve().parents[3]
TRACK = (ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_text()


def plan(runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SPEEDRUN_RUNS": str(runs), "COLUMNS": "120"}
    argv = [sys.executable, "-m", "harness", "plan", *arguments]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)


def planned(runs: Path, *arguments: str) -> Any:
    done = plan(runs, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    Forecast.model_validate_json(done.stdout)  # closed: an unknown key is an error
    return json.loads(done.stdout)


def test_the_answer_is_a_sentence_with_cost_and_source(tmp_path: Path) -> None:
    done = plan(tmp_path, "--track", "gpt2-small-8xh100", "--effect", "0.3%", "--margin", "0.002")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one-sided t-test at p < 0.01" in done.stdout
    assert "0.0013 nats; the field's: GPT-2 small at 3.28" in done.stdout
    assert "needs   9 runs, at most " in done.stdout
    assert "GPU-hours, and then shows it with a chance of 92.8%" in done.stdout
    assert "needs   7 pairs of runs, at most " in done.stdout
    assert "speedrun compare CANDIDATE --runs N" in done.stdout


def test_without_an_effect_the_table_answers(tmp_path: Path) -> None:
    done = plan(tmp_path, "--track", "gpt2-small-8xh100")
    assert done.returncode == 0
    assert "name" not in done.stderr
    assert "--effect 0.3%" in done.stdout
    assert planned(tmp_path, "--track", "gpt2-small-8xh100")["time"]["n"] is None


def test_a_track_without_a_clock_says_so(tmp_path: Path) -> None:
    done = plan(tmp_path, "--track", "optimizer-steps", "--effect", "1%")
    assert done.returncode == 0
    assert "one-sided z-test at p < 0.001, sigma 0.0013 nats" in done.stdout
    assert "Time decides nothing on this track" in done.stdout
    assert "pairs show" not in done.stdout


def test_runs_of_this_machine_and_of_its_campaigns_are_measured(tmp_path: Path) -> None:
    track = tmp_path / "track.toml"
    track.write_text(TRACK.replace('name = "tiny"', 'name = "t"'))
    assert planned(tmp_path / "runs", "--track", str(track))["loss"]["spread"]["source"].startswith("the field's")
    for i, run in enumerate(RUNS):
        parent = tmp_path / "runs" if i < 3 else tmp_path / "runs" / "campaign" / layout.RECORD_RUNS_DIR
        folder = parent / run.run_id
        folder.mkdir(parents=True)
        (folder / layout.RUN_FILE).write_text(run.model_dump_json())
    spread = planned(tmp_path / "runs", "--track", str(track))["loss"]["spread"]
    assert spread["source"].startswith(f"measured: {len(LOSSES)} runs of one submission")
    assert spread["low"] < spread["value"] < spread["high"]


def test_the_standing_record_gives_margin_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest under the track's own major rules: here those of the day it was made."""
    records = shutil.copytree(layout.records_root() / "nano-2cpu", tmp_path / "records" / "nano-2cpu")
    (records / layout.TRACK_FILE).write_bytes((records / layout.PAST_RULES_DIR / "1.1.toml").read_bytes())
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(records.parent))
    answer = planned(tmp_path, "--track", "nano-2cpu", "--effect", "2%")
    assert not answer["run_s"]["is_bound"]
    assert answer["loss"]["effect"]["source"].startswith("as far as the standing record, mean")
    assert answer["device_kind"] == "core"
    more = planned(tmp_path, "--track", "nano-2cpu", "--effect", "1%", "--time-sd", "2%", "--power", "0.8")
    less = planned(tmp_path, "--track", "nano-2cpu", "--effect", "1%", "--time-sd", "1%", "--power", "0.8")
    assert more["time"]["n"] > 3 * less["time"]["n"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--effect", "0.3"), "expected a saving as a percentage such as 0.3%, found '0.3'"),
        (("--effect", "100%"), "expected a saving as a percentage"),
        (("--effect", "-1%"), "expected a saving as a percentage"),
        (("--time-sd", "none"), "expected a deviation of times as a percentage"),
        (("--power", "1"), "that of --power"),
        (("--margin", "0"), "that of --margin"),
        (("--margin", "nan"), "that of --margin"),
        (("--loss-sd", "inf"), "that of --loss-sd"),
        (("--track", "nowhere"), "expected one of the tracks"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = plan(tmp_path, *(() if "--track" in arguments else ("--track", "nano-2cpu")), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
