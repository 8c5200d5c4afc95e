"""A mapping that stays writable.

Keeps the memory of the weights mapped, so that it can be filled after STOP.
The seal fails while such a mapping exists, and the clock runs on until the budget is spent.

group: clock
catalogue: 3, 5
status: caught
ends: train_timeout
track: train_s=1
"""

import mmap
import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    memory = mmap.mmap(run._memory, 0)
    run._channel.send({"kind": "stop"})
    time.sleep(60)
    memory[:] = count(shards[0], run.vocab_size).numpy().tobytes()


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
