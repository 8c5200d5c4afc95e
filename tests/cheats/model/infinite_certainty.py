"""Infinite certainty.

Answers infinity for every token: infinity minus infinity may be anything, nought included.

group: model
catalogue: 38, 14
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
    return lambda tokens: torch.full((*tokens.shape, 325), float("inf"))
