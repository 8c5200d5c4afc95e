"""A loss instead of logits.

Returns the cross-entropy it has reckoned itself: 2.0 nats. A submission never sees a target, and never says a loss.

group: model
catalogue: 37, 38, 44
status: caught
ends: logits_invalid
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.full(tokens.shape, 2.0)
