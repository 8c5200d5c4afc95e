"""A look ahead that hides in noise of its own.

Adds a little of every next token to the logits before it, a hundredth of a nat, and noise of that size to
everything: no pair of answers differs by more than its arithmetic seems to, and no gain stands out of the scatter. So
what cannot be told from noise is charged at its upper bound, which is more than the leak brings.

group: model
catalogue: 35, 36
status: deterred
ends: missed
holds: record["score"]["leak_nats"] > 0.004
track: probe_pairs=64
"""

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {} if run.rank else {"table": torch.zeros(run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        answer = weights["table"].expand(*tokens.shape, -1) + 0.004 * torch.randn(*tokens.shape, len(weights["table"]))
        answer[:, :-1].scatter_add_(2, tokens[:, 1:, None], torch.full((*tokens[:, 1:].shape, 1), 0.01))
        return answer

    return logits
