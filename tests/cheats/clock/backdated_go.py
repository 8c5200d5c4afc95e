"""A GO with a stamp of its own.

Sends the referee a GO that says when it wants to have started.
A rank may ask for GO; the words have no place for a time, and one more word is a broken protocol.

group: clock
catalogue: 1, 6
status: caught
ends: protocol_broken
"""

import time

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    run._channel.send({"kind": "go", "go_ns": time.monotonic_ns() + 3_600_000_000_000})
    time.sleep(60)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
