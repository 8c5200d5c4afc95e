"""A second over the budget.

Trains past the track's wall clock and hopes that only its own loop looks. The referee ends the run.

group: clock
catalogue: 13
status: caught
ends: train_timeout
track: train_s=1
"""

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
    weights["table"] = count(shards[0], run.vocab_size)
    time.sleep(30)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
