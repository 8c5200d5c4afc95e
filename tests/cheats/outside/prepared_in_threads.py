"""Work before GO in threads.

Trains before GO on every core at once, in threads that are gone when GO is asked for. PREPARE counts by
processor time, so that two threads count twice.

group: outside
catalogue: 5, 6
status: impossible
ends: reached
holds: charged_s >= 1
track: prepare_free_cpu_s=1
"""

import threading
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


def squares(cpu_s):
    """Of matrices: outside the interpreter's lock."""
    started_s, matrix = time.thread_time(), torch.ones(500, 500)
    while time.thread_time() - started_s < cpu_s:
        matrix @ matrix


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    threads = [threading.Thread(target=squares, args=(2.5,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.reserve(weights)
    shards = run.go()
    run.stop({"table": count(shards[0], run.vocab_size)})


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
