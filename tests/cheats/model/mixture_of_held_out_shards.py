"""A mixture fitted on held-out training text.

Keeps the end of the last training shard apart, fits on it how much the estimates with and without a word of context
count, and mixes them so when it answers. It is no cheat here: nothing but training text is read, between GO and STOP,
and the weights of the mixture cross with the others. What would be one is to fit them on text that is scored, in
PREPARE or in an evaluator; neither holds any.

group: model
catalogue: 37, 46
status: impossible
ends: reached
holds: 2 < val_loss < 3 and train_s > 0
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
STEPS = 40


def read(path):
    return torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))


def estimates(tokens, vocab):
    """Probabilities [vocab, vocab] after one word, [vocab] after none."""
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2).reshape(vocab, vocab).float()
    return pairs / pairs.sum(1, keepdim=True).clamp(min=1), (pairs.sum(0) + 1) / (pairs.sum() + vocab)


def mixed(shares, pairs, words, tokens):
    share = torch.sigmoid(shares)
    return (share * pairs[tokens] + (1 - share) * (0.99 * words + 0.01 / len(words))).log()


def train(run):
    weights = {"pairs": torch.zeros(run.vocab_size, run.vocab_size), "words": torch.zeros(run.vocab_size)}
    weights["shares"] = torch.zeros(1)
    run.reserve(weights)
    shards = [read(path) for path in run.go()]
    text, held_out = torch.cat(shards)[:-20_000], shards[-1][-20_000:]
    weights["pairs"], weights["words"] = estimates(text, run.vocab_size)
    shares = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([shares], lr=0.2)
    for _ in range(STEPS):
        logits = mixed(shares, weights["pairs"], weights["words"], held_out[:-1])
        loss = torch.nn.functional.cross_entropy(logits, held_out[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights["shares"] = shares.detach()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: mixed(weights["shares"], weights["pairs"], weights["words"], tokens)
