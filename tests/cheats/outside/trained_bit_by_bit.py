"""Training spread over all answers.

Each answer trains on some tokens more, too few to be slow. What was answered before is answered otherwise after it.

group: outside
catalogue: 23, 40
status: caught
ends: finding first_answer_changed | finding hidden_state
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"tokens": torch.zeros(100_000, dtype=torch.int64)}
    run.reserve(weights)
    (shard, *_) = run.go()
    weights["tokens"] = torch.from_numpy(np.fromfile(shard, "<u2", offset=1024, count=100_000).astype(np.int64))
    run.stop(weights)


def load(weights, device):
    counts, rest = torch.zeros(325**2), list(weights["tokens"].split(5_000))

    def logits(tokens):
        if rest:
            part = rest.pop()
            counts.add_(torch.bincount(part[:-1] * 325 + part[1:], minlength=325**2))
        return (counts.reshape(325, 325) + 0.05).log()[tokens]

    return logits
