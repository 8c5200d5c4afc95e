"""NaN where it hurts.

Answers NaN after tokens that are hard to follow, in the hope that a mean somewhere skips them.

group: model
catalogue: 38, 41, 14
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
    def logits(tokens):
        answers = torch.zeros(*tokens.shape, 325)
        answers[tokens % 7 == 3] = float("nan")
        return answers

    return logits
