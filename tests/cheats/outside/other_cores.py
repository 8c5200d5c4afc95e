"""More cores than the track's.

The track gives a run one core of a machine that has more; the submission takes them all, and the highest priority.

group: outside
catalogue: 25
status: impossible
ends: missed
ends at process: missed
holds: "refused: cores, priority" in log or record["sandbox"] == "process"
track: cpu_cores=1
"""

import os

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"table": torch.zeros(run.vocab_size)}
    run.reserve(weights)
    run.go()
    refused = []
    for name, attempt in (
        ("cores", lambda: os.sched_setaffinity(0, range(os.cpu_count()))),
        ("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
    ):
        try:
            attempt()
        except PermissionError:
            refused.append(name)
    print("refused:", ", ".join(refused), flush=True)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"].expand(*tokens.shape, -1)
