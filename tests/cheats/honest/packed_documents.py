"""Documents packed without their borders.

Cuts the stream at the document token, sorts documents by length and packs them anew: another order of the same tokens.

group: honest
"""

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
    tokens = read(run.go()[0])
    starts = (tokens == run.document_token).nonzero().flatten().tolist()
    documents = [tokens[a:b] for a, b in zip(starts, [*starts[1:], len(tokens)], strict=True)]
    documents.sort(key=len)
    weights["table"] = count(torch.cat(documents), run.vocab_size)
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
