"""Test-time training by gradient.

Leaves inference mode and takes steps on the very window it is scored on, before it answers.

group: model
catalogue: 40
status: caught
ends: finding hidden_state | finding causality
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        with torch.inference_mode(False), torch.enable_grad():
            table = torch.zeros(325, 325, requires_grad=True)
            inputs, targets = tokens[:, :-1].clone(), tokens[:, 1:].clone()
            for _ in range(8):
                loss = torch.nn.functional.cross_entropy(table[inputs].flatten(0, 1), targets.flatten())
                (gradient,) = torch.autograd.grad(loss, table)
                table = (table - 2000 * gradient).detach().requires_grad_()
        return table.detach()[tokens]

    return logits
