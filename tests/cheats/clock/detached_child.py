"""A child that goes on training.

Forks twice, leaves the session and ignores every signal it can; the child trains after STOP and writes the weights
through the descriptor it inherited. The seal holds against every process, and no process outlives STOP.

group: clock
catalogue: 5
status: impossible
ends: missed
"""

import fcntl
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
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            table = count(shards[0], run.vocab_size).numpy().tobytes()
            while not fcntl.fcntl(run._memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
                pass
            while True:
                os.pwrite(run._memory, table, 0)
        os._exit(0)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
