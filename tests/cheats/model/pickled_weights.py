"""A pickle among the weights.

Hands over, as a tensor of bytes, a pickle that runs a command in whoever loads it. Weights are names, dtypes, shapes
and bytes; neither the referee nor the judge unpickles anything.

group: model
catalogue: 45
status: impossible
ends: missed
holds: "somebody unpickled" not in log + stdout + stderr
"""

import os
import pickle

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


class Trap:
    def __reduce__(self):
        return os.system, ("echo somebody unpickled",)


def train(run):
    archive = torch.frombuffer(bytearray(pickle.dumps(Trap())), dtype=torch.uint8)
    weights = {"table": torch.zeros(325, 325), "data.pkl": archive}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
