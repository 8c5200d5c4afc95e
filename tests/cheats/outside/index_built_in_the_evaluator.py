"""An index built in the evaluator.

Hands the training tokens over as weights and answers from what followed the same word there; load() sorts them into
an index, and that is the training of such a model. It is counted.

group: outside
catalogue: 22, 23, 26
status: impossible
ends: reached
track: answer_slack_s=0.0
holds: charged_s >= 0.01
"""

import itertools
from collections import Counter, defaultdict

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"tokens": torch.zeros(100_000, dtype=torch.int64)}
    run.reserve(weights)
    (shard, *_) = run.go()
    weights["tokens"] = torch.from_numpy(np.fromfile(shard, "<u2", offset=1024, count=100_000).astype(np.int64))
    run.stop(weights)


def load(weights, device):
    followers = defaultdict(Counter)
    words = weights["tokens"].tolist()
    for word, following in itertools.pairwise(words):
        followers[word][following] += 1
    table = torch.full((325, 325), 0.05)
    for word, counts in followers.items():
        table[word, list(counts)] += torch.tensor(list(counts.values()))
    table = table.log()
    return lambda tokens: table[tokens]
