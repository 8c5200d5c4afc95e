"""Only the easy tokens.

Answers for the positions it is sure of and leaves the rest out, so that the mean is over fewer of them. The judge
enumerates the positions, and every target counts once.

group: model
catalogue: 41
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
    return lambda tokens: torch.zeros(len(tokens), 100, 325)
