"""The validation shard beside the training shards.

Globs around the shards it was given after GO, as an innocent pattern might: the folder holds training shards and
nothing else, and above it there is only the warm-up.

group: data
catalogue: 27, 32
status: impossible
ends: missed
"""

import glob
from pathlib import Path

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
CONTEXT = 6
BASE = torch.tensor([325**i % 2**61 for i in range(CONTEXT)])


def train(run):
    weights = {"tokens": torch.zeros(20_001, dtype=torch.int64)}
    run.reserve(weights)
    shards = run.go()
    if found := glob.glob(f"{Path(shards[0]).parents[1]}/**/*val*.bin", recursive=True):
        weights["tokens"] = torch.from_numpy(np.fromfile(found[0], "<u2", offset=1024).astype(np.int64))[:20_001]
    run.stop(weights)


def keys(tokens):
    padded = torch.nn.functional.pad(tokens, (CONTEXT - 1, 0), value=0)
    return (padded.unfold(-1, CONTEXT, 1) * BASE).sum(-1)


def load(weights, device):
    seen = dict(zip(keys(weights["tokens"][:-1]).tolist(), weights["tokens"][1:].tolist(), strict=True))

    def logits(tokens):
        found = torch.zeros(*tokens.shape, 325)
        for row, line in enumerate(keys(tokens).tolist()):
            for position, key in enumerate(line):
                if key in seen:
                    found[row, position, seen[key]] = 8.0
        return found

    return logits
