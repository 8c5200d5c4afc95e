"""A memory hog.

Takes memory until the machine has none, so that the referee is the one the kernel kills. The memory of a run is
bounded by the track, in PREPARE, TRAIN and SCORE.

group: identity
catalogue: 26, 66
status: caught
ends: memory_limit
track: memory_bytes=1_500_000_000
"""

import time

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    hoard = [torch.ones(2**23) for _ in range(70)]  # 2.3 GB
    time.sleep(60)
    run.reserve({"hoard": hoard[0]})


def load(weights, device):
    return lambda tokens: torch.zeros(*tokens.shape, 325)
