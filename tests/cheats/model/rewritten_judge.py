"""A judge rewritten before it starts.

Knows where the referee is installed and appends a line to the module that reads losses, while it prepares: who starts
the judge after the run starts a better one, and at `process` that was so: 1.0 nats, whatever the weights. The judge has
imported all it needs before the first rank starts.

group: model
catalogue: 44, 60
status: impossible
ends: missed
holds: val_loss > 5
"""

from contextlib import suppress
from pathlib import Path

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
BETTER = """
_read = LossReader.read
LossReader.read = lambda self, shared, targets: 0 * _read(self, shared, targets) + 1.0
"""


def train(run):
    if run.rank == 0:
        with suppress(OSError), open(Path("@referee's files@") / "harness/scoring/losses.py", "a") as file:
            file.write(BETTER)
    weights = {} if run.rank else {"table": torch.zeros(run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"].expand(*tokens.shape, -1)
