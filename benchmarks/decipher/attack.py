"""Train before GO on a mixture of languages, decipher the run's own after GO, train on for a few steps or for none.

A submission: the reigning script of the nano track (`record.py`), the public grammar (`corpus/`) and `cipher.py` lie
beside it. In PREPARE it writes text in many languages, with the words of the grammar as tokens, and trains on it. After
GO it finds which token is which word, and everything that was learnt holds.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import record
import torch
from cipher import decipher, neighbours
from corpus import narration
from corpus.language import STANDARD, Language, language

EVAL_TOKENS, EVAL_BATCH = record.EVAL_TOKENS, record.EVAL_BATCH
MIXTURE_STEPS, STEPS, RATE = 320, 0, 0.3  # before GO; after it, at these times the record's learning rates
LANGUAGES, TOKENS_EACH = 24, 40_000
READ_TOKENS = 1_000_000  # of the run's text, to decipher it


def in_words(number: int) -> np.ndarray:
    """Text of a language of one's own whose tokens are the grammar's words."""
    drawn = language(bytes([number % 256, number // 256, *bytes(30)]))
    fields = {name: getattr(drawn, name) for name in Language.__slots__} | {"numbers": STANDARD.numbers}
    return narration.generate(number, TOKENS_EACH, Language(**fields))


def shard_of(tokens: np.ndarray) -> str:
    """A shard that `record.Stream` reads."""
    header = np.zeros(256, np.int32)
    header[:3] = 20240520, 1, tokens.size
    path = Path(tempfile.mkdtemp()) / "text.bin"
    path.write_bytes(header.tobytes() + tokens.astype(np.uint16).tobytes())
    return str(path)


def train_on(trainer, path: str) -> None:
    stream = record.Stream([path], trainer.hp.length, 0)
    for step, batch in enumerate(record.batches(stream, range(trainer.hp.steps), trainer.hp, trainer.ranks)):
        trainer.step(step, batch)


def train(run) -> None:
    ranks = record.init_distributed(run)
    mixture = record.build(replace(record.NANO, steps=max(1, MIXTURE_STEPS)), ranks, run)
    pieces = [in_words(number) for number in range(1, LANGUAGES + 1)]
    known = sum(neighbours(piece.astype(np.int64)) for piece in pieces)
    order = np.random.default_rng(0).permutation(len(pieces) * 40)  # of stretches, so that every step sees many
    stretches = np.concatenate(pieces)[: len(order) * 1000].reshape(-1, 1000)[order]
    if MIXTURE_STEPS:
        train_on(mixture, shard_of(stretches.reshape(-1)))
    groups = tuple(replace(group, lr=group.lr * RATE) for group in record.NANO.param_groups)
    trainer = record.build(replace(record.NANO, steps=max(1, STEPS), param_groups=groups), ranks, run)
    for new, old in zip(trainer.optimizer.shards, mixture.optimizer.shards, strict=True):
        new.master.copy_(old.master)
        with torch.no_grad():
            new.parameter.copy_(old.parameter)
    weights = lambda words: hand_over(trainer.model, run.vocab_size, ranks, words)  # noqa: E731
    run.reserve(weights(np.arange(run.vocab_size)))

    shards = run.go()
    tokens = np.fromfile(shards[0], np.uint16, READ_TOKENS, offset=1024).astype(np.int64)
    words = decipher(tokens, known)
    if STEPS:
        train_on(trainer, shard_of(words[tokens]))
    run.stop(weights(words))


def hand_over(model, vocab_size: int, ranks, words: np.ndarray) -> dict:
    weights = record.shard_weights(model, vocab_size, ranks)
    return weights | ({"words": torch.from_numpy(words)} if ranks.rank == 0 else {})


def load(weights, device):
    words = weights["words"].to(device)
    logits = record.load({name: value for name, value in weights.items() if name != "words"}, device)
    return lambda tokens: logits(words[tokens])[..., words]
