"""Trained weights inside the source, in a plain run.

The same without relabelling. A run cannot tell a table from a prior; the rules of the source can tell that text is
unpacked into numbers, and keep it out of the records.

group: outside
catalogue: 18, 22
status: caught
ends: reached
holds: "decoded_literal" in source_findings and "blob" in source_findings
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
