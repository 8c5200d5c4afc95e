"""A floor of probability under every token.

Adds a floor to each probability after the softmax, so that a surprise costs little and the whole sums to more than one.
What crosses are logits: the judge's softmax divides by the sum, whatever it is, and a floor under all is a guess again.

group: model
catalogue: 38
status: impossible
ends: missed
holds: abs(val_loss - 5.783825) < 1e-4
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
FLOOR = 0.05


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        probabilities = torch.full((*tokens.shape, 325), 1 / 325) + FLOOR  # they sum to 17.25
        return probabilities.log()

    return logits
