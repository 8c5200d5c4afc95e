"""Only rank 0 is timed.

Rank 0 stops at once while rank 1, who holds the model, trains on. The clock stops at the last seal.

group: clock
catalogue: 10
status: impossible
ends: reached
holds: train_s >= 1
ranks: 2
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
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)} if run.rank else {}
    run.reserve(weights)
    shards = run.go()
    if run.rank:
        time.sleep(1)
        weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
