"""One matrix under two names.

Embedding and output are the same tensor, handed over twice: the bytes are sent twice, and count twice.

group: honest
holds: record["weights"]["tensors"] == 3
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
    embedding = torch.eye(run.vocab_size)
    weights = {"embed": embedding, "head": embedding, "pairs": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["pairs"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["embed"][tokens] @ weights["pairs"] @ weights["head"].T
