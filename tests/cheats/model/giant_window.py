"""A window of a thousand million tokens.

Asks for one window over all of validation, to see everything at once and to make the judge fall over. It gets windows
and batches of the longest length the track allows.

group: model
catalogue: 42, 66
status: impossible
ends: missed
holds: windows["tokens"] == 256 and record["score"]["eval_batch"] == 32
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 10**9, 10**9


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.zeros(*tokens.shape, 325)
