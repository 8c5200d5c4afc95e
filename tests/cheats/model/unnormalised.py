"""Probabilities that do not sum to one.

Says e^8 for every token of the vocabulary, so that the target's score is always high. What comes back are logits, and
the judge takes the softmax: a constant is a uniform guess.

group: model
catalogue: 38
status: impossible
ends: missed
holds: abs(val_loss - 5.783825) < 1e-4
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.full((*tokens.shape, 325), 8.0)
