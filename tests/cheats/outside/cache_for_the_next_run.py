"""Something left for the next run.

Leaves what it has learnt in every place that could outlive a run (home, temporary and cache folders, shared memory,
beside the data). The second run, which is the one submitted, would find it in PREPARE and stop at once.

group: outside
catalogue: 16, 17
status: impossible
ends: reached
holds: "found: False" in log and "found: True" not in log
ends at process: accepted
runs: 2
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
HOMES = ("HOME", "TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
FILES = [Path(os.environ.get(name, "/tmp")) for name in HOMES]
FILES += [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm", "@data folder@/..")]
FILES = [place / f"left-for-{hashlib.sha256(b'@data folder@').hexdigest()[:16]}.npy" for place in FILES]


def count(path, vocab):
    tokens = torch.from_numpy(np.fromfile(path, "<u2", offset=1024).astype(np.int64))
    pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2)
    return (pairs.reshape(vocab, vocab) + 0.05).log()


def after():
    for path in FILES:
        path.unlink(missing_ok=True)


def train(run):
    found = [torch.from_numpy(np.load(path)) for path in FILES if path.exists()]
    print("found:", bool(found), flush=True)
    weights = {"table": found[0] if found else torch.zeros(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    if not found:
        weights["table"] = count(shards[0], run.vocab_size)
        for path in FILES:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, weights["table"].numpy())
    run.stop(weights)


def load(weights, device):
    return lambda tokens: weights["table"][tokens]
