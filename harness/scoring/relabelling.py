"""A relabelling: a secret permutation of the vocabulary that a whole run goes through.

The data is the same text in other words, so an honest learner does as well as ever, and weights, tables and texts about
token numbers mean something else than they did. Training shards, warm-up shards, the document token and the validation
stream go through one permutation; nothing in the sandbox says that there is one, and the key dies with the referee.
What stays of it is its digest.

**What it is worth.** It shows what was brought along carelessly, and nothing more. A permutation is a cipher that keeps
all frequencies: with 65 or 325 words it falls in milliseconds after GO, by text that is known or by who stands beside
whom (`tests/cheats/outside/deciphered_labels.py` does it in forty lines), and then all that was brought along is worth
what it was. With 50,000 words the frequent ones fall as fast. So a relabelled run that misses the target says that
something was brought along; one that reaches it says little. The embedded corpus has no need of it: there every run
speaks a language of its own (data/corpus/language.py), whose limits stand there.
A submission that honestly uses the numbers of a public tokenizer fails here too: a track may waive it, in writing.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.shards import HEADER_BYTES, read_header

Tokens = npt.NDArray[np.uint16]
KEY_BYTES = 32
CHUNK_BYTES = 2**22
_ALL_TOKENS = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Relabelling:
    """table: the new number of every token, uint16 [65536]; those beyond the vocabulary stay what they are."""

    vocab_size: int
    key: bytes = field(repr=False)  # 32 bytes
    table: Tokens = field(repr=False)

    @property
    def sha256(self) -> str:
        """Digest of the permutation, [vocab_size] little-endian uint16."""
        return hashlib.sha256(self.table[: self.vocab_size].astype("<u2").tobytes()).hexdigest()

    def token(self, token: int | None) -> int | None:
        """The new number of one token; None stays None."""
        return None if token is None else int(self.table[token])

    def tokens(self, tokens: Tokens) -> Tokens:
        """The new numbers of many, in a new array of the same shape."""
        return self.table[tokens]

    def copy_shard(self, source: Path, target: Path) -> None:
        """Write a shard's copy under the relabelling: the same header, other tokens; a chunk in memory at a time.

        Raises DataError for what is no shard.
        """
        read_header(source)
        with source.open("rb") as file, target.open("wb") as copy:
            copy.write(file.read(HEADER_BYTES))
            while chunk := file.read(CHUNK_BYTES):
                copy.write(self.tokens(np.frombuffer(chunk, "<u2")).astype("<u2", copy=False).tobytes())


def draw(vocab_size: int, key: bytes | None = None) -> Relabelling:
    """A permutation out of all, from 32 bytes of entropy unless a key is given: the order of SHAKE-256 words."""
    key = os.urandom(KEY_BYTES) if key is None else key
    words = np.frombuffer(hashlib.shake_256(key).digest(8 * vocab_size), "<u8")
    table = np.arange(_ALL_TOKENS, dtype=np.uint16)
    table[:vocab_size] = np.argsort(words, kind="stable")
    return Relabelling(vocab_size, key, table)
