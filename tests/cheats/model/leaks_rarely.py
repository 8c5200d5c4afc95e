"""A leak in one window of ten.

Peeks only in a tenth of the windows, chosen by their first tokens, and guesses honestly elsewhere, so as to be probed
seldom. Of k probed windows a share f that leaks escapes with probability (1 - f)^k; and it gains a tenth only.

group: model
catalogue: 35, 36
status: deterred
ends: missed | finding causality | finding shadow_gap
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
        peeks = (tokens[:, 0] * 31 + tokens[:, 1]) % 10 == 0
        ahead = torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 325).float() * 20
        return ahead * peeks[:, None, None]

    return logits
