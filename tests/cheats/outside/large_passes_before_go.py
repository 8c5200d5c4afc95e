"""A few passes before GO, each as large as training itself.

Keeps to the number of backward passes that a warm-up may have, and puts into each a hundred times the text of a later
step. So tokens are counted beside passes: a pass after GO shows how many it has.

group: outside
catalogue: 6, 7, 15
status: caught
ends: finding work_before_go
holds: record["prepare"]["before_go"]["passes"] == 8
track: before_go_share=0.01
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def step(table, count):
    text = torch.randint(table.shape[0], (2, count))
    torch.nn.functional.cross_entropy(table[text[0]], text[1]).backward()


def train(run):
    table = torch.zeros(run.vocab_size, run.vocab_size, requires_grad=True)
    for _ in range(8):
        step(table, 64_000)
    weights = {"table": table.detach()}
    run.reserve(weights)
    run.go()
    for _ in range(4):
        step(table, 64)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
