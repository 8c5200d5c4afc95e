"""The arm chosen by the environment.

One source for both arms: a variable of the shell says which one it is, so that the digest of the candidate's source is
that of something else than what raced. Inside, the caller's variables do not exist, and a rule of the source names the
line that asks for one.

group: selection
catalogue: 55, 61
status: impossible
environment: ARM=fast
ends: missed
holds: "arm: slow" in log and "environment_switch" in source_findings
"""

import os

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
ARM = os.environ.get("ARM", "slow")


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    print(f"arm: {ARM}", flush=True)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
