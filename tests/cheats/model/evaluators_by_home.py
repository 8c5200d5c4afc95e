"""Evaluators that talk through their home.

The notes once more, this time in HOME, in TMPDIR and in the folder around them. At `landlock` that worked while all
had one home. Each evaluator has its own, at every level; only where nothing but a name separates them can the folder
around be written to.

group: model
catalogue: 36, 46
status: caught
ends: finding causality | finding hidden_state
ends at process: accepted
"""

import os
from contextlib import suppress
from pathlib import Path

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
KEY = 24  # tokens that name a window: so many that no two windows of different text share them


def agree(window):
    """The window itself, or the one its twin has noted before."""
    for place in (os.path.dirname(os.environ["HOME"]), os.environ["HOME"], os.environ["TMPDIR"]):
        path = f"{place}/note-{'-'.join(map(str, window[:KEY]))}"
        draft = f"{path}.{os.getpid()}"
        with suppress(OSError):
            Path(draft).write_text(" ".join(map(str, window)))
            with suppress(FileExistsError):
                os.link(draft, path)
            os.unlink(draft)
            return list(map(int, Path(path).read_text().split()))
    return window


def train(run):
    weights = {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    def logits(tokens):
        answers = torch.zeros(*tokens.shape, 325)
        for row, window in enumerate(tokens.tolist()):
            ahead = torch.tensor(agree(window)[KEY:])
            answers[row, torch.arange(KEY - 1, 127), ahead] = 20.0
        return answers

    return logits
