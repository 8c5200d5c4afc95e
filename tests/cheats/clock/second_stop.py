"""A second STOP with better weights.

Stops the clock at once with empty weights, trains on, writes the trained ones and says STOP again.
The first seal is final: memory that is sealed takes no byte more, from nobody.

group: clock
catalogue: 3, 8
status: impossible
ends: missed
"""

import fcntl
import os

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
    run._channel.send({"kind": "stop"})
    table = count(shards[0], run.vocab_size)
    while not fcntl.fcntl(run._memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
        pass
    try:
        os.pwrite(run._memory, table.numpy().tobytes(), 0)
    except OSError as error:
        print("cannot write:", error, flush=True)
    run._channel.send({"kind": "stop"})
    run._wait_for_the_end()


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
