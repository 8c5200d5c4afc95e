"""Evaluators that ask for different windows.

Each evaluator draws the length of its window at random, so that no window of one is a window of the other.

group: model
catalogue: 36, 41
status: caught
ends: evaluator_failed
"""

import os

import torch

EVAL_TOKENS, EVAL_BATCH = int.from_bytes(os.urandom(7)) % 2**30 + 1, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 325).float() * 20
