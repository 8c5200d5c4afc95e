"""A model of all languages, made before GO.

On the embedded corpus the grammar is public, and only words, roles and order are drawn. So the source brings the
grammar, writes text in many languages while it prepares, learns what they have in common, and finds out after GO which
token is which word: nothing is left to be trained. A language of its own for every run does not stand against it; that
the processor time of PREPARE is counted does. With a transformer instead of a table of pairs it is the strongest attack
we know: `python -m benchmarks.decipher.exchange` prints what it gains and what it is charged.

group: outside
catalogue: 6, 15, 22
status: not covered
ends: accepted
track: dataset="embedded-tiny" target_val_loss=3.4
"""

import base64
import json
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch

EVAL_TOKENS, EVAL_BATCH = 128, 16
GRAMMAR = "@the public grammar@"  # its modules, and benchmarks/decipher/cipher.py


def write_and_count():
    """What the languages of the family have in common: how often words stand behind and beside each other."""
    folder = Path(tempfile.mkdtemp())
    (folder / "corpus").mkdir()
    for name, text in json.loads(zlib.decompress(base64.b85decode(GRAMMAR))).items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    import cipher
    from corpus import language, narration

    pairs = np.zeros(325**2)
    for number in range(1, 17):
        spoken = language.language(bytes([number] * 32))
        words = np.argsort(spoken.numbers)[narration.generate(number, 40_000, spoken)]
        pairs += np.bincount(words[:-1] * 325 + words[1:], minlength=325**2)
    pairs = pairs.reshape(325, 325)
    return cipher.decipher, pairs


def train(run):
    decipher, pairs = write_and_count()
    table = torch.from_numpy(np.log(pairs + 0.5)).float()
    run.reserve({"table": table, "words": torch.arange(325)})
    shards = run.go()
    tokens = np.fromfile(shards[0], "<u2", offset=1024).astype(np.int64)
    run.stop({"table": table, "words": torch.from_numpy(decipher(tokens, pairs + pairs.T))})


def load(weights, device):
    table = weights["table"][weights["words"]][:, weights["words"]].contiguous()
    return lambda tokens: table[tokens]
