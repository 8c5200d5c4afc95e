"""The GPU benchmark, as far as a CPU can show that it works."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.hopper import Sitting, attempt, lines_of, measure_modded, rival_rows, write_shards
from benchmarks.nanogpt import rival
from benchmarks.runs import refereed
from data.shards import read_shard
from harness.formats.track import load_track

ROOT = Path(__file__).resolve().parent.parent.parent
RIVAL = """
import os, sys, time
class Hyperparameters:
    val_tokens: int = 10485760
    num_scheduled_iterations: int = 1270
    num_extension_iterations: int = 15
    val_loss_every: int = 250
TRAINING_STAGES = [
    TrainingStage(duration=1/2, batch_size=8 * 2048 * 8),
    TrainingStage(duration=1/2, batch_size=16 * 2048 * 8),
    TrainingStage(batch_size=24 * 2048 * 8),
]
""".replace("TrainingStage(", "dict(")
RIVAL_LOOP = """
steps = Hyperparameters.num_scheduled_iterations + Hyperparameters.num_extension_iterations
print("Resetting Model", flush=True)
for step in range(1, steps + 1):
    stage = min(2, (step - 1) // (Hyperparameters.num_scheduled_iterations // 2))
    clock = (clock if step > 1 else 0) + 100 * (stage + 1) + (2000 if step % 24 == 1 else 0)
    print(f"step:{step}/{steps} train_time:{clock}ms step_avg:1ms", flush=True)
assert os.path.isdir(os.environ["DATA_PATH"]) and os.environ["WORLD_SIZE"] == "1"
print("peak memory allocated: 2048 MiB reserved: 3072 MiB")
"""
ENDLESS = """
open(f"pid-{os.getpid()}", "w").close()
time.sleep(1000)
open("its own end", "w").close()
"""


def a_sitting(folder: Path, **options: object) -> Sitting:
    chosen = {"minutes": 10.0, "only": None, "modded": None, "modded_python": sys.executable, "steps": 2} | options
    return Sitting("cpu", folder, time.monotonic() + 600, argparse.Namespace(**chosen))


def test_synthetic_shards_are_shards_of_documents(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 50_000, 257)
    assert [Path(path).name for path in paths["train"]] == ["fineweb_train_000001.bin", "fineweb_train_000002.bin"]
    first, second, val = (np.asarray(read_shard(Path(path))) for path in (*paths["train"], *paths["val"]))
    for tokens in (first, second, val):
        assert len(tokens) == 50_000
        assert tokens.max() == tokens[0] == 256
        assert 100 < 50_000 / (tokens == 256).sum() < 2000
    assert not np.array_equal(first, second)


def test_a_row_of_another_s_loader_holds_fewer_documents_than_it_has_room_for(tmp_path: Path) -> None:
    """modded-nanogpt's kernel is told of 64 documents in 16,384 tokens at most, 896 tokens of each."""
    tokens = np.asarray(read_shard(Path(write_shards(tmp_path, 2_000_000, 50_257)["train"][0])))
    used = np.minimum(np.diff(np.flatnonzero(tokens == 50_256)), 896)
    starts = np.searchsorted(np.cumsum(used), np.arange(0, used.sum(), 16_384))
    assert len(starts) > 50
    assert np.diff(starts).max() < 60


def test_another_s_schedule_is_shortened_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "train_gpt.py").write_text(RIVAL)
    (tmp_path / "checkout" / "kernels_of_its_own.py").write_text("kernel = 1\n")
    plan = rival.shorten(tmp_path / "checkout", tmp_path / "copy")
    assert plan == rival.Plan([131_072, 262_144, 393_216], [635, 635, 15], [24, 48, 58])
    before, after = (RIVAL.splitlines(), (tmp_path / "copy" / "train_gpt.py").read_text().splitlines())
    assert [line.strip() for old, line in zip(before, after, strict=True) if old != line] == [
        "val_tokens: int = 2097152", "num_scheduled_iterations: int = 48", "num_extension_iterations: int = 10",
        "val_loss_every: int = 0",
    ]  # fmt: skip
    assert (tmp_path / "copy" / "kernels_of_its_own.py").is_file()
    (tmp_path / "checkout" / "train_gpt.py").write_text(RIVAL.replace("num_scheduled_iterations", "iterations"))
    with pytest.raises(ValueError, match="num_scheduled_iterations"):
        rival.shorten(tmp_path / "checkout", tmp_path / "another")


def test_another_s_log_becomes_milliseconds_of_its_stages() -> None:
    plan = rival.Plan([131_072, 262_144], [600, 15], [24, 34])
    clock = [100.0 * step + (step > 24) * 50 * (step - 24) + 3000 * (step > 25) for step in range(35)]
    log = "".join(f"step:{step}/34 train_time:{clock[step]:.0f}ms step_avg:1ms\n" for step in range(1, 35))
    assert rival.read(log, plan) == rival.Found(ms=[100.0, 150.0], last="step:34/34 train_time:6900ms step_avg:1ms")
    assert rival.read(log[: log.index("step:5/")], plan).ms == []
    assert rival.read(log[: log.index("step:26/")], plan).ms == [100.0]
    assert rival.read("ImportError: no kernels", plan) == rival.Found(last="ImportError: no kernels")
    assert rival.read("", plan).last == "it printed nothing"


def test_both_scripts_are_compared_per_token_and_over_the_schedule() -> None:
    plan = rival.Plan([100, 200], [30, 10], [24, 34])
    found = rival.Found(ms=[10.0, 30.0], warm_s=5.0, memory=(1024, 2048))
    rows = dict(rival_rows(found, plan, [(100, 11.0), (400, 90.0)]))
    assert "1.10 times" in rows["modded-nanogpt, stage 1, 100 tokens"]
    assert "1.50 times" in rows["modded-nanogpt, stage 2, 200 tokens"]
    assert rows["train_gpt.py / modded-nanogpt, milliseconds per token over its schedule"].startswith("1.30x")
    assert "5.0 s" in rows["modded-nanogpt: build, compile, warm up (kernels may be cached)"]
    short = dict(rival_rows(rival.Found(ms=[10.0], last="killed"), plan, [(100, 11.0)]))
    assert short["modded-nanogpt"] == "1 of 2 stages were reached; its last line: killed"


@pytest.mark.slow
def test_another_s_script_runs_from_its_copy_and_is_ended_when_its_time_is_over(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "train_gpt.py").write_text(RIVAL + RIVAL_LOOP)
    sitting = a_sitting(tmp_path, modded=tmp_path / "checkout")
    sitting.device, sitting.ours = "cuda", [(131_072, 200.0), (262_144, 200.0), (393_216, 300.0)]
    measure_modded(sitting, 100)
    rows = dict(sitting.rows)
    assert "100.00 ms" in rows["modded-nanogpt, stage 1, 131,072 tokens"]
    assert "300.00 ms" in rows["modded-nanogpt, stage 3, 393,216 tokens"]
    assert rows["modded-nanogpt: peak memory: allocated, reserved"] == "2.0 GiB, 3.0 GiB"
    assert "1.33x" in rows["train_gpt.py / modded-nanogpt, milliseconds per token over its schedule"]
    (tmp_path / "checkout" / "train_gpt.py").write_text(RIVAL + ENDLESS)
    plan = rival.shorten(tmp_path / "checkout", tmp_path / "endless")
    found = rival.race(tmp_path / "endless", sys.executable, tmp_path, 6, plan)
    assert (found.ms, (tmp_path / "endless" / "its own end").exists()) == ([], False)
    for name in (path.name for path in (tmp_path / "endless").glob("pid-*")):  # none, where it had no time to begin
        until(lambda name=name: is_over(int(name.removeprefix("pid-"))), f"the end of {name}")


def is_over(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()  # of one that nobody has waited for yet
    except OSError:
        return True


def test_the_track_of_the_short_run_is_a_track_and_its_script_a_short_one(tmp_path: Path) -> None:
    for device in ("cuda", "cpu"):
        script, path = refereed.short_run(device, tmp_path)
        track = load_track(str(path))
        assert (track.data.dataset, track.hardware.device) == ("synthetic", device)
        assert track.evaluation.max_tokens == load_track("gpt2-small-1gpu").evaluation.max_tokens
        assert "steps=40" in script.read_text()
        assert "1_920" not in script.read_text()


def test_the_whole_exam_is_that_of_the_tracks() -> None:
    for name in ("gpt2-small-8xh100", "gpt2-small-1gpu"):
        track, whole = load_track(name), refereed.WHOLE_EXAM
        assert (track.data.val_tokens, track.evaluation.shadow_tokens) == (whole["scored"], whole["shadow"])
        assert track.evaluation.probe_pairs * 3 // 2 == whole["copies"]


def test_a_part_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    sitting = a_sitting(tmp_path)

    def fail(_: Sitting, limit_s: float) -> None:
        raise RuntimeError(f"no | memory\n{limit_s}")

    attempt(sitting, "script", fail)
    (what, sentence), (_, took) = sitting.rows
    assert (what, sentence) == ("script", "failed: RuntimeError: no / memory")
    assert took.endswith(" s")
    sitting.deadline_s = time.monotonic() + 1
    attempt(sitting, "tests", fail)  # a rehearsal takes as long as it does
    assert "no / memory" in sitting.rows[-2][1]
    sitting.device = "cuda"
    attempt(sitting, "tests", fail)
    assert "minutes are over" in sitting.rows[-1][1]


@pytest.mark.parametrize(("code", "limit_s", "end"), [
    ("sys.exit('no luck')", 150, "exit 1: no luck"), ("time.sleep(1000)", 10, "not done after 10 s"),
])  # fmt: skip
def test_what_a_command_said_before_it_failed_counts(code: str, limit_s: float, end: str) -> None:
    said = []
    command = [sys.executable, "-c", f"import sys, time; print('one', flush=True); {code}"]
    with pytest.raises(RuntimeError, match=end):
        said.extend(lines_of(command, limit_s))
    assert said == ["one"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hopper"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "found none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_rehearsal_measures_every_stage_and_runs_under_the_referee(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.hopper", "--cpu", "--steps", "4", "--out", str(tmp_path / "table.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count(" ms, ") == 4
    assert "failed" not in done.stdout
    assert "| complete, " in done.stdout
    assert "tokens/s of 257 logits" in done.stdout
    assert "tests collected" in done.stdout
    assert (tmp_path / "table.md").read_text() == done.stdout
