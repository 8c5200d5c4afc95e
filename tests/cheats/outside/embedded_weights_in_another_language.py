"""Trained weights inside the source, on the embedded corpus.

The same table, where every run speaks a language of its own: words, roles and order are others than those it was made
of, and nothing of it holds.

group: outside
catalogue: 18, 22
status: impossible
ends: missed
track: dataset="embedded-tiny"
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
