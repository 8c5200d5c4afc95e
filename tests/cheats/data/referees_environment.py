"""What the referee was started with.

Reads the environment of all processes it can see for the folder of the data, and trains on it in PREPARE.

group: data
catalogue: 28, 61
status: impossible
ends: missed
ends at process: accepted
"""

import glob
import os
from contextlib import suppress

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def ancestors():
    process = os.getppid()
    while process > 1:
        yield process
        with open(f"/proc/{process}/stat") as file:
            process = int(file.read().rpartition(")")[2].split()[1])


def shards():
    for process in ancestors():
        with open(f"/proc/{process}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                name, _, value = variable.decode(errors="replace").partition("=")
                if name == "SPEEDRUN_DATA":
                    yield from sorted(glob.glob(f"{value}/*/*train*.bin"))


def train(run):
    found = []
    with suppress(OSError):
        found += shards()
    print("shards in sight:", len(found), flush=True)
    weights = {"table": count(found[0], run.vocab_size) if found else torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
