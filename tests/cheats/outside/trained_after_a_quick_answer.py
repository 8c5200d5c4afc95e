"""A quick answer first, training after it.

Answers the windows that come one by one at once, by a guess, and trains when the first batch comes. Those windows
are asked again among the others, of both evaluators, and a guess is not what a trained model says.

group: outside
catalogue: 23, 36, 40
status: caught
ends: finding first_answer_changed
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
        if len(tokens) == 1:
            return torch.zeros(1, tokens.shape[1], 325)
        if not learnt:
            learnt.append(learn(weights["tokens"], 0.3))
        return learnt[0][tokens]

    return logits
