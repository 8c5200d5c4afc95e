"""A script that prints a lot.

Prints ten times the log's budget, colours and progress bars included. The log is cut, and says so; the run goes on.

group: honest
holds: record["log_truncated"] and len(log) < 120_000
"""

import sys

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def count(tokens, vocab):
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    for step in range(10_000):
        sys.stderr.write(f"\r\x1b[32mstep {step}\x1b[0m " + "#" * 80 + "\n")
    weights["table"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
