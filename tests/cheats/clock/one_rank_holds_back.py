"""One rank looks while the other holds GO back.

Rank 0 asks for GO and looks for the shards; rank 1 asks when it has looked, and only then would the clock run.
The shards appear when the last rank has asked, after the stamp.

group: clock
catalogue: 6, 10
status: impossible
ends: missed
holds: "data before GO" not in log and "nothing before GO" in log
ranks: 2
"""

import glob
import os
import time

import numpy as np
import torch
import torch.distributed as dist

EVAL_TOKENS, EVAL_BATCH = 128, 16


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    dist.init_process_group("gloo")
    weights = {} if run.rank else {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    if run.rank == 0:
        run._channel.send({"kind": "go"})
        stage, deadline = os.path.dirname(os.path.dirname(run.warmup_shards[0])), time.monotonic() + 1
        while time.monotonic() < deadline:
            if found := glob.glob(stage + "/train/*.bin"):
                print("data before GO", flush=True)
                weights["table"] = count(found[0], run.vocab_size)
                break
        else:
            print("nothing before GO", flush=True)
        dist.barrier()
        run._channel.receive()
    else:
        dist.barrier()
        run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
