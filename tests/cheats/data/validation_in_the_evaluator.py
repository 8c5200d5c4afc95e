"""An evaluator that reads the answers.

Its logits function opens the validation shard, finds the window it was given, and answers with what follows.

group: data
catalogue: 27, 46
status: impossible
ends: missed
ends at process: finding shadow_gap
"""

import glob

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    found = glob.glob("@data folder@/*val*.bin")
    stream = np.fromfile(found[0], "<u2", offset=1024) if found else np.zeros(0, np.uint16)
    starts = {stream[i : i + 4].tobytes(): i for i in range(0, max(0, len(stream) - 128), 128)}

    def logits(tokens):
        answers = torch.zeros(*tokens.shape, 325)
        for row, window in enumerate(tokens.numpy().astype("<u2")):
            start = starts.get(window[:4].tobytes())
            if start is not None:
                following = torch.from_numpy(stream[start + 1 : start + 129].astype(np.int64))
                answers[row, torch.arange(len(following)), following] = 20.0
        return answers

    return logits
