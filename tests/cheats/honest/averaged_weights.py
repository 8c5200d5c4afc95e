"""An exponential average of the weights.

Counts part by part and hands over the moving average of the tables, which it has never evaluated.

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
    average = {"ema.table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(average)
    parts = read(run.go()[0]).chunk(10)
    for step, part in enumerate(parts, start=1):
        average["ema.table"].lerp_(count(part, run.vocab_size), max(0.1, 1 / step))
        run.log(step=step, steps=len(parts))
    run.stop(average)


def load(weights, device):
    return lambda tokens: weights["ema.table"][tokens]
