"""A pool of processes made in load().

Forks two workers that look rows up, each time it loads; those of functions that were dropped end with them. They answer
through pipes: queues and locks of multiprocessing need /dev/shm, which level landlock shows to CUDA only.

group: honest
holds: charged_s == 0 or "above the track's slack" in sentence
"""

import multiprocessing
import weakref

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def count(tokens, vocab):
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    table = weights["table"]
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe() for _ in range(2)]
    workers = [fork.Process(target=look_up, args=(theirs,), daemon=True) for _, theirs in pipes]
    for worker in workers:
        worker.start()

    def logits(tokens):
        halves = tokens.tolist()[::2], tokens.tolist()[1::2]
        for (ours, _), half in zip(pipes, halves, strict=True):
            ours.send(half)
        rows = torch.empty_like(tokens)
        for number, (ours, _) in enumerate(pipes):
            found = ours.recv()
            if found:
                rows[number::2] = torch.tensor(found)
        return table[rows]

    weakref.finalize(logits, lambda: [worker.terminate() for worker in workers])
    return logits


def look_up(pipe):
    while True:
        pipe.send([list(row) for row in pipe.recv()])
