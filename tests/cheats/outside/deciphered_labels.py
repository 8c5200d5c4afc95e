"""Trained weights under a deciphered relabelling.

The table again, in a relabelled run. After GO the source reads some text and finds which number is which word, by
frequencies first and then by who stands behind whom: milliseconds at 325 words. A relabelling is a cipher, and shows
only what was brought along carelessly.

group: outside
catalogue: 18, 22
status: not covered
ends: accepted
arguments: --relabel
"""

import base64
import zlib

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
TABLE = "@bigram table@"


def shares(pairs):
    return np.sqrt(pairs / np.maximum(pairs.sum(1, keepdims=True), 1))


def decipher(tokens, known):
    """The word of every number: known and seen pairs are laid over each other, the surest words first."""
    seen = np.bincount(tokens[:-1] * 325 + tokens[1:], minlength=325**2).reshape(325, 325).astype(np.float64)
    words = np.empty(325, np.int64)
    words[np.argsort(-seen.sum(1))] = np.argsort(-known.sum(1))
    for _ in range(12):
        profiles = np.zeros((2, 325, 325))
        profiles[0][:, words], profiles[1][:, words] = shares(seen), shares(seen.T)
        cost = sum(
            (have**2).sum(1)[:, None] + (want**2).sum(1)[None] - 2 * have @ want.T
            for have, want in zip(profiles, (shares(known), shares(known.T)), strict=True)
        )
        words, taken = np.full(325, -1), np.zeros(325, bool)
        for place in np.argsort(cost, axis=None):
            number, word = divmod(int(place), 325)
            if words[number] < 0 and not taken[word]:
                words[number], taken[word] = word, True
    return words


def train(run):
    content = np.frombuffer(zlib.decompress(base64.b85decode(TABLE)), np.uint8).reshape(325, 325)
    table = torch.from_numpy(content.astype(np.float32)) * 0.087
    run.reserve({"table": table, "words": torch.arange(325)})
    shards = run.go()
    tokens = np.fromfile(shards[0], "<u2", offset=1024).astype(np.int64)
    words = decipher(tokens, np.exp2(content / 8) - 1)
    run.stop({"table": table, "words": torch.from_numpy(words)})


def load(weights, device):
    table = weights["table"][weights["words"]][:, weights["words"]].contiguous()
    return lambda tokens: table[tokens]
