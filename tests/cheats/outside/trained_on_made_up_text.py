"""Steps of an optimizer before GO.

Writes text of its own before GO, as the public grammar would, and takes a hundred steps on it, "to warm up". The ranks
count backward passes and tell them with go and stop; a track says how many a warm-up may have.

group: outside
catalogue: 6, 7, 15
status: caught
ends: finding work_before_go
holds: record["prepare"]["before_go"]["passes"] >= 100
track: before_go_share=0.01
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    table = torch.zeros(run.vocab_size, run.vocab_size, requires_grad=True)
    optimizer = torch.optim.SGD([table], lr=1.0)
    for _ in range(100):
        text = torch.randint(run.vocab_size, (2, 64))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(table[text[0]], text[1]).backward()
        optimizer.step()
    weights = {"table": table.detach()}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
