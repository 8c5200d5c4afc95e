"""A model that learns while it is scored.

Comes without weights and counts pairs in the windows it has answered already: training at evaluation time, on
validation text. The two evaluators have seen different windows, so they disagree about a probed one.

group: model
catalogue: 40, 23, 42
status: caught
ends: finding hidden_state | finding causality
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    counts = torch.full((325, 325), 0.05)

    def logits(tokens):
        answers = counts.log()[tokens]
        pairs = torch.bincount((tokens[:, :-1] * 325 + tokens[:, 1:]).flatten(), minlength=325**2)
        counts.add_(pairs.reshape(325, 325))
        return answers

    return logits
