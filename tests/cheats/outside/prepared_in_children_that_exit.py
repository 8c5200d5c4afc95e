"""Work before GO in children that leave nothing behind.

Ignores SIGCHLD, so that the kernel adds the times of dead children to nobody's, and works in a hundred
children of which none lives as long as it takes to look at all processes. The control group has counted them.

group: outside
catalogue: 5, 6
status: impossible
ends: reached
holds: charged_s >= 1
track: prepare_free_cpu_s=1
"""

import os
import signal
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


def children(count, cpu_s):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(count):
        child = os.fork()
        if child == 0:
            work(cpu_s)
            os._exit(0)
        while os.path.exists(f"/proc/{child}"):
            time.sleep(0.001)


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    children(100, 0.05)
    run.reserve(weights)
    shards = run.go()
    run.stop({"table": count(shards[0], run.vocab_size)})


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
