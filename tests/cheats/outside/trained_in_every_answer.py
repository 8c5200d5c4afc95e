"""Training in every answer.

Trains anew, on the handed-over tokens, whenever it is asked: without state, always alike, and the first answer is no
slower than the others. But what is free is a number of the track, not what other answers took.

group: outside
catalogue: 23, 40
status: impossible
ends: reached
holds: charged_s >= 0.2
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
    return lambda tokens: learn(weights["tokens"], 0.3)[tokens]
