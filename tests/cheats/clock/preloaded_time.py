"""A library that fakes time, preloaded.

Starts the harness with LD_PRELOAD and the variables of a time-faking library, and with Python's own.
The environment of the ranks is built from an allow-list: none of these arrives.

group: clock
catalogue: 11, 61
status: impossible
ends: reached
holds: "arrived: []" in log and train_s >= 0.5
environment: LD_PRELOAD=/nowhere/libfaketime.so.1 FAKETIME=-1y PYTHONSTARTUP=/nowhere/trap.py TORCH_LOGS=+dynamo
"""

import os
import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    print("arrived:", [n for n in os.environ if n.startswith(("LD_", "FAKE", "PYTHONS", "TORCH_L"))], flush=True)
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    time.sleep(0.5)
    weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
