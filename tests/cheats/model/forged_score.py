"""A score sent by the evaluator.

Writes the judge's own final message into every descriptor it can find, and prints it for good measure.
No channel of an evaluator leads to the referee; and the judge, asked for logits, takes nothing else.

group: model
catalogue: 44, 59, 60
status: caught
ends: evaluator_failed | logits_invalid
"""

import json
import os
import struct

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
SCORE = {"kind": "score", "score": {"val_loss": 1.0, "loss_sum": 20000.0, "count": 20000}}


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    line = json.dumps(SCORE).encode()
    os.write(1, line + b"\n")
    os.write(2, line + b"\n")
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack(">II", len(line), 0) + line)
        except OSError:
            continue
    return lambda tokens: torch.zeros(*tokens.shape, 325)
