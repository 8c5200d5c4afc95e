"""Work at exit.

Puts the training into an atexit hook and into signal handlers, to be done when the harness ends the ranks.
They are ended by SIGKILL, after the seal.

group: clock
catalogue: 5, 60
status: impossible
ends: missed
holds: "last words" not in log
"""

import atexit
import os
import signal

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

    def last_words(*_):
        print("last words", flush=True)
        os.pwrite(run._memory, count(shards[0], run.vocab_size).numpy().tobytes(), 0)

    atexit.register(last_words)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT, signal.SIGCHLD):
        signal.signal(number, last_words)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
