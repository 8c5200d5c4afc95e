"""A flood of words.

Prints without end, to fill the disk or to hold the referee's loop up past its own deadline.

group: identity
catalogue: 66
status: caught
ends: train_timeout
holds: record["log_truncated"] and len(log) < 120_000
track: train_s=1
"""

import sys

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    sys.stdout.write("x" * 2**18)
    run.go()
    while True:
        sys.stdout.write("x" * 2**16)
        run.log(step=1, steps=1, train_loss=0.0)


def load(weights, device):
    return lambda tokens: torch.zeros(*tokens.shape, 325)
