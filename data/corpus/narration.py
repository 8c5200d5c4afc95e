"""The embedded corpus: village tales from a grammar of our own, the same bits on every machine.

A tale names its topic, introduces people one by one (trade, name, trait, home), and then goes on about them:
they find things, walk, follow each other, go home, give, take, count, claim, ask and answer, between sentences
about goats that the fox near the cows fears. What a sentence may say depends on all that came before: where
somebody is now, who owns the red lamp, how many coins there are by now, what was asked and of whom; a pronoun
means the last sentence's subject; verbs agree with nouns that stand before whole relative clauses. Most of this
lies further back than an n-gram sees, so counting falls behind a model that attends
(`python -m benchmarks.counting` prints by how much).

**Entropy.** Every choice has a probability from integer weights and every choice shows in the text: two
derivations never give the same words. So -log p of a text is the sum over its choices, which the generator keeps
(`narrate`), and their mean per token is the least expected loss any model can have:
the physical limit of this data set. It is reached only by reading whole documents. A window that begins in the
middle of one does not show who lives where, so in windows of 128 or 256 tokens, cut without regard for
documents, the attainable loss is somewhat higher, the more so the shorter the window. A choice is charged to the
token written next after it was drawn, and a document's end to its own first token; sums are exact, the split
between neighbouring tokens is not.

**Determinism.** Integer arithmetic and a counter-based generator (`randomness`) choose the words; floating point
only adds up the entropy. Document n of a seed and a language depends on them and n alone. Any seed gives fresh text
of a language: its training shards, validation and secret shadow text differ in nothing else. Which language is
told is a matter of its secret (`language`); the examples here are of language 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from . import lexicon as lex
from .clauses import Clauses
from .grammar import END, MAX_SENTENCE_TOKENS, MAX_SENTENCES, SENTENCES, next_weights
from .language import STANDARD, Language
from .lexicon import token
from .narrator import Narrator
from .randomness import Words, stream_keys
from .village import Village

VOCAB_SIZE = len(lex.WORDS)
DOCUMENT_TOKEN = token("<doc>")

_BATCH_DOCUMENTS = 4096
_SHORT_DOCUMENT = 160  # tokens; most are longer, so a batch of as many documents as that makes is seldom too small
_TITLE = (DOCUMENT_TOKEN, token("a"), token("tale"), token("of"), token("the"))
_ROOM = len(_TITLE) + 2 + MAX_SENTENCES * MAX_SENTENCE_TOKENS


Progress = Callable[[int, int], None]


def _unseen(_done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedText:
    """Generated tokens, uint16 [N], and what the choices behind each cost in nats, float32 [N]."""

    tokens: npt.NDArray[np.uint16]
    nats: npt.NDArray[np.float32]


def generate(seed: int, token_count: int, language: Language = STANDARD) -> npt.NDArray[np.uint16]:
    """Return the first `token_count` tokens, uint16 [token_count], of the endless text of `seed` (64 bits used)."""
    return narrate(seed, token_count, language).tokens


def narrate(seed: int, token_count: int, language: Language = STANDARD) -> GeneratedText:
    """Return what `generate` returns, and what each token cost."""
    (text,) = narrate_all([(seed, token_count)], language)
    return text


def narrate_all(
    wanted: Sequence[tuple[int, int]], language: Language = STANDARD, progress: Progress = _unseen
) -> list[GeneratedText]:
    """Return what `narrate` returns for each (seed, token_count); `progress` hears (tokens so far, in all).

    A text of any length takes thousands of operations on all documents at once, so several short texts told together
    take little more time than one.
    """
    texts = [_Text(seed, token_count) for seed, token_count in wanted]
    while waiting := [text for text in texts if text.missing]:
        keys, room = [], _BATCH_DOCUMENTS
        for text in waiting:
            count = min(room, 1 + text.missing // _SHORT_DOCUMENT)
            keys.append(stream_keys(text.seed, text.documents, count))
            room -= count
        for text, told in zip(waiting, _tell(keys, language), strict=True):
            text.add(*told)
        progress(sum(min(text.written, text.token_count) for text in texts), sum(text.token_count for text in texts))
    return [text.finished() for text in texts]


@dataclass(slots=True)
class _Text:
    """A text that is being told."""

    seed: int
    token_count: int
    documents: int = 0
    written: int = 0
    tokens: list[npt.NDArray[np.uint16]] = field(default_factory=lambda: [np.empty(0, np.uint16)])
    nats: list[npt.NDArray[np.float32]] = field(default_factory=lambda: [np.empty(0, np.float32)])

    @property
    def missing(self) -> int:
        return max(0, self.token_count - self.written)

    def add(self, documents: int, tokens: npt.NDArray[np.uint16], nats: npt.NDArray[np.float32]) -> None:
        self.documents += documents
        self.written += tokens.size
        self.tokens.append(tokens)
        self.nats.append(nats)

    def finished(self) -> GeneratedText:
        return GeneratedText(
            tokens=np.concatenate(self.tokens)[: self.token_count], nats=np.concatenate(self.nats)[: self.token_count]
        )


def decode(tokens: npt.ArrayLike, language: Language = STANDARD) -> str:
    """Return tokens of a language as English: sentences and names capitalised, one paragraph per document."""
    words = np.argsort(language.numbers)
    paragraphs = [""]
    for number in words[np.asarray(tokens)].tolist():
        if number == DOCUMENT_TOKEN:
            paragraphs.append("")
        else:
            paragraphs[-1] += _spell(number, paragraphs[-1])
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _spell(number: int, before: str) -> str:
    word = lex.WORDS[number]
    if word in ".,":
        return word
    is_name = lex.NAMES.first <= number < lex.NAMES.first + lex.NAMES.count
    capital = is_name or not before or before.endswith(".")
    return (" " if before else "") + (word.capitalize() if capital else word)


def _tell(
    keys: list[Words], language: Language
) -> Iterator[tuple[int, npt.NDArray[np.uint16], npt.NDArray[np.float32]]]:
    """The documents of each array of stream keys: how many, their tokens end to end, and the nats of these."""
    together = np.concatenate(keys)
    rows = np.arange(together.size)
    narrator = Narrator(together, _ROOM)
    narrator.say(rows, *_TITLE)
    topics = narrator.draw(rows, np.ones(lex.TOPICS.count, np.int64))
    narrator.say(rows, lex.TOPICS.first + topics, token("."))
    clauses = Clauses(narrator, Village(topics), language)
    for told in range(MAX_SENTENCES + 1):
        kinds = narrator.draw(rows, next_weights(clauses.village, rows, told))
        for kind, sentence in enumerate(SENTENCES):
            some = rows[kinds == kind]
            if some.size:
                starts = narrator.lengths[some]
                sentence.tell(clauses, some)
                if language.turned[kind]:
                    narrator.turn(some, starts)
        rows = rows[kinds != END]
        narrator.say(rows, token("."))
    first = 0
    for own in keys:
        tokens, nats = narrator.pages(slice(first, first + own.size))
        first += own.size
        yield own.size, language.numbers[tokens], nats
