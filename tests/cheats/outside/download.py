"""Weights from elsewhere.

A server (here on another port of this machine) has trained weights; PREPARE fetches them.
Inside there is no network but a loopback of its own; landlock leaves the ports that ranks need among themselves.

group: outside
catalogue: 20, 21
status: impossible
ends: missed
ends at landlock: accepted
ends at process: accepted
"""

import socket

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def fetch(vocab):
    try:
        with socket.create_connection(("127.0.0.1", int("@port of a neighbour@")), timeout=60) as server:
            content = b"".join(iter(lambda: server.recv(2**16), b""))
    except OSError as error:
        print("no download:", error, flush=True)
        return torch.zeros(vocab, vocab)
    return torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.float32).reshape(vocab, vocab) * 0.087)


def train(run):
    weights = {"table": fetch(run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
