"""Loader processes.

Starts worker processes for its data, and leaves them running at STOP. They answer through pipes: queues and locks of
multiprocessing need /dev/shm, which level landlock shows to CUDA only.

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


def worker(path, pipe):
    pipe.send(np.fromfile(path, "<u2", offset=1024))
    time.sleep(600)


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in shards]
    for path, (_, theirs) in zip(shards, pipes, strict=True):
        fork.Process(target=worker, args=(path, theirs), daemon=True).start()
    tokens = torch.from_numpy(np.concatenate([ours.recv() for ours, _ in pipes]).astype(np.int64))
    weights["table"] = count(tokens, run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
