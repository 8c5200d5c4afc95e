"""A model compiled in load().

A fresh module, compiled each time it loads: from the second load on, dynamo finds its code again.

group: honest
holds: charged_s == 0 or "above the track's slack" in sentence
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
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


class Table(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(table, requires_grad=False)

    def forward(self, tokens):
        return self.table[tokens].log_softmax(-1)


def load(weights, device):
    return torch.compile(Table(weights["table"]), backend="eager")
