"""An odd evaluation batch.

Windows of 77 tokens in batches of 13: nothing divides anything, and the last window is mostly filling.

group: honest
holds: windows["tokens"] == 77 and record["score"]["eval_batch"] == 13 and sum(windows["counts"]) == 20000
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 77, 13


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


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
