"""A language of the embedded corpus: the same grammar with other words, roles and order, drawn from a secret.

Whoever knows a language before the clock starts can train on text that he writes himself. So every pair of runs
speaks one of its own, drawn from a secret of 32 bytes that has nothing to do with the seed of the run:

    tokens    which number each word has; only the document token stays
    roles     which words each topic likes, which verbs suit each noun: dealt anew
    order     every kind of sentence is told forwards or backwards, by a coin; its final stop stays

What is drawn are permutations of fixed weights, and an order that turns whole sentences, so all languages have the
same entropy by construction. Language 0, of no secret, is the text of the project's own shards. Words as people read
them are those of language 0; only their numbers differ (`narration.decode`).

A language is a cipher on a public grammar, and no wall by itself: whoever trains on a mixture of many languages before
the clock starts deciphers a new one in milliseconds (`python -m benchmarks.decipher`). What it ends is that text or
weights which were brought along are worth anything as they are.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from . import lexicon as lex

SECRET_BYTES = 32
RECIPE = 1
"""Rises with every change that gives another text for the same secret."""

Weights = npt.NDArray[np.int64]
_DOMAIN = b"speedrun embedded corpus, recipe %d: " % RECIPE
_MOST_KINDS = 64  # of sentences


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """What differs between the languages of the corpus."""

    secret: bytes | None = field(repr=False)
    """32 bytes, or None: language 0."""
    numbers: npt.NDArray[np.uint16] = field(repr=False)
    """The token of every word, uint16 [len(lexicon.WORDS)]."""
    noun_topics: Weights = field(repr=False)
    """How much each topic likes each word of a block: int64 [TOPIC_COUNT, words]; so are the next three."""
    place_topics: Weights = field(repr=False)
    trade_topics: Weights = field(repr=False)
    thing_topics: Weights = field(repr=False)
    intransitive: Weights = field(repr=False)
    """How well each noun goes with each verb without object: int64 [nouns, verbs]."""
    transitive: Weights = field(repr=False)
    turned: npt.NDArray[np.bool_] = field(repr=False)
    """Which kinds of sentences are told backwards: bool, by their index in `grammar.SENTENCES`."""

    def seed(self, text: str) -> int:
        """The seed of one of this language's texts, 64 bits: `train 1`, `validation`. ValueError in language 0."""
        if self.secret is None:
            raise ValueError("the texts of language 0 have the seeds of their dataset")
        return int(_drawn(self.secret, f"seed of {text}", 1)[0])

    @property
    def sha256(self) -> str | None:
        """Digest of the secret; None of language 0."""
        return None if self.secret is None else hashlib.sha256(self.secret).hexdigest()


def language(secret: bytes | None) -> Language:
    """The language of a secret of SECRET_BYTES, the same on every machine; None: language 0."""
    nouns = lex.SINGULARS
    blocks = {
        "noun_topics": lex.topic_weights(nouns),
        "place_topics": lex.topic_weights(lex.PLACES),
        "trade_topics": lex.topic_weights(lex.PROFESSIONS),
        "thing_topics": lex.topic_weights(lex.OBJECTS),
    }
    verbs = {
        "intransitive": lex.verb_weights(nouns, lex.INTRANSITIVES_SINGULAR),
        "transitive": lex.verb_weights(nouns, lex.TRANSITIVES_SINGULAR),
    }
    if secret is None:
        numbers = np.arange(len(lex.WORDS), dtype=np.uint16)
        return Language(None, numbers, **blocks, **verbs, turned=np.zeros(_MOST_KINDS, np.bool_))
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"expected a secret of {SECRET_BYTES} bytes, found {len(secret)}")
    dealt = {name: weights[:, _permutation(secret, name, weights.shape[1])] for name, weights in blocks.items()}
    suited = {name: _rows_shuffled(secret, name, weights) for name, weights in verbs.items()}
    turned = _drawn(secret, "order", _MOST_KINDS) >> np.uint64(63) == 1
    return Language(secret, _numbers(secret), **dealt, **suited, turned=turned)


def _numbers(secret: bytes) -> npt.NDArray[np.uint16]:
    """A permutation of all tokens but the document's, which is the first."""
    others = 1 + _permutation(secret, "tokens", len(lex.WORDS) - 1)
    return np.concatenate([[0], others]).astype(np.uint16)


def _rows_shuffled(secret: bytes, what: str, weights: Weights) -> Weights:
    """Every row in an order of its own."""
    order = np.argsort(_drawn(secret, what, weights.size).reshape(weights.shape), axis=1, kind="stable")
    return np.take_along_axis(weights, order, axis=1)


def _permutation(secret: bytes, what: str, count: int) -> npt.NDArray[np.int64]:
    return np.argsort(_drawn(secret, what, count), kind="stable")


def _drawn(secret: bytes, what: str, count: int) -> npt.NDArray[np.uint64]:
    """`count` words of 64 bits for one purpose: SHAKE-256 of domain, secret and purpose."""
    stream = hashlib.shake_256(_DOMAIN + secret + what.encode()).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)


STANDARD = language(None)
"""Language 0."""
