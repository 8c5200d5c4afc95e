"""A table larger than the model may be.

Reserves hundreds of millions of rows and calls them a buffer. All bytes of all tensors count.

group: model
catalogue: 26, 48
status: caught
ends: weights_too_big
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"table": torch.zeros(325, 325), "ngrams": torch.zeros(1).expand(100_000_000, 64)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
