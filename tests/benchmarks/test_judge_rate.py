"""The judge's benchmark at a large vocabulary: a real exam, whose loss and whose size are known."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.judge_rate import exam_tokens, synthetic
from data.shards import read_shard
from harness.formats.track import load_track


def test_the_exam_without_a_model_is_an_exam(tmp_path: Path) -> None:
    """Sandboxed evaluators, ring and judge: the loss is that of the made-up logits in float64."""
    options = argparse.Namespace(vocab=5003, window=64, sandbox="process", device="cpu", threads=1)
    score, watcher = synthetic(options, 4000, tmp_path / "exam")
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(64, 5003, generator=generator) * 3).bfloat16().double()
    stream = np.asarray(read_shard(tmp_path / "exam" / "val.bin"))[:4001].astype(np.int64)
    places, targets = np.arange(4000) % 64, torch.from_numpy(stream[1:])
    expected = -torch.log_softmax(logits, dim=1)[places, targets].mean().item()
    assert score.val_loss == pytest.approx(expected, abs=1e-5)
    assert (score.count, score.eval_batch, score.probes.pairs) == (4000, 1, 4)
    assert score.probes.max_abs_difference == 0
    assert watcher.total == 63 + 6 + 6  # windows: scored, of shadow text, copies for probes
    assert {used.name for used in watcher.last.values()} == {"judge", "evaluator"}
    assert len(watcher.named("evaluator")) == 2
    assert watcher.peak_mib("judge") > 50
    assert watcher.rate("judge") > 0


def test_the_exam_of_the_tracks_holds_probes_of_whole_windows() -> None:
    track = load_track("gpt2-small-8xh100")
    assert exam_tokens(track, 1024) == 10_485_760 + 1_048_576 + 384 * 1024
    assert exam_tokens(track, 65_536) == 10_485_760 + 1_048_576 + 384 * 65_536
