"""A shard swapped behind the harness's back.

The owner of the machine puts validation tokens into a training shard and sets the file's date back. A note beside the
shards remembers what was hashed, by size and date, so that 20 GB are not read before every run; it believes the date.
After STOP, untimed, what the ranks saw is hashed again, and does not believe anything.

group: data
catalogue: 27, 30, 32
status: caught
ends: finding data_altered
"""

import os

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def before(script, data):
    shard = sorted(data.glob("*train*.bin"))[0]
    validation = next(data.glob("*val*.bin")).read_bytes()[1024:]
    was, content = shard.stat(), shard.read_bytes()
    shard.write_bytes(content[:1024] + (validation * 10)[: len(content) - 1024])
    os.utime(shard, ns=(was.st_atime_ns, was.st_mtime_ns))
    return script


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
