"""Training at import.

Does its work when it is imported, before anybody could have started a clock: in a rank, and again in every evaluator.

group: outside
catalogue: 6
status: impossible
ends: missed
ends at process: accepted
"""

import glob

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


FOUND = sorted(glob.glob("@data folder@/*train*.bin"))
TABLE = count(FOUND[0], 325) if FOUND else torch.zeros(325, 325)


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: TABLE[tokens]
