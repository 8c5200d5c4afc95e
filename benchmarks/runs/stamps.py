"""A submission that hands over the times at which it left go() and called stop(): the ends of both latencies."""

import time

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
WIDTH = 800  # with 512 tokens 1.6 MB a rank, the size of a nano model


def now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def train(run):
    weights = {"stamps": torch.zeros(2, dtype=torch.int64), "weights": torch.zeros(run.vocab_size, WIDTH)}
    weights = {f"{name}.{run.rank}": tensor for name, tensor in weights.items()}
    run.reserve(weights)
    run.go()
    stamps = weights[f"stamps.{run.rank}"]
    stamps[0] = now()
    time.sleep(0.2)
    stamps[1] = now()
    run.stop(weights)


def load(weights, device):
    vocab_size = weights["weights.0"].shape[0]
    return lambda tokens: torch.zeros(*tokens.shape, vocab_size)
