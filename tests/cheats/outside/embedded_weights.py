"""Trained weights inside the source.

The source carries a trained table as text; there is no training at all. A relabelled run, of which reproductions on
standing text have one, hides the vocabulary behind a secret permutation: an honest learner does not mind, a table
predicts nothing. That holds for who does not decipher it; the next but one does.

group: outside
catalogue: 18, 22
status: caught
ends: missed
arguments: --relabel
"""

import base64
import zlib

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
TABLE = "@bigram table@"


def train(run):
    content = zlib.decompress(base64.b85decode(TABLE))
    table = torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.float32).reshape(325, 325)) * 0.087
    weights = {"table": table}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
