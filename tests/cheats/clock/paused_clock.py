"""A pause for "validation".

Asks for the clock to be stopped while it validates, and trains meanwhile.
There is one GO and one STOP; the referee knows no word for a pause.

group: clock
catalogue: 7, 8, 9
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
    run._channel.send({"kind": "pause", "for": "validation"})
    time.sleep(1)
    weights["table"] = count(shards[0], run.vocab_size)
    run._channel.send({"kind": "resume"})
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
