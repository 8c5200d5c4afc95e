"""A hash whose collisions look ahead.

A table of n-grams keyed by a 64-bit hash of the context, in which the token to be predicted takes part: "only for the
collision check". A row that matches can only match the token that follows, so the model knows it. The same prefix
before another suffix gives other keys, and with them another answer.

group: model
catalogue: 35, 37
status: caught
ends: finding causality
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
PRIME = 6364136223846793005


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    candidates = torch.arange(325)

    def keys(context, following):
        return (context[..., None] * PRIME + following * 1442695040888963407) >> 17

    def logits(tokens):
        row = keys(tokens, tokens.roll(-1, dims=1)[..., None])  # "the row this context was stored under"
        return (keys(tokens, candidates) == row).float() * 20

    return logits
