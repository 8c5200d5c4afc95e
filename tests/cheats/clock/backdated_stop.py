"""A STOP with a stamp of its own.

Trains in peace and then reports that it had stopped a nanosecond after GO.

group: clock
catalogue: 1, 14
status: caught
ends: protocol_broken
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
    run._hand_over({"table": count(shards[0], run.vocab_size)}, run._memory)
    run._channel.send({"kind": "stop", "stop_ns": 1, "train_ns": 1})
    time.sleep(60)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
