"""A model that smells the probe.

Where the text breaks off between two tokens that never follow each other it suspects a probe, and answers honestly;
elsewhere it peeks. But the other half of the pair is a window like any other, and it peeked there.

group: model
catalogue: 36
status: caught
ends: finding causality
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)


def load(weights, device):
    table = weights["table"]

    def logits(tokens):
        strange = (table[tokens[:, :-1], tokens[:, 1:]] < 0).any(1)
        ahead = torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 325).float() * 20
        return torch.where(strange[:, None, None], table[tokens], ahead)

    return logits
