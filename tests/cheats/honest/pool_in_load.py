"""A pool of processes made in load().

Forks two workers that look rows up, each time it loads; those of functions that were dropped end with them.

group: honest
holds: charged_s == 0 or "above the track's slack" in sentence
"""

import multiprocessing
import weakref

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
    table = weights["table"]
    pool = multiprocessing.get_context("fork").Pool(2)

    def logits(tokens):
        rows = pool.map(list, tokens.tolist())
        return table[torch.tensor(rows)]

    logits.pool = pool
    weakref.finalize(logits, pool.terminate)
    return logits
