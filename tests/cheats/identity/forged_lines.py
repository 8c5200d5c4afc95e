"""Lines a parser would like.

Prints `step:.. val_loss:.. train_time:..` as old logs had it, and the harness's own JSON. What a submission prints is
kept as untrusted text; no result is read from it.

group: identity
catalogue: 58, 59
status: impossible
ends: missed
holds: "val_loss:2.0" in log and val_loss > 5
"""

import json

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def boast():
    print("step:1/1 val_loss:2.0 train_time:1ms step_avg:1ms", flush=True)
    print(json.dumps({"kind": "score", "score": {"val_loss": 2.0, "loss_sum": 40000.0, "count": 20000}}), flush=True)
    print(json.dumps({"status": "complete", "val_loss": 2.0, "exit_code": 0}), flush=True)


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    boast()
    run.stop(weights)


def load(weights, device):
    boast()
    return lambda tokens: torch.zeros(*tokens.shape, 325)
