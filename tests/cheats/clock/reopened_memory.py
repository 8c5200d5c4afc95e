"""Another door to the sealed weights.

Opens the memory of the weights anew through /proc before STOP, and writes through that door after it.

group: clock
catalogue: 3, 5
status: impossible
ends: missed
"""

import fcntl
import os
import threading

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
    door = os.open(f"/proc/self/fd/{run._memory}", os.O_RDWR)

    def late():
        table = count(shards[0], run.vocab_size).numpy().tobytes()
        while not fcntl.fcntl(door, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
            pass
        os.pwrite(door, table, 0)

    run._channel.send({"kind": "stop"})
    threading.Thread(target=late).start()
    run._wait_for_the_end()


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
