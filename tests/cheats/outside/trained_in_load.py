"""Training in load().

STOP comes at once, with nothing; load() does the training in the evaluator, after the clock, on the shards whose
paths it was handed as weights. The stage is gone by then, and an evaluator sees no data.

group: outside
catalogue: 8, 23
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


def train(run):
    weights = {"where": torch.zeros(1000, dtype=torch.uint8)}
    run.reserve(weights)
    where = "\n".join(run.go()).encode()
    weights["where"][: len(where)] = torch.frombuffer(bytearray(where), dtype=torch.uint8)
    run.stop(weights)


def load(weights, device):
    table = torch.zeros(325, 325)
    shards = bytes(weights["where"].tolist()).rstrip(b"\0").decode().split("\n")
    for path in [*shards, *sorted(glob.glob("@data folder@/*train*.bin"))]:
        try:
            table = count(path, 325)
            break
        except OSError as error:
            print("no data for an evaluator:", error, flush=True)
    return lambda tokens: table[tokens]
