"""A submission that does the same work every time: what the referee costs shows as a difference in its time.

A two-layer network on two ranks, one all-reduce a step, about four seconds on two cores: the shape of a real run
(matrix products, gloo, shards read through a memory map) without its learning.
"""

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

EVAL_TOKENS, EVAL_BATCH = 256, 64
STEPS, BATCH, WIDTH = 300, 2048, 256


def train(run):
    if run.world_size > 1:
        dist.init_process_group("gloo")
    weights = {
        "embed": torch.randn(run.vocab_size, WIDTH),
        "hidden": torch.randn(WIDTH, WIDTH) / WIDTH**0.5,
        "head": torch.zeros(WIDTH, run.vocab_size),
    }
    steps(run, {name: w.clone() for name, w in weights.items()}, run.warmup_shards[0], 10)
    mine = weights if run.rank == 0 else {}
    run.reserve(mine)
    shards = run.go()
    steps(run, weights, shards[0], STEPS)
    run.stop(mine)


def steps(run, weights, shard, count):
    tokens = np.memmap(shard, dtype="<u2", mode="r", offset=1024)
    leaves = [w.requires_grad_() for w in weights.values()]
    for step in range(count):
        start = (step * run.world_size + run.rank) * BATCH
        window = torch.from_numpy(tokens[start : start + BATCH + 1].astype(np.int64))
        hidden = F.relu(F.embedding(window[:-1], leaves[0]) @ leaves[1]).square()
        loss = F.cross_entropy(hidden @ leaves[2], window[1:])
        grads = torch.autograd.grad(loss, leaves)
        flat = torch.cat([g.flatten() for g in grads])
        if run.world_size > 1:
            dist.all_reduce(flat)
        with torch.no_grad():
            for leaf, grad in zip(leaves, flat.split([w.numel() for w in leaves]), strict=True):
                leaf.sub_(grad.view_as(leaf), alpha=1e-3)
        if step % 10 == 0 and count == STEPS:
            run.log(step=step, steps=count, train_loss=loss.item(), tokens=step * BATCH * run.world_size)
    for leaf in leaves:
        leaf.requires_grad_(False)


def load(weights, device):
    embed, hidden, head = (weights[name].to(device) for name in ("embed", "hidden", "head"))
    return lambda tokens: F.relu(F.embedding(tokens, embed) @ hidden).square() @ head
