"""Runs that go well: what they record, what they show, what they leave in the process that ran them."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from data.datasets import Dataset, load_dataset
from harness.cli.json_types import DryRun
from harness.formats.run import read_run
from harness.formats.track import Track, load_track
from harness.referee import spoken

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"


def a_contest(file: Path) -> tuple[Dataset, Track]:
    track = load_track(str(file))
    return load_dataset(track.data.dataset), track


def test_a_complete_run_records_everything(speedrun: Any) -> None:
    outcome = speedrun.run(BIGRAM, "--json", "--seed", "5", "--keep-weights")
    assert outcome.code == 0
    assert json.loads(outcome.stdout) == outcome.record | {"log": str(outcome.folder / "log.txt"), "traceback": None}
    record = read_run(outcome.folder)
    assert record.is_valid
    assert (record.seed, record.seed_source, record.world_size) == (5, "user", 2)
    assert record.submission.files == {"bigram.py": hashlib.sha256(BIGRAM.read_bytes()).hexdigest()}
    assert record.track.sha256 == hashlib.sha256(TRACK.read_bytes()).hexdigest()
    assert record.language is not None
    assert spoken.made_anew(record.language, *a_contest(TRACK), training=True)[0] == record.data
    assert (record.text and record.text.train_tokens, record.text and record.text.val_tokens) == (300_000, 20_001)
    assert record.data_at_go == "hard links"
    assert record.weights is not None
    content = (outcome.folder / "weights.safetensors").read_bytes()
    assert record.weights.bytes == len(content) - 8 - int.from_bytes(content[:8], "little")
    phases = record.phases.model_dump()
    assert all(isinstance(ns, int) and ns > 0 for ns in phases.values()), phases
    (point,) = map(json.loads, (outcome.folder / "progress.jsonl").read_text().splitlines())
    assert point["step"] == 1
    assert 0 < point["elapsed_ns"] < phases["train_ns"]
    assert (outcome.folder / "source" / "bigram.py").read_bytes() == BIGRAM.read_bytes()


@pytest.mark.slow
def test_seeds_come_from_the_harness(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    seen = []
    for _ in range(2):
        script = write_submission(tmp_path, prepare="print('SEED', run.seed, torch.initial_seed(), flush=True); return")
        outcome = speedrun.run(script, "--nproc", "1")
        mine, torchs = outcome.log.partition("SEED")[2].split()[:2]
        assert int(mine) == int(torchs) == outcome.record["seed"]
        assert outcome.record["seed_source"] == "harness"
        seen.append(mine)
    assert seen[0] != seen[1]


PRACTICE = """
if run.rank == 0:
    run.snapshot(weights, step=1)
    weights["table"][97] = 5.0
    run.snapshot(weights, step=2)
"""


@pytest.mark.slow
def test_practice_scores_snapshots_and_is_never_a_record(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    outcome = speedrun.run(write_submission(tmp_path, train=PRACTICE), "--practice")
    record = read_run(outcome.folder)
    assert (record.status, record.practice, record.is_valid, outcome.code) == ("complete", True, False, 0)
    assert record.score is not None
    assert [point.step for point in record.curve] == [1, 2]
    assert record.curve[1].val_loss == record.score.val_loss
    assert record.curve[0].val_loss != record.score.val_loss


@pytest.mark.slow
def test_the_last_words_of_an_evaluator_are_in_the_log(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    script = write_submission(tmp_path, load="raise LookupError('words to be found')")
    outcome = speedrun.run(script, "--nproc", "1")
    assert "LookupError: words to be found" in outcome.log
    assert "Traceback" in outcome.log


TWICE = """
import os, sys
from harness.__main__ import main
counts = []
for script in sys.argv[1:]:
    try:
        main(["run", script, "--track", TRACK, "--nproc", "1", "--practice"])
    except SystemExit:
        counts.append(len(os.listdir("/proc/self/fd")))
print("COUNTS", *counts)
"""


@pytest.mark.slow
def test_a_process_can_run_many(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    """Descriptors do not pile up, however a run ends."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    failing = write_submission(tmp_path / "a", train="run.snapshot(weights, step=1); 1 / 0")
    fine = write_submission(tmp_path / "b", train="run.snapshot(weights, step=1)")
    code = TWICE.replace("TRACK", repr(str(TRACK)))
    outcome = speedrun.end(speedrun.start(sys.executable, "-c", code, failing, fine, failing))
    counts = outcome.stdout.partition("COUNTS")[2].split()
    assert len(counts) == 3
    assert len(set(counts)) == 1
    assert [json.loads((folder / "run.json").read_bytes())["status"] for folder in outcome.folders] == [
        "train_failed", "complete", "train_failed",
    ]  # fmt: skip
    assert speedrun.leftovers() == []


def test_a_dry_run_lists_what_the_rules_find_in_the_source(
    speedrun: Any, tmp_path: Path, write_submission: Any
) -> None:
    advised = write_submission(tmp_path, top=f"# {'long ' * 100}")
    command = (sys.executable, "-m", "harness", "run", advised, "--track", TRACK, "--dry-run")
    outcome = speedrun.end(speedrun.start(*command))
    assert (outcome.code, outcome.folders) == (0, []), outcome.stderr
    assert "warning long_line: submission.py: lines too long to read" in outcome.stdout

    write_submission(tmp_path, top="exec('print(1)')")
    outcome = speedrun.end(speedrun.start(*command))
    assert (outcome.code, outcome.folders) == (1, []), outcome.stderr
    assert "error   dynamic_code: submission.py: code that is not on the page" in outcome.stdout
    outcome = speedrun.end(speedrun.start(*command, "--json"))
    assert (outcome.code, outcome.folders) == (1, []), outcome.stderr
    shown = DryRun.model_validate_json(outcome.stdout)
    assert {(finding.id, finding.severity) for finding in shown.findings} == {("dynamic_code", "error")}
    assert list(speedrun.runs.glob("*")) == []
