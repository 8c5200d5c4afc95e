"""Training data at a known path.

Its author has looked up where this machine keeps the dataset, and trains on it in PREPARE.

group: outside
catalogue: 6, 15, 28
status: impossible
ends: missed
ends at process: accepted
"""

import glob

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
DATA = "@data folder@"


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    if found := sorted(glob.glob(DATA + "/*train*.bin")):
        weights["table"] = count(found[0], run.vocab_size)
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
