"""A model that learns from its neighbours.

Windows of one batch are windows of one text: it counts what follows what in all of them. A probed window and its copy
sit in different batches, between different neighbours.

group: model
catalogue: 35, 40
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
    def logits(tokens):
        pairs = torch.bincount((tokens[:, :-1] * 325 + tokens[:, 1:]).flatten(), minlength=325**2)
        return ((pairs.reshape(325, 325) + 0.05).log())[tokens]

    return logits
