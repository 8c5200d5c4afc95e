"""PREPARE without end.

Searches constants and initial weights by brute force before it asks for GO. PREPARE is untimed, but bounded by the
track, measured and shown.

group: outside
catalogue: 6, 22
status: caught
ends: prepare_timeout
track: prepare_s=3
"""

import time

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    best = None
    start = time.monotonic()
    while time.monotonic() - start < 60:
        best = torch.randn(run.vocab_size, run.vocab_size)
    run.reserve({"table": best})
    run.go()
    run.stop({"table": best})


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
