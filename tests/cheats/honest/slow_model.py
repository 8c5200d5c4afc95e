"""A slow model.

Takes a tenth of a second for any answer, whatever it is asked. What its first answer takes beyond the track's slack
is part of its time, and it is told so.

group: honest
holds: charged_s >= 0.04 and "keep what `load` builds at module level" in sentence
"""

import time

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def count(tokens, vocab):
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(read(shards[0]), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        time.sleep(0.1)
        return weights["table"][tokens]

    return logits
