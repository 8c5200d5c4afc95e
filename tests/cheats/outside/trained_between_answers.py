"""A thread that trains on between answers.

load() starts a thread and returns; windows are answered with whatever the thread has got to so far, and by the time
of the batches it is done. The first windows, asked again, tell how far it had got.

group: outside
catalogue: 5, 23, 40
status: caught
ends: finding first_answer_changed
"""

import threading
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
    table = torch.zeros(325, 325)
    thread = threading.Thread(target=lambda: table.copy_(learn(weights["tokens"], 0.5)))
    thread.start()

    def logits(tokens):
        if len(tokens) > 1:  # no batch before it is done
            thread.join()
        return table[tokens]

    return logits
