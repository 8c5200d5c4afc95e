"""Windows as long as the track allows.

Asks for the longest windows, one per batch, and uses all of them: a causal cache of pairs seen earlier in the window.

group: honest
holds: windows["tokens"] == 256
"""

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 256, 1


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
        answers = weights["table"][tokens].clone()
        for row, window in enumerate(tokens.tolist()):
            followers = {}
            for i, token in enumerate(window):
                if i:
                    followers.setdefault(window[i - 1], []).append(token)
                for follower in followers.get(token, ()):
                    answers[row, i, follower] += 0.2
        return answers

    return logits
