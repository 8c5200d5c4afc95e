"""An embedding that fills the budget.

Nine tenths of the weights are rows that are hardly ever used.

group: honest
holds: record["weights"]["bytes"] > 3_500_000
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def count(tokens, vocab):
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size), "rows": torch.zeros(50_000, 16)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size)
    weights["rows"].normal_(std=1e-3)
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        hashed = weights["rows"][(tokens * 7919 + torch.nn.functional.pad(tokens, (1, 0))[:, :-1]) % 50_000]
        return weights["table"][tokens] + hashed.sum(-1, keepdim=True)

    return logits
