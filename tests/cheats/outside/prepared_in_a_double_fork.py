"""Work before GO in a daemon.

Forks twice, leaves the session, and lets the grandchild, which nobody waits for, do the work of PREPARE; GO is
asked for when it is done. Processor time is the account of a control group, in which everybody is whom a rank
has ever started.

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


def detached(cpu_s):
    done, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if os.fork() == 0:
            work(cpu_s)
            os.write(tell, b"1")
        os._exit(0)
    os.read(done, 1)


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    detached(5)
    run.reserve(weights)
    shards = run.go()
    run.stop({"table": count(shards[0], run.vocab_size)})


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
