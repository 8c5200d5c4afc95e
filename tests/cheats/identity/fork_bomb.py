"""A fork bomb.

Forks in PREPARE until nothing on the machine can start any more. Processes are counted for each run, and a run that
passes the track's number is ended, with all of them.

group: identity
catalogue: 66
status: caught
ends: process_limit
track: processes=100
"""

import os
import time

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    for _ in range(1000):  # as many as a test can answer for
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    time.sleep(600)


def load(weights, device):
    return lambda tokens: torch.zeros(*tokens.shape, 325)
