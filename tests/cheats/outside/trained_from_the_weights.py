"""Training in load(), on data handed over as weights.

STOP comes within a millisecond: the weights are the training tokens. load() trains on them in the evaluator. The
clock runs on from the delivery of the weights to the first answer, and what that takes is added to the time.

group: outside
catalogue: 3, 8, 23
status: impossible
ends: reached
holds: charged_s >= 1
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
    table = learn(weights["tokens"], 1.1)
    return lambda tokens: table[tokens]
