"""Text of the machine itself.

Looks for natural language before GO in what the system brings along, word lists, manuals, documentation, to train on it
untimed. Shown are libraries, a compiler, Python and the allowed packages, and nothing of these but code; docstrings,
comments and headers stay, and whoever learns English from them is welcome to that limit.

group: data
catalogue: 6, 28
status: impossible
ends: missed
ends at process: missed | reached
holds: "bytes of text: 0" in log or record["sandbox"] == "process"
"""

import os

import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
PLACES = ("/usr/share/dict", "/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/common-licenses",
          "/usr/share/perl", "/usr/share/games", "/usr/games", "/usr/local/share", "/usr/src", "/var",
          "/etc/motd")  # fmt: skip


def size(place):
    found = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    found += len(file.read(2**16))
            except OSError:
                continue
    return found


def train(run):
    if run.rank == 0:
        print("bytes of text:", sum(map(size, PLACES)), flush=True)
    weights = {} if run.rank else {"table": torch.zeros(run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"].expand(*tokens.shape, -1)
