"""The GPU benchmark, as far as a CPU can show that it works."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.hopper import attempt, modded_rows, write_shards
from data.shards import read_shard

ROOT = Path(__file__).resolve().parent.parent.parent


def test_synthetic_shards_are_shards_of_documents(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 50_000, 257)
    assert [Path(path).name for path in paths["train"]] == ["fineweb_train_000001.bin", "fineweb_train_000002.bin"]
    first, second, val = (np.asarray(read_shard(Path(path))) for path in (*paths["train"], *paths["val"]))
    for tokens in (first, second, val):
        assert len(tokens) == 50_000
        assert tokens.max() == tokens[0] == 256
        assert 100 < 50_000 / (tokens == 256).sum() < 2000
    assert not np.array_equal(first, second)


def test_another_s_log_becomes_milliseconds_of_its_steps() -> None:
    log = "step:0/1285 val_loss:10.8 train_time:0ms\n" + "".join(
        f"step:{step}/1285 train_time:{50 * step + (step > 100) * 30 * (step - 100)}ms step_avg:1ms\n"
        for step in range(1, 180)
    )
    assert modded_rows(log) == [
        ("modded-nanogpt, steps 0 to 99", "50.0 ms"), ("modded-nanogpt, steps 100 to 199", "80.0 ms")
    ]  # fmt: skip
    ((_, sentence),) = modded_rows("ImportError: no kernels | here")
    assert "no step was logged" in sentence
    assert "|" not in sentence


def test_a_part_that_fails_does_not_end_the_others() -> None:
    def fail() -> list[tuple[str, str]]:
        raise RuntimeError("no | memory")

    (what, sentence), (_, took) = attempt("script", fail)
    assert what == "script"
    assert sentence.startswith("failed: RuntimeError")
    assert "|" not in sentence
    assert took.endswith(" s")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hopper"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "found none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_rehearsal_measures_every_stage() -> None:
    command = [sys.executable, "-m", "benchmarks.hopper", "--cpu", "--only", "script", "--steps", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=170)
    assert done.stdout.count(" ms, ") == 4
    assert "failed" not in done.stdout
    assert "rehearsal" in done.stdout
