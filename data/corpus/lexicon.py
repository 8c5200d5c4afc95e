"""The words of the embedded corpus: which there are, which token each is, and which belong together.

Every `Words` block is a run of consecutive tokens, so "the i-th colour" is `COLOURS.first + i`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOPIC_COUNT = 6
_OWN_TOPIC_WEIGHT = 12


@dataclass(frozen=True, slots=True)
class Words:
    """A run of consecutive tokens: the first token and how many there are."""

    first: int
    count: int


_vocabulary: list[str] = []


def _block(text: str) -> Words:
    words = text.split()
    first = len(_vocabulary)
    _vocabulary.extend(words)
    return Words(first=first, count=len(words))


_block("""
    <doc> . , a the tale of is in lives who that to and now has gives takes from follows goes home says
    thinks asks answers tells where what how colour she he her his all each more counts finds gets
""")
TOPICS = _block("sea farm castle market forest town")
FEMALE_NAMES = _block("""
    ada bella cora dina flora hilda iris kate lucy nora rosa zoe
""")
MALE_NAMES = _block("""
    adam boris carl david felix hugo jack leo oscar peter simon tom
""")
PROFESSIONS = _block("""
    sailor shepherd guard baker hunter teacher diver miller knight merchant woodcutter clerk fisher gardener
    jester tailor ranger painter
""")
TRAITS = _block("kind brave clever lazy proud quiet loud shy")
PLACES = _block("""
    harbour barn tower square glade library lighthouse mill cellar bakery cave hall beach stable chapel shop
    hut garden shack meadow dungeon tavern swamp attic
""")
COLOURS = _block("red blue green yellow white black grey golden")
OBJECTS = _block("""
    net rake crown purse bow book anchor bucket sword scale trap pen boat saddle shield basket knife map oar
    plough goblet carpet torch globe
""")
COUNTABLES = _block("coins pears candles nuts stamps pearls buttons plums")
NUMBERS = _block("one two three four five six seven eight nine ten eleven twelve")
MOVES = _block("walks runs rides hurries strolls wanders")
SINGULARS = _block("""
    gull cow horse dealer fox pupil crab goat page beggar lamb boy whale hen queen thief wolf girl seal pig
    king buyer bear nurse duck dog prince cat owl child
""")
PLURALS = _block("""
    gulls cows horses dealers foxes pupils crabs goats pages beggars lambs boys whales hens queens thieves
    wolves girls seals pigs kings buyers bears nurses ducks dogs princes cats owls children
""")
ADJECTIVES = _block("old young big small tired happy hungry strange")
POSITIONS = _block("near behind beside below before after")
ADVERBS = _block("slowly often softly again today alone together well")
INTRANSITIVES_SINGULAR = _block("""
    sleeps sings dances waits laughs works swims rests hides jumps eats dreams cries listens shouts sneezes
""")
INTRANSITIVES_PLURAL = _block("""
    sleep sing dance wait laugh work swim rest hide jump eat dream cry listen shout sneeze
""")
TRANSITIVES_SINGULAR = _block("""
    sees likes fears chases feeds helps hears knows loves obeys avoids greets misses trusts visits watches
""")
TRANSITIVES_PLURAL = _block("""
    see like fear chase feed help hear know love obey avoid greet miss trust visit watch
""")

WORDS = tuple(_vocabulary)
NAMES = Words(first=FEMALE_NAMES.first, count=FEMALE_NAMES.count + MALE_NAMES.count)
_TOKENS = {word: token for token, word in enumerate(WORDS)}


def token(word: str) -> int:
    """Return the token of a word of the vocabulary; KeyError if it is none."""
    return _TOKENS[word]


def topic_weights(words: Words) -> npt.NDArray[np.int64]:
    """Return how much each topic likes each word: int64 [TOPIC_COUNT, words.count].

    The words of a block are dealt out to the topics in turn.
    """
    weights = np.ones((TOPIC_COUNT, words.count), np.int64)
    index = np.arange(words.count)
    weights[index % TOPIC_COUNT, index] = _OWN_TOPIC_WEIGHT
    return weights


def verb_weights(nouns: Words, verbs: Words) -> npt.NDArray[np.int64]:
    """Return how well each noun goes with each verb: int64 [nouns.count, verbs.count]; four verbs suit each best."""
    distance = (np.arange(verbs.count)[None, :] - 5 * np.arange(nouns.count)[:, None]) % verbs.count
    return np.where(distance < 2, 16, np.where(distance < 4, 6, 1)).astype(np.int64)
