"""Validation tokens inside the source.

The source carries the scored tokens as text, compressed: 20,000 of them fit into this track's source budget. (Ten
million, as the real tracks score, do not: the budget is what stands against it there.) The logits function answers
by heart, strictly from what came before; shadow text, which nobody could know, it cannot answer.

group: data
catalogue: 28, 18
status: caught
ends: finding shadow_gap
"""

import base64
import zlib

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
TOKENS = np.frombuffer(zlib.decompress(base64.b85decode("@validation tokens@")), "<u2")


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    seen = {}
    for i in range(len(TOKENS) - 1):
        for length in (2, 4, 8):
            seen[TOKENS[max(0, i + 1 - length) : i + 1].tobytes()] = int(TOKENS[i + 1])

    def logits(tokens):
        answers = torch.zeros(*tokens.shape, 325)
        for row, window in enumerate(tokens.numpy().astype("<u2")):
            for i in range(len(window)):
                for length in (2, 4, 8):
                    following = seen.get(window[max(0, i + 1 - length) : i + 1].tobytes())
                    if following is not None:
                        answers[row, i, following] += 3.0
        return answers

    return logits
