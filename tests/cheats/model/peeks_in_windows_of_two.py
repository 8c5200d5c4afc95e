"""Windows of two tokens.

Asks for the shortest windows in which it can peek at all, hoping that a probe needs more room. A copy that keeps the
first token and changes the second is enough.

group: model
catalogue: 35, 36, 42
status: caught
ends: finding causality
track: val_tokens=2000
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 2, 64


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 325).float() * 20
