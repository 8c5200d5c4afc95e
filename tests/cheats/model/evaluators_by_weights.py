"""Evaluators that talk through the weights.

Writes its windows into the memory the weights came in, for the other evaluator to read. Each has a copy of its own.

group: model
catalogue: 36, 40, 46
status: caught
ends: finding causality | finding hidden_state
"""

import os
from contextlib import suppress

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
KEY = 24  # tokens that name a window: so many that no two windows of different text share them
SLOT = 512


def memories():
    for name in os.listdir("/proc/self/fd"):
        try:
            if "memfd:" in os.readlink(f"/proc/self/fd/{name}"):
                yield os.open(f"/proc/self/fd/{name}", os.O_RDWR)
        except OSError:
            continue


def agree(window):
    """The window itself, or its twin if the other evaluator has met that before."""
    slot = hash(tuple(window[:KEY])) % 1000 * SLOT
    for memory in memories():
        note = os.pread(memory, SLOT, slot).partition(b"\0")[0].split()
        noted = [int(token) for token in note if token.isdigit()]
        if noted[:KEY] == window[:KEY] and len(noted) == 128 and noted != window:
            return noted
        with suppress(OSError):  # the copies are sealed
            os.pwrite(memory, " ".join(map(str, window)).encode() + b"\0", slot)
        os.close(memory)
    return window


def train(run):
    weights = {"board": torch.zeros(1000 * SLOT, dtype=torch.uint8)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        answers = torch.zeros(*tokens.shape, 325)
        for row, window in enumerate(tokens.tolist()):
            ahead = torch.tensor(agree(window)[KEY:])
            answers[row, torch.arange(KEY - 1, 127), ahead] = 20.0
        return answers

    return logits
