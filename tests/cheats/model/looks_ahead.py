"""A model that looks ahead.

Its logits at every position are the token that comes next in its window. Of some windows the other evaluator gets a
copy with another suffix: the two answers to the same prefix differ.

group: model
catalogue: 35, 37
status: caught
ends: finding causality
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 325).float() * 20
