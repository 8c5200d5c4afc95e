"""STOP before the work is done.

Makes torch.cuda.synchronize do nothing and calls STOP while a "kernel" (here a thread) is still to fill the weights.
STOP is the seal of bytes the referee holds, not a call: what was not there then never comes.

group: clock
catalogue: 3, 4
status: impossible
ends: missed
"""

import threading
import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
torch.cuda.synchronize = lambda *_: None


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()

    def kernel():
        time.sleep(60)
        weights["table"].copy_(count(shards[0], run.vocab_size))

    threading.Thread(target=kernel, daemon=True).start()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
