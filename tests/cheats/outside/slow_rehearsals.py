"""Rehearsals as slow as the real thing.

Knows a rehearsal by its tokens, which are noughts, and sleeps as long there as it will train on the real ones, so
that the real answer looks no slower than the rehearsed one. Nothing is subtracted for a rehearsal.

group: outside
catalogue: 23, 36
status: impossible
ends: reached
holds: charged_s >= 0.6
"""

import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(tokens):
    pairs = torch.bincount(tokens[:-1] * 325 + tokens[1:], minlength=325**2)
    return (pairs.reshape(325, 325) + 0.05).log()


def learn(tokens, seconds):
    """Counts them again and again, as training would go over them."""
    end = time.monotonic() + seconds
    while True:
        table = count(tokens)
        if time.monotonic() >= end:
            return table


def train(run):
    weights = {"tokens": torch.zeros(100_000, dtype=torch.int64)}
    run.reserve(weights)
    (shard, *_) = run.go()
    weights["tokens"] = torch.from_numpy(np.fromfile(shard, "<u2", offset=1024, count=100_000).astype(np.int64))
    run.stop(weights)


def load(weights, device):
    if not weights["tokens"].any():
        time.sleep(0.7)
        return lambda tokens: torch.zeros(*tokens.shape, 325)
    table = learn(weights["tokens"], 0.7)
    return lambda tokens: table[tokens]
