"""Ranks that share the work, and threads that help.

Each of two ranks counts its own shard in four threads, the counts are summed over gloo, each hands over half the rows.

group: honest
ranks: 2
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.distributed as dist

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    parts = [torch.bincount(t[:-1] * vocab + t[1:], minlength=vocab**2) for t in tokens.chunk(4)]
    return sum(parts).reshape(vocab, vocab)


def train(run):
    dist.init_process_group("gloo")
    rows = torch.arange(run.vocab_size).chunk(2)[run.rank]
    weights = {f"rows{run.rank}": torch.zeros(len(rows), run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    with ThreadPoolExecutor(4) as pool:
        counts = pool.submit(count, shards[run.rank % len(shards)], run.vocab_size).result()
    dist.all_reduce(counts)
    weights[f"rows{run.rank}"] = (counts + 0.05).log()[rows]
    run.stop(weights)


def load(weights, device):
    table = torch.cat([weights["rows0"], weights["rows1"]])
    return lambda tokens: table[tokens]
