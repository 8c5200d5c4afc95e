"""An evaluator with a cache.

Precomputes log-probabilities in load() and remembers answers to prefixes: the same answers, only sooner.

group: honest
"""

import functools

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


def load(weights, device):
    table = weights["table"].log_softmax(-1)

    @functools.cache
    def row(token):
        return table[token]

    def logits(tokens):
        return torch.stack([torch.stack([row(token) for token in window]) for window in tokens.tolist()])

    return logits
