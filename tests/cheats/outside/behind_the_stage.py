"""Shards that wait behind the stage.

Knows our source: before GO the real shards lie in a hidden folder beside the one that is shown. Looks there, trains
in PREPARE, and stops at once. A sandbox of namespaces shows the stage only; a lesser one withholds the path, not the
files.

group: outside
catalogue: 15, 32
status: impossible
ends: missed
ends at process: accepted
"""

import glob
from pathlib import Path

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    behind = glob.glob(f"{Path(run.warmup_shards[0]).parents[2]}/**/*train*.bin", recursive=True)
    print("shards behind the stage:", len(behind), flush=True)
    if behind:
        weights["table"] = count(behind[0], run.vocab_size)
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
