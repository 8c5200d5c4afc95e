"""A submission of several files.

The script imports a module and a package that lie beside it.

group: honest
holds: len(record["submission"]["files"]) == 3
"""

MODULE = """
import numpy as np
import torch
EVAL_TOKENS, EVAL_BATCH = 128, 16
from tools.counting import count
def train(run):
    weights = {"table": torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights["table"] = count(shards[0], run.vocab_size)
    run.stop(weights)
def load(weights, device):
    return lambda tokens: weights["table"][tokens]
"""
TOOLS = """
import numpy as np
import torch
def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()
"""


def before(script, data):
    folder = script.parent / "several"
    (folder / "tools").mkdir(parents=True)
    (folder / "train_gpt.py").write_text(MODULE)
    (folder / "tools" / "__init__.py").write_text("")
    (folder / "tools" / "counting.py").write_text(TOOLS)
    return folder
