"""Training in the first answer.

Hands the training tokens over as weights, loads them at once, and trains when it is first asked. The first answer
counts until it is complete.

group: outside
catalogue: 3, 23, 40
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
    learnt = []

    def logits(tokens):
        if not learnt:
            learnt.append(learn(weights["tokens"], 1.1))
        return learnt[0][tokens]

    return logits
