"""A C kernel built in load().

Calls the compiler, where there is one, each time it loads. It works, and is told that it could be built once, at module
level.

group: honest
holds: charged_s == 0 or "above the track's slack" in sentence
"""

import ctypes
import shutil
import subprocess
import tempfile

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


SOURCE = "void add(float *x, long n) { for (long i = 0; i < n; i++) x[i] += 0.5f; }"


def build():
    with tempfile.TemporaryDirectory() as folder:
        command = ["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{folder}/kernel.so"]
        subprocess.run(command, input=SOURCE.encode(), check=True)
        return ctypes.CDLL(f"{folder}/kernel.so").add


def load(weights, device):
    table = weights["table"].clone()
    if shutil.which("cc"):
        build()(ctypes.c_void_p(table.data_ptr()), ctypes.c_long(table.numel()))
    return lambda tokens: table[tokens]
