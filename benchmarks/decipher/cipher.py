"""Which word of the public grammar each token of an unknown language is, found from a text in it.

Frequencies give a first guess, and then, in a few rounds, who stands beside whom: the neighbours of every token,
counted by kind of word and without regard for left and right, since sentences may be told backwards. Words of one kind
that differ in nothing but their roles are interchangeable, and so is everything that was learnt about them. Part of a
submission: NumPy and the grammar alone.
"""

import numpy as np
from corpus import lexicon

ROUNDS = 6
KINDS = [
    lexicon.TOPICS, lexicon.FEMALE_NAMES, lexicon.MALE_NAMES, lexicon.PROFESSIONS, lexicon.TRAITS, lexicon.PLACES,
    lexicon.COLOURS, lexicon.OBJECTS, lexicon.COUNTABLES, lexicon.MOVES, lexicon.SINGULARS, lexicon.PLURALS,
    lexicon.ADJECTIVES, lexicon.POSITIONS, lexicon.ADVERBS, lexicon.INTRANSITIVES_SINGULAR,
    lexicon.INTRANSITIVES_PLURAL, lexicon.TRANSITIVES_SINGULAR, lexicon.TRANSITIVES_PLURAL,
]  # fmt: skip
WORDS = len(lexicon.WORDS)


def kinds() -> np.ndarray:
    """The kind of every word, int64 [WORDS]; words without a block, and numbers, are kinds of their own."""
    kind, found = np.full(WORDS, -1), 0
    for found, block in enumerate(KINDS):
        kind[block.first : block.first + block.count] = found
    alone = np.flatnonzero(kind < 0)
    kind[alone] = found + 1 + np.arange(alone.size)
    return kind


def neighbours(tokens: np.ndarray) -> np.ndarray:
    """How often each pair of tokens stands side by side, in either order: float64 [WORDS, WORDS]."""
    pairs = np.bincount(tokens[:-1] * WORDS + tokens[1:], minlength=WORDS**2).reshape(WORDS, WORDS)
    return (pairs + pairs.T).astype(np.float64)


def decipher(tokens: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The word of every token, int64 [WORDS], from a text and from the neighbours of the words in many languages."""
    kind, seen = kinds(), neighbours(tokens)
    sums = np.zeros((kind.max() + 1, WORDS))
    sums[kind, np.arange(WORDS)] = 1
    expected, rate = _profiles(known @ sums.T), known.sum(1) / known.sum()
    found = seen.sum(1) / seen.sum()
    words = np.empty(WORDS, np.int64)
    words[np.argsort(-found)] = np.argsort(-rate)
    for _ in range(ROUNDS):
        profile = _profiles(seen @ sums.T[words])
        rates = (np.sqrt(found)[:, None] - np.sqrt(rate)[None]) ** 2 / (np.sqrt(rate)[None] + 1e-4)
        words = _assign(((profile[:, None] - expected[None]) ** 2).sum(2) + 10 * rates)
    words[0] = 0
    return _with_genders(_with_pairs_exchanged(words, seen, known), tokens)


def _with_pairs_exchanged(words: np.ndarray, seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Two words that always stand together hold each other in place: exchanged where that makes the text likelier."""
    kind = kinds()
    alone = [word for word in range(1, WORDS) if np.count_nonzero(kind == kind[word]) == 1]
    sums = np.eye(kind.max() + 1)[kind]
    likely = np.log(sums.T @ known @ sums + 0.5)
    place = np.arange(kind.max() + 1)
    found = sums[words].T @ seen @ sums[words]
    best, moved = (found * likely).sum(), True
    while moved:
        moved = False
        for first, second in ((a, b) for i, a in enumerate(kind[alone]) for b in kind[alone][:i]):
            place[[first, second]] = place[[second, first]]
            score = (found * likely[np.ix_(place, place)]).sum()
            if score > best + 1e-6:
                best, moved = score, True
            else:
                place[[first, second]] = place[[second, first]]
    word_of_kind = {int(kind[word]): word for word in alone}
    return np.array([word_of_kind[int(place[kind[w]])] if int(kind[w]) in word_of_kind else w for w in words])


def _with_genders(words: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Names look alike: who is "she" with them is told by the pronouns behind them, up to a change of all genders."""
    text = words[tokens]
    named = (text >= lexicon.NAMES.first) & (text < lexicon.NAMES.first + lexicon.NAMES.count)
    last = np.maximum.accumulate(np.where(named, np.arange(text.size), 0))
    pairs = [[lexicon.token(word) for word in pair] for pair in (("she", "he"), ("her", "his"))]
    after = [np.bincount(text[last[text == word]], minlength=WORDS) for pair in pairs for word in pair]
    share = (after[0] + 1) / (after[0] + after[1] + 2)
    names = lexicon.NAMES.first + np.argsort(-share[lexicon.NAMES.first :][: lexicon.NAMES.count], kind="stable")
    place = np.arange(WORDS)
    place[names] = np.arange(lexicon.NAMES.first, lexicon.NAMES.first + lexicon.NAMES.count)
    women = names[: lexicon.FEMALE_NAMES.count]
    if after[2][women].sum() * (after[3].sum() + 1) < after[3][women].sum() * (after[2].sum() + 1):
        place[pairs[1]] = pairs[1][::-1]
    return place[words]


def _profiles(counts: np.ndarray) -> np.ndarray:
    return np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def _assign(cost: np.ndarray) -> np.ndarray:
    """One word for every token, the surest first; token 0 is the document's."""
    cost[0, 1:] = cost[1:, 0] = np.inf
    words, taken = np.full(WORDS, -1), np.zeros(WORDS, bool)
    for place in np.argsort(cost, axis=None):
        token, word = divmod(int(place), WORDS)
        if words[token] < 0 and not taken[word]:
            words[token], taken[word] = word, True
    return words
