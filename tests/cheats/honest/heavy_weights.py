"""Sixty megabytes of weights.

Fifteen million numbers that load() widens and keeps. The track grants the reading of weights by their bytes.

group: honest
track: weights_bytes=64000000
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
    weights = {
        "table": torch.zeros(run.vocab_size, run.vocab_size),
        "rest": torch.zeros(90_000, 325, dtype=torch.bfloat16),
    }
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    table, kept = weights["table"], weights["rest"].float()
    return lambda tokens: table[tokens] + kept[tokens]
