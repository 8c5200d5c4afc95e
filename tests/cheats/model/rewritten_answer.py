"""An answer rewritten after it was given.

A thread goes on writing into the shared memory of the logits while the judge reads it. The judge scores a copy of its
own, and targets never come near an evaluator; what is scribbled while it is copied contradicts the other evaluator.

group: model
catalogue: 37, 44, 60
status: impossible
ends: missed | logits_invalid | evaluator_failed | finding hidden_state | finding causality
"""

import gc
import threading

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def scribble():
        while True:
            for tensor in gc.get_objects():
                if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.uint8 and tensor.numel() > 2**20:
                    tensor.view(torch.float32).fill_(8.0)

    def logits(tokens):
        if not running:
            running.append(threading.Thread(target=scribble, daemon=True))
            running[0].start()
        return torch.zeros(*tokens.shape, 325)

    running = []
    return logits
