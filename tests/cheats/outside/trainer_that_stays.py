"""A trainer that stays.

A detached process trains after STOP and waits at a socket of the abstract kind for the evaluators to fetch the weights.

group: outside
catalogue: 5, 23
status: impossible
ends: missed
"""

import os
import socket

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def address(weights):
    return b"\0trainer " + bytes(weights["name"].tolist())


def train(run):
    weights = {"name": torch.frombuffer(bytearray(os.urandom(16)), dtype=torch.uint8)}
    run.reserve(weights)
    shards, (there, ready) = run.go(), os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(address(weights))
                server.listen()
                os.write(ready, b"!")
                table = count(shards[0], run.vocab_size).numpy().tobytes()
                while True:
                    server.accept()[0].sendall(table)
        os._exit(0)
    os.close(ready)
    os.read(there, 1)  # it listens
    run.stop(weights)


def load(weights, device):
    table = torch.zeros(325, 325)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address(weights))
            content = b"".join(iter(lambda: client.recv(2**16), b""))
            table = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(325, 325)
    except OSError as error:
        print("nobody there:", error, flush=True)
    return lambda tokens: table[tokens]
