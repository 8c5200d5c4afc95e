"""A referee put to sleep.

Looks up its ancestors, stops the one that referees with SIGSTOP, trains, and wakes it again, so that its clock stands.
The clock belongs to the kernel; and in a sandbox of namespaces the ancestors cannot even be seen.

group: clock
catalogue: 2, 11, 66
status: impossible
ends: reached
holds: train_s >= 1
"""

import os
import signal
import time
from contextlib import suppress

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def referees():
    process = os.getppid()
    while process > 1:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            if b"harness\0run" in file.read():
                yield process
        with open(f"/proc/{process}/stat") as file:
            process = int(file.read().rpartition(")")[2].split()[1])


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    found = []
    with suppress(OSError):
        found += referees()
    print("referees in sight:", len(found), flush=True)
    for process in found:
        with suppress(OSError):
            os.kill(process, signal.SIGSTOP)
    time.sleep(1)
    weights["table"] = count(shards[0], run.vocab_size)
    for process in found:
        with suppress(OSError):
            os.kill(process, signal.SIGCONT)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
