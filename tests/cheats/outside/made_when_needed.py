"""Experts made when they are needed.

Eight experts, chosen by the first token of a window; each is trained on the handed-over tokens when the first window
asks for it. Always the same answers in any order. But an answer that takes far longer than its likes is charged too,
as much as both evaluators had to spend; what is below three medians of an answer and the slack is not.

group: outside
catalogue: 23, 26, 40
status: deterred
ends: reached
holds: charged_s >= 0.5
"""

import functools
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
    expert = functools.cache(lambda number: learn(weights["tokens"], 0.25) * (1 + number / 100))

    def logits(tokens):
        return torch.stack([expert(int(window[0]) % 8)[window] for window in tokens])

    return logits
