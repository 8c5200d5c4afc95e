"""Weights that are not numbers.

Hands over NaN: a loss that is NaN is not greater than any target.

group: model
catalogue: 14, 38
status: caught
ends: weights_not_finite
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"table": torch.zeros(325, 325)}
    run.reserve(weights)
    run.go()
    weights["table"][7, 7] = float("nan")
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
