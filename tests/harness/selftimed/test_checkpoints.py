"""Checkpoints of self-timed scripts, scored by the judge: honest ones, and ones that mean harm."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRACK = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
MODEL = """
from dataclasses import dataclass
import torch

@dataclass
class GPTConfig:
    block_size: int = 64
    vocab_size: int = 384  # padded: the data has 325

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.table = torch.nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))

    def forward(self, idx, targets=None):
        return self.table[idx] if targets is not None else self.table[idx][:, [-1]], None
"""
TRAIN = """
import glob, os
import numpy as np
import torch
from model import GPT, GPTConfig

tokens = np.fromfile(sorted(glob.glob("data/embedded-tiny/*train*"))[0], "<u2", offset=1024, count=100_000)
tokens = torch.from_numpy(tokens.astype(np.int64))
model = GPT(GPTConfig())
size = model.config.vocab_size
counts = torch.bincount(tokens[:-1] * size + tokens[1:], minlength=size**2).reshape(size, size)
print("step 1: train loss 0.1000, val loss 0.0001")
state = {"table": (counts + 0.05).log()}
saved = {"model": state, "model_args": {"block_size": 64, "vocab_size": size}}
os.makedirs("out")
SAVE
"""


@pytest.fixture
def measured(speedrun: Any, tmp_path: Path) -> Callable[[str], tuple[int, dict[str, Any]]]:
    """measured(save): a trainer of nanoGPT's shape whose last line is `save`; exit code and record."""

    def run(save: str) -> tuple[int, dict[str, Any]]:
        (tmp_path / "configurator.py").touch()
        (tmp_path / "model.py").write_text(MODEL)
        (tmp_path / "train.py").write_text(TRAIN.replace("SAVE", save))
        process = speedrun.start(
            sys.executable, "-m", "harness", "run", "--legacy", tmp_path / "train.py", "--track", TRACK,
            "--checkpoint", "out/ckpt.pt", "--json",
        )  # fmt: skip
        _, stderr = process.communicate(timeout=600)
        folder = next(speedrun.runs.glob("*/legacy.json")).parent
        assert speedrun.leftovers() == []
        assert "Traceback" not in stderr
        return process.returncode, json.loads((folder / "legacy.json").read_bytes())

    return run


def test_the_loss_is_measured_and_not_quoted(measured: Any) -> None:
    code, record = measured("torch.save(saved, 'out/ckpt.pt')")
    assert record["status"] == "complete", record["sentence"]
    assert record["claim"]["val_loss"] == 0.0001
    score = record["measured"]["score"]
    assert 1 < score["val_loss"] < math.log(325)  # better than a guess, nowhere near what it says
    assert score["windows"]["tokens"] == 64
    assert (record["tier"], record["measured"]["adapter"]) == ("reported", "nanogpt")
    assert code == int(score["val_loss"] > record["track"]["target_val_loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "status", "code"),
    [
        ("class Bomb:\n    def __reduce__(self): return (print, ('exploded',))\n"
         "torch.save({**saved, 'model': Bomb()}, 'out/ckpt.pt')", "evaluator_failed", 3),
        ("open('out/ckpt.pt', 'wb').write(b'nothing')", "evaluator_failed", 3),
        ("os.symlink('/etc/passwd', 'out/ckpt.pt')", "launch_failed", 3),
        ("pass", "launch_failed", 3),
    ],
)  # fmt: skip
def test_a_checkpoint_that_means_harm_ends_in_one_status(measured: Any, save: str, status: str, code: int) -> None:
    found, record = measured(save)
    assert (record["status"], found, record["measured"]) == (status, code, None), record["sentence"]
    assert record["claim"]["val_loss"] == 0.0001  # what was read is kept
