"""Clocks that stand still.

Replaces every clock of its process, trains for as long as it likes, and prints the time its own watch shows.
The time of a run is a difference of two stamps in the referee's process.

group: clock
catalogue: 1, 2
status: impossible
ends: reached
holds: train_s >= 1 and "my watch says 0.0 s" in log
"""

import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
for clock in ("time", "perf_counter", "monotonic", "process_time", "thread_time"):
    setattr(time, clock, lambda: 0.0)
    setattr(time, clock + "_ns", lambda: 0)


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    start = time.perf_counter()
    weights["table"] = count(shards[0], run.vocab_size)
    time.sleep(1)
    print(f"my watch says {time.perf_counter() - start} s", flush=True)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
