"""A heavy initialisation.

Spends longer on an orthogonal start and on warming up than on training. PREPARE is free, bounded and shown.

group: honest
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
    for _ in range(8):
        torch.nn.init.orthogonal_(weights["table"])
        count(read(run.warmup_shards[0]), run.vocab_size)
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size) + 1e-3 * weights["table"]
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
