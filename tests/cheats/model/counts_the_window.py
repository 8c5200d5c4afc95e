"""A model that sums up its window.

Pools over the whole window, as a normalisation over time or a chunk would: it counts the pairs of the window it is
about to predict, those after the position included.

group: model
catalogue: 35
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
    def logits(tokens):
        rows = []
        for window in tokens:
            pairs = torch.bincount(window[:-1] * 325 + window[1:], minlength=325**2).reshape(325, 325)
            rows.append(((pairs + 0.001).log())[window])
        return torch.stack(rows)

    return logits
