"""A source that rewrites itself.

Writes another program over its own file in PREPARE, so that the evaluators load what was never hashed.

group: identity
catalogue: 61
status: impossible
ends: missed
holds: "not what was hashed" not in log
ends at process: accepted
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
OTHER = """
import base64, zlib
import numpy as np, torch
EVAL_TOKENS, EVAL_BATCH = 128, 16
print("not what was hashed", flush=True)
def train(run): ...
def load(weights, device):
    table = np.frombuffer(zlib.decompress(base64.b85decode("@bigram table@")), np.uint8).astype(np.float32)
    table = torch.from_numpy(table.reshape(325, 325)) * 0.087
    return lambda tokens: table[tokens]
"""


def train(run):
    try:
        with open(__file__, "w") as file:
            file.write(OTHER)
    except OSError as error:
        print("cannot rewrite:", error, flush=True)
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.zeros(*tokens.shape, 325)
