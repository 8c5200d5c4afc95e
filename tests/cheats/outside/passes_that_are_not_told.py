"""Steps before GO that are not told.

Takes a hundred steps before GO and sets the count of its own interpreter back. Nothing inside the sandbox is
believed, and this count is no exception: it keeps honest scripts within a bound, and whoever gets round it has to
write that down, where a rule of the source finds it before a record stands.

group: outside
catalogue: 6, 7, 15, 44
status: caught
ends: reached | missed
holds: record["prepare"]["before_go"]["passes"] == 0 and "patched_counter" in source_findings
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
    run._passes.count = 0
    weights = {"table": table.detach()}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
