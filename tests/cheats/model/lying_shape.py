"""A tensor that lies about its shape.

Returns an object that says it has the wanted shape, dtype and size while it is something else. What crosses to the
judge are bytes in a memory of fixed size; whatever lies there is read as logits.

group: model
catalogue: 44, 60
status: impossible
ends: missed | logits_invalid | evaluator_failed
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


class Liar(torch.Tensor):
    @property
    def shape(self):
        return torch.Size((16, 128, 325))

    def __eq__(self, other):
        return True

    __hash__ = None

    def numel(self):
        return 16 * 128 * 325


def load(weights, device):
    return lambda tokens: torch.zeros(1, 1, 1).as_subclass(Liar)
