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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import lexicon as lex
from .clauses import Clauses
from .grammar import END, MAX_SENTENCE_TOKENS, MAX_SENTENCES, SENTENCES, next_weights
from .language import STANDARD, Language
from .lexicon import token
from .narrator import Narrator
from .randomness import stream_keys
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


def narrate(seed: int, token_count: int, language: Language = STANDARD, progress: Progress = _unseen) -> GeneratedText:
    """Return what `generate` returns, and what each token cost; `progress` hears (tokens so far, in all)."""
    tokens, nats = [np.empty(0, np.uint16)], [np.empty(0, np.float32)]
    documents = written = 0
    while written < token_count:
        count = min(_BATCH_DOCUMENTS, 1 + (token_count - written) // _SHORT_DOCUMENT)
        batch = _tell(seed, documents, count, language)
        tokens.append(batch.tokens)
        nats.append(batch.nats)
        documents += count
        written += batch.tokens.size
        progress(min(written, token_count), token_count)
    return GeneratedText(tokens=np.concatenate(tokens)[:token_count], nats=np.concatenate(nats)[:token_count])


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


def _tell(seed: int, first: int, count: int, language: Language) -> GeneratedText:
    rows = np.arange(count)
    narrator = Narrator(stream_keys(seed, first, count), _ROOM)
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
    tokens, nats = narrator.pages()
    return GeneratedText(tokens=language.numbers[tokens], nats=nats)
