"""The sentences of the embedded corpus, and which of them may come next."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import lexicon as lex
from .clauses import ABOUT_THINGS, HAS, LIVES, Clauses
from .lexicon import token
from .narrator import Integers, Rows
from .village import CAST, NOBODY, THINGS, Village, without_used

MAX_SENTENCES = 40
MAX_SENTENCE_TOKENS = 48
_MIN_SENTENCES = 8
_OPENING_PEOPLE = 2

_LARGEST_NUMBER = lex.NUMBERS.count
_EVEN = np.ones(2, np.int64)


def _even(words: lex.Words) -> Integers:
    return np.ones(words.count, np.int64)


def introduce(clauses: Clauses, rows: Rows) -> None:
    """The kind baker Ada lives in the mill."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    person, topic = village.people[rows], village.topic[rows]

    def draw_into(store: Integers, weights: Integers) -> Integers:
        chosen = draw(rows, weights)
        store[rows, person] = chosen
        return chosen

    say(rows, token("the"))
    say(rows, draw_into(village.trait, _even(lex.TRAITS)) + lex.TRAITS.first)
    trades = without_used(clauses.language.trade_topics[topic], village.profession[rows], person)
    say(rows, draw_into(village.profession, trades) + lex.PROFESSIONS.first)
    names = without_used(np.ones((rows.size, lex.NAMES.count), np.int64), village.name[rows], person)
    say(rows, draw_into(village.name, names) + lex.NAMES.first)
    say(rows, token("lives"), token("in"), token("the"))
    home = draw_into(village.home, clauses.language.place_topics[topic])
    say(rows, lex.PLACES.first + home)
    village.place[rows, person] = home
    village.people[rows] += 1
    village.subject[rows] = person


def find(clauses: Clauses, rows: Rows) -> None:
    """Ada finds a red lamp in the mill."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    owner, thing = draw(rows, village.person_weights(rows)), village.things[rows]
    clauses.subject(rows, owner)
    say(rows, token("finds"), token("a"))
    village.owner[rows, thing] = owner
    village.colour[rows, thing] = draw(rows, _even(lex.COLOURS))
    say(rows, lex.COLOURS.first + village.colour[rows, thing])
    nouns = without_used(clauses.language.thing_topics[village.topic[rows]], village.noun[rows], thing)
    village.noun[rows, thing] = draw(rows, nouns)
    say(rows, lex.OBJECTS.first + village.noun[rows, thing], token("in"))
    clauses.place(rows, village.place[rows, owner])
    village.things[rows] += 1


def move(clauses: Clauses, rows: Rows) -> None:
    """Ada walks to the mill."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    person = draw(rows, village.person_weights(rows))
    clauses.subject(rows, person)
    say(rows, lex.MOVES.first + draw(rows, _even(lex.MOVES)), token("to"), token("the"))
    place = draw(rows, clauses.language.place_topics[village.topic[rows]])
    say(rows, lex.PLACES.first + place)
    village.place[rows, person] = place


def follow(clauses: Clauses, rows: Rows) -> None:
    """Ada follows Ben to the barn."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    person = draw(rows, village.person_weights(rows))
    leader = draw(rows, village.person_weights(rows, person))
    clauses.subject(rows, person)
    say(rows, token("follows"))
    clauses.person(rows, leader)
    say(rows, token("to"))
    clauses.place(rows, village.place[rows, leader])
    village.place[rows, person] = village.place[rows, leader]


def go_home(clauses: Clauses, rows: Rows) -> None:
    """Ada goes home to the mill."""
    village = clauses.village
    person = clauses.narrator.draw(rows, village.person_weights(rows))
    clauses.subject(rows, person)
    clauses.narrator.say(rows, token("goes"), token("home"), token("to"))
    clauses.place(rows, village.home[rows, person])
    village.place[rows, person] = village.home[rows, person]


def give(clauses: Clauses, rows: Rows) -> None:
    """Ada gives her red lamp to Ben."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    thing = draw(rows, village.thing_weights(rows))
    giver = village.owner[rows, thing]
    clauses.subject(rows, giver)
    say(rows, token("gives"))
    clauses.thing(rows, thing, clauses.gendered(rows, giver, "her", "his"))
    taker = draw(rows, village.person_weights(rows, giver))
    say(rows, token("to"))
    clauses.person(rows, taker)
    village.owner[rows, thing] = taker


def take(clauses: Clauses, rows: Rows) -> None:
    """Ben takes the red lamp from Ada."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    thing = draw(rows, village.thing_weights(rows))
    giver = village.owner[rows, thing]
    taker = draw(rows, village.person_weights(rows, giver))
    clauses.subject(rows, taker)
    say(rows, token("takes"))
    clauses.thing(rows, thing, token("the"))
    say(rows, token("from"))
    clauses.person(rows, giver)
    village.owner[rows, thing] = taker


def recall(clauses: Clauses, rows: Rows) -> None:
    """Ada lives in the mill."""
    kind, about = _draw_fact(clauses, rows, clauses.village.person_weights(rows))
    clauses.fact(rows, kind, about, main=True)


def claim(clauses: Clauses, rows: Rows) -> None:
    """Ada says that Ben thinks that the lamp is red."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    speaker = draw(rows, village.person_weights(rows))
    clauses.subject(rows, speaker)
    nested = draw(rows, np.array([2, 1])) == 1
    say(rows, token("says"), token("that"))
    inner, thinker = rows[nested], speaker[nested]
    thinker = draw(inner, village.person_weights(inner, thinker))
    clauses.person(inner, thinker)
    say(inner, token("thinks"), token("that"))
    kind, about = _draw_fact(clauses, rows, village.person_weights(rows))
    clauses.fact(rows, kind, about)


def ask(clauses: Clauses, rows: Rows) -> None:
    """Ada asks Ben who has the lamp now."""
    village, draw = clauses.village, clauses.narrator.draw
    asker = draw(rows, village.person_weights(rows))
    clauses.subject(rows, asker)
    clauses.narrator.say(rows, token("asks"))
    asked = draw(rows, village.person_weights(rows, asker))
    clauses.person(rows, asked)
    kind, about = _draw_fact(clauses, rows, village.person_weights(rows, asker, asked))
    clauses.question(rows, kind, about)
    village.asked[rows], village.asked_about[rows] = kind, about
    village.asked_by[rows], village.asked_of[rows] = asker, asked


def answer(clauses: Clauses, rows: Rows) -> None:
    """Ben answers that Cora has the red lamp."""
    village, say = clauses.village, clauses.narrator.say
    clauses.subject(rows, village.asked_of[rows])
    tells = clauses.narrator.draw(rows, _EVEN) == 1
    say(rows[~tells], token("answers"))
    say(rows[tells], token("tells"))
    clauses.person(rows[tells], village.asked_by[rows[tells]])
    say(rows, token("that"))
    clauses.fact(rows, village.asked[rows], village.asked_about[rows])
    village.asked[rows] = NOBODY


def describe(clauses: Clauses, rows: Rows) -> None:
    """Ada, who lives in the mill, sings softly."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    person = draw(rows, village.person_weights(rows))
    clauses.person(rows, person)  # "she, who lives in the mill" would be odd
    village.subject[rows] = person
    say(rows, token(","), token("who"))
    where = draw(rows, _EVEN)
    homes, places = village.home[rows, person], village.place[rows, person]
    say(rows, np.where(where == LIVES, token("lives"), token("is")), token("in"))
    clauses.place(rows, np.where(where == LIVES, homes, places))
    say(rows, token(","))
    nouns = village.profession[rows, person]
    clauses.intransitive(rows, nouns, np.zeros(rows.size, np.int64))
    say(rows, lex.ADVERBS.first + draw(rows, _even(lex.ADVERBS)))


def watch(clauses: Clauses, rows: Rows) -> None:
    """The goats that the fox near the cows chases sleep."""
    nouns, plural = clauses.noun_phrase(rows, 2)
    clauses.intransitive(rows, nouns, plural)
    adverb = rows[clauses.narrator.draw(rows, np.array([2, 1])) == 1]
    clauses.narrator.say(adverb, lex.ADVERBS.first + clauses.narrator.draw(adverb, _even(lex.ADVERBS)))


def start_counting(clauses: Clauses, rows: Rows) -> None:
    """Ada counts three coins."""
    village, draw = clauses.village, clauses.narrator.draw
    person = draw(rows, village.person_weights(rows))
    clauses.subject(rows, person)
    village.counter[rows] = person
    clauses.narrator.say(rows, token("counts"))
    village.number[rows] = 1 + draw(rows, np.array([0, 1, 1, 1, 1, 1]))
    clauses.narrator.say(rows, lex.NUMBERS.first + village.number[rows] - 1)
    village.counted[rows] = draw(rows, _even(lex.COUNTABLES))
    clauses.narrator.say(rows, lex.COUNTABLES.first + village.counted[rows])


def count_on(clauses: Clauses, rows: Rows) -> None:
    """Ada gets two more and now has five coins."""
    village, draw, say = clauses.village, clauses.narrator.draw, clauses.narrator.say
    clauses.subject(rows, village.counter[rows])
    say(rows, token("gets"))
    gift = draw(rows, np.array([1, 1, 1])) + 1
    say(rows, lex.NUMBERS.first + gift - 1, token("more"))
    village.number[rows] += gift
    say(rows, token("and"), token("now"), token("has"))
    _say_count(clauses, rows)


def _say_count(clauses: Clauses, rows: Rows) -> None:
    village = clauses.village
    clauses.narrator.say(rows, lex.NUMBERS.first + village.number[rows] - 1)
    clauses.narrator.say(rows, lex.COUNTABLES.first + village.counted[rows])


def _draw_fact(clauses: Clauses, rows: Rows, people: Integers) -> tuple[Integers, Integers]:
    village, draw = clauses.village, clauses.narrator.draw
    things = village.thing_weights(rows)
    weights = np.ones((rows.size, HAS + 2), np.int64)
    weights[:, ABOUT_THINGS:] = 2 * things[:, :1]
    kind = draw(rows, weights)
    about = np.zeros(rows.size, np.int64)
    person = kind < ABOUT_THINGS
    about[person] = draw(rows[person], people[person])
    about[~person] = draw(rows[~person], things[~person])
    return kind, about


@dataclass(frozen=True, slots=True)
class Sentence:
    """How often a sentence is told, relative to the others, and in which villages it can be (bool per tale)."""

    tell: Callable[[Clauses, Rows], None]
    weight: int
    possible: Callable[[Village, Rows], npt.NDArray[np.bool_]]


def _crowd(village: Village, rows: Rows) -> npt.NDArray[np.bool_]:
    return village.people[rows] > _OPENING_PEOPLE


SENTENCES = (
    Sentence(introduce, 8, lambda village, rows: village.people[rows] < CAST),
    Sentence(find, 8, lambda village, rows: village.things[rows] < THINGS),
    Sentence(move, 6, lambda village, rows: village.people[rows] > 0),
    Sentence(follow, 5, lambda village, rows: village.people[rows] > 1),
    Sentence(go_home, 4, lambda village, rows: village.people[rows] > 0),
    Sentence(give, 7, lambda village, rows: village.things[rows] > 0),
    Sentence(take, 5, lambda village, rows: village.things[rows] > 0),
    Sentence(recall, 10, lambda village, rows: village.people[rows] > 0),
    Sentence(claim, 7, _crowd),
    Sentence(ask, 7, lambda village, rows: _crowd(village, rows) & (village.asked[rows] == NOBODY)),
    Sentence(answer, 16, lambda village, rows: village.asked[rows] != NOBODY),
    Sentence(describe, 4, lambda village, rows: village.people[rows] > 0),
    Sentence(watch, 8, lambda village, rows: village.people[rows] > 0),
    Sentence(start_counting, 3, lambda village, rows: village.counter[rows] == NOBODY),
    Sentence(
        count_on,
        5,
        lambda village, rows: (village.counter[rows] != NOBODY) & (village.number[rows] <= _LARGEST_NUMBER - 3),
    ),
)
END = len(SENTENCES)
_END_WEIGHT = 5


def next_weights(village: Village, rows: Rows, told: int) -> Integers:
    """Return how likely each sentence, or the END, is after `told` sentences: int64 [len(rows), END + 1]."""
    weights = np.zeros((rows.size, END + 1), np.int64)
    if told == MAX_SENTENCES:
        weights[:, END] = 1
        return weights
    for kind, sentence in enumerate(SENTENCES):
        weights[:, kind] = sentence.weight * sentence.possible(village, rows)
    if told < _OPENING_PEOPLE:
        weights[:, 1:] = 0
    if told >= _MIN_SENTENCES:
        weights[:, END] = _END_WEIGHT
    return weights
