"""A second GO.

Trains after the first GO and calls go() again, so that the clock starts anew.

group: clock
catalogue: 6, 9
status: caught
ends: go_called_twice
"""

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
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
