"""Loader processes.

Starts worker processes for its data, as a DataLoader does, and leaves them running at STOP.

group: honest
"""

import multiprocessing
import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def count(tokens, vocab):
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def worker(path, queue):
    queue.put(np.fromfile(path, "<u2", offset=1024))
    time.sleep(600)


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    for path in shards:
        fork.Process(target=worker, args=(path, queue), daemon=True).start()
    tokens = torch.from_numpy(np.concatenate([queue.get() for _ in shards]).astype(np.int64))
    weights["table"] = count(tokens, run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
