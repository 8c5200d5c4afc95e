"""Work before GO at import.

Works when the module is imported, before `train` is called; the evaluators import it too and are spared. PREPARE counts
from the first process on, so that an import is part of it.

group: outside
catalogue: 6, 8
status: impossible
ends: reached
holds: charged_s >= 1
track: prepare_free_cpu_s=1
"""

import os
import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def work(cpu_s):
    """Stands for training on text of the public grammar."""
    while time.process_time() < cpu_s:
        pass


if "RANK" in os.environ:
    work(7)


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    run.stop({"table": count(shards[0], run.vocab_size)})


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
