"""The parts sentences are made of: people by name, by trade or by pronoun, facts, and nested noun phrases."""

import numpy as np

from . import lexicon as lex
from .language import Language
from .lexicon import token
from .narrator import Integers, Narrator, Rows
from .village import Village

LIVES, IS_IN, MANNER, HAS, COLOUR = range(5)
ABOUT_THINGS = 3
"""Kinds of fact from here on are about a thing, those before about a person."""

_FORM_WEIGHTS = np.array([4, 3, 1])
_NUMBER_WEIGHTS = np.array([3, 2])
_MODIFIER_WEIGHTS = np.array([[5, 0, 0, 0, 0], [6, 2, 0, 0, 0], [3, 2, 3, 2, 2]])
_ADJECTIVE_WEIGHTS = np.array([3, 1])
_QUANTIFIER_WEIGHTS = np.array([6, 1])


class Clauses:
    """Says parts of sentences about a village through a narrator, for any set of its tales."""

    def __init__(self, narrator: Narrator, village: Village, language: Language) -> None:
        """Speak a language about `village` through `narrator`; both have one row per tale."""
        self.narrator = narrator
        self.village = village
        self.language = language

    def person(self, rows: Rows, people: Integers) -> None:
        """Mention people by name, by trade and name or, more rarely, by trade."""
        form = self.narrator.draw(rows, _FORM_WEIGHTS)
        for kind, mention in enumerate((self._by_name, self._by_title, self._by_trade)):
            some = form == kind
            mention(rows[some], people[some])

    def subject(self, rows: Rows, people: Integers) -> None:
        """Mention people as subjects: the last sentence's subject by pronoun, and only that one."""
        same = self.village.subject[rows] == people
        self.narrator.say(rows[same], self.gendered(rows[same], people[same], "she", "he"))
        self.person(rows[~same], people[~same])
        self.village.subject[rows] = people

    def gendered(self, rows: Rows, people: Integers, female: str, male: str) -> Integers:
        """Return the token that fits each person's name."""
        is_female = self.village.name[rows, people] < lex.FEMALE_NAMES.count
        return np.where(is_female, token(female), token(male))

    def place(self, rows: Rows, places: Integers) -> None:
        """Name places."""
        self.narrator.say(rows, token("the"), lex.PLACES.first + places)

    def thing(self, rows: Rows, things: Integers, determiner: int | Integers) -> None:
        """Name things by colour and noun."""
        village = self.village
        colours = lex.COLOURS.first + village.colour[rows, things]
        self.narrator.say(rows, determiner, colours, lex.OBJECTS.first + village.noun[rows, things])

    def noun(self, rows: Rows, things: Integers) -> None:
        """Name things by noun alone, which is enough: no tale has two things of one noun."""
        self.narrator.say(rows, token("the"), lex.OBJECTS.first + self.village.noun[rows, things])

    def fact(self, rows: Rows, kinds: Integers, about: Integers, *, main: bool = False) -> None:
        """State facts as they are now: `kinds` int64 [n], `about` a person or a thing each.

        A main clause makes the person its subject; an embedded one leaves the subject as it was.
        """
        mention = self.subject if main else self.person
        for kind, state in enumerate((self._lives, self._is_in, self._manner, self._has, self._colour)):
            some = kinds == kind
            if kind < ABOUT_THINGS:
                mention(rows[some], about[some])
            elif kind == HAS:
                mention(rows[some], self.village.owner[rows[some], about[some]])
            state(rows[some], about[some])

    def question(self, rows: Rows, kinds: Integers, about: Integers) -> None:
        """Ask for facts, `kinds` and `about` as in `fact`, without giving them away."""
        say = self.narrator.say
        openers = np.array([token(word) for word in ("where", "where", "how", "who", "what")])
        say(rows, openers[kinds])
        say(rows[kinds == COLOUR], token("colour"))
        say(rows[kinds == HAS], token("has"))
        people = kinds < ABOUT_THINGS
        self.person(rows[people], about[people])
        self.noun(rows[~people], about[~people])
        closers = np.array([token(word) for word in ("lives", "is", "is", "now", "has")])
        say(rows, closers[kinds])

    def noun_phrase(self, rows: Rows, depth: int) -> tuple[Integers, Integers]:
        """Say noun phrases with up to `depth` levels of nesting; return the nouns and whether they are plural."""
        draw, say = self.narrator.draw, self.narrator.say
        plural = draw(rows, _NUMBER_WEIGHTS)
        quantified = draw(rows, _QUANTIFIER_WEIGHTS)
        self._determiner(rows, plural, quantified)
        described = draw(rows, _ADJECTIVE_WEIGHTS) == 1
        say(rows[described], lex.ADJECTIVES.first + draw(rows[described], np.ones(lex.ADJECTIVES.count, np.int64)))
        nouns = draw(rows, self.language.noun_topics[self.village.topic[rows]])
        shown_plural = (plural == 1) | (quantified == 1)
        say(rows, np.where(shown_plural, lex.PLURALS.first, lex.SINGULARS.first) + nouns)
        modifier = draw(rows, _MODIFIER_WEIGHTS[depth])
        for kind, modify in enumerate((self._position, self._which_acts, self._which_is_seen, self._which_is_met), 1):
            some = modifier == kind
            modify(rows[some], nouns[some], plural[some], depth - 1)
        return nouns, plural

    def intransitive(self, rows: Rows, nouns: Integers, plural: Integers) -> None:
        """Say verbs without object that go with `nouns` and agree with them."""
        verbs = self.narrator.draw(rows, self.language.intransitive[nouns])
        first = np.where(plural == 1, lex.INTRANSITIVES_PLURAL.first, lex.INTRANSITIVES_SINGULAR.first)
        self.narrator.say(rows, first + verbs)

    def transitive(self, rows: Rows, nouns: Integers, plural: Integers) -> None:
        """Say verbs with object that go with `nouns` and agree with them."""
        verbs = self.narrator.draw(rows, self.language.transitive[nouns])
        first = np.where(plural == 1, lex.TRANSITIVES_PLURAL.first, lex.TRANSITIVES_SINGULAR.first)
        self.narrator.say(rows, first + verbs)

    def _by_name(self, rows: Rows, people: Integers) -> None:
        self.narrator.say(rows, lex.NAMES.first + self.village.name[rows, people])

    def _by_trade(self, rows: Rows, people: Integers) -> None:
        trades = lex.PROFESSIONS.first + self.village.profession[rows, people]
        self.narrator.say(rows, token("the"), trades)

    def _by_title(self, rows: Rows, people: Integers) -> None:
        self.narrator.say(rows, lex.PROFESSIONS.first + self.village.profession[rows, people])
        self._by_name(rows, people)

    def _lives(self, rows: Rows, people: Integers) -> None:
        self.narrator.say(rows, token("lives"), token("in"))
        self.place(rows, self.village.home[rows, people])

    def _is_in(self, rows: Rows, people: Integers) -> None:
        self.narrator.say(rows, token("is"), token("in"))
        self.place(rows, self.village.place[rows, people])

    def _manner(self, rows: Rows, people: Integers) -> None:
        self.narrator.say(rows, token("is"), lex.TRAITS.first + self.village.trait[rows, people])

    def _has(self, rows: Rows, things: Integers) -> None:
        self.narrator.say(rows, token("has"))
        self.thing(rows, things, token("the"))

    def _colour(self, rows: Rows, things: Integers) -> None:
        self.noun(rows, things)
        self.narrator.say(rows, token("is"), lex.COLOURS.first + self.village.colour[rows, things])

    def _determiner(self, rows: Rows, plural: Integers, quantified: Integers) -> None:
        """Quantifiers part what is shown from what agrees: "each of the goats" is one goat at a time."""
        quantifier = np.where(plural == 1, token("all"), token("each"))[quantified == 1]
        self.narrator.say(rows[quantified == 1], quantifier, token("of"))
        self.narrator.say(rows, token("the"))

    def _position(self, rows: Rows, _nouns: Integers, _plural: Integers, depth: int) -> None:
        weights = np.ones(lex.POSITIONS.count, np.int64)
        self.narrator.say(rows, lex.POSITIONS.first + self.narrator.draw(rows, weights))
        if rows.size:
            self.noun_phrase(rows, depth)

    def _which_acts(self, rows: Rows, nouns: Integers, plural: Integers, depth: int) -> None:
        self.narrator.say(rows, token("that"))
        self.transitive(rows, nouns, plural)
        if rows.size:
            self.noun_phrase(rows, depth)

    def _which_is_seen(self, rows: Rows, _nouns: Integers, _plural: Integers, depth: int) -> None:
        self.narrator.say(rows, token("that"))
        if rows.size:
            others, others_plural = self.noun_phrase(rows, depth)
            self.transitive(rows, others, others_plural)

    def _which_is_met(self, rows: Rows, _nouns: Integers, _plural: Integers, _depth: int) -> None:
        self.narrator.say(rows, token("that"))
        self.person(rows, self.narrator.draw(rows, self.village.person_weights(rows)))
        weights = np.ones(lex.TRANSITIVES_SINGULAR.count, np.int64)
        self.narrator.say(rows, lex.TRANSITIVES_SINGULAR.first + self.narrator.draw(rows, weights))
