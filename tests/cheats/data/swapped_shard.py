"""A shard swapped for a better one.

The owner of the machine puts the validation tokens in the place of the training shards before the run.
Every shard is hashed against the manifest of its dataset before it is used; no run is made of another one.

group: data
catalogue: 27, 30
status: caught
ends: refused
holds: "expected sha256" in stderr
"""

import os

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def before(script, data):
    validation = next(data.glob("*val*.bin"))
    for shard in data.glob("*train*.bin"):
        shard.write_bytes(validation.read_bytes())
    return script


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    print("tokens in the shard:", (os.path.getsize(shards[0]) - 1024) // 2, flush=True)
    weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
