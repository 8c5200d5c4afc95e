"""More words than the vocabulary has.

Returns logits for a hundred tokens nobody has declared, to move the softmax to where it likes.

group: model
catalogue: 38, 39
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
    return lambda tokens: torch.zeros(*tokens.shape, 425)
