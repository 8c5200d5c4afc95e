"""What is true in each tale at the moment: who there is, who is where, who has what."""

import numpy as np

from .narrator import Integers, Rows

CAST = 4
THINGS = 5
NOBODY = -1


class Village:
    """The facts of D tales; every array has one row per tale, and entries of people or things not met yet mean nothing.

    People and things are numbered in the order they appear. Words are indices into their block of the lexicon.
    """

    def __init__(self, topics: Integers) -> None:
        """Start D empty tales about `topics`, int64 [D]."""
        tales = topics.size
        self.topic = topics
        self.people = np.zeros(tales, np.int64)
        self.name = np.zeros((tales, CAST), np.int64)
        self.profession = np.zeros((tales, CAST), np.int64)
        self.trait = np.zeros((tales, CAST), np.int64)
        self.home = np.zeros((tales, CAST), np.int64)
        self.place = np.zeros((tales, CAST), np.int64)
        self.things = np.zeros(tales, np.int64)
        self.noun = np.zeros((tales, THINGS), np.int64)
        self.colour = np.zeros((tales, THINGS), np.int64)
        self.owner = np.zeros((tales, THINGS), np.int64)
        self.subject = np.full(tales, NOBODY)
        self.asked = np.full(tales, NOBODY)
        """The open question's kind of fact, else NOBODY."""
        self.asked_by = np.zeros(tales, np.int64)
        self.asked_of = np.zeros(tales, np.int64)
        self.asked_about = np.zeros(tales, np.int64)
        self.counter = np.full(tales, NOBODY)
        """Who counts things."""
        self.counted = np.zeros(tales, np.int64)
        self.number = np.zeros(tales, np.int64)

    def person_weights(self, rows: Rows, *excluded: Integers) -> Integers:
        """Return 1 for each person of the tale who is not excluded, else 0: int64 [len(rows), CAST]."""
        weights = np.arange(CAST) < self.people[rows, None]
        for person in excluded:
            weights &= np.arange(CAST) != person[:, None]
        return weights.astype(np.int64)

    def thing_weights(self, rows: Rows) -> Integers:
        """Return 1 for each thing of the tale, else 0: int64 [len(rows), THINGS]."""
        return (np.arange(THINGS) < self.things[rows, None]).astype(np.int64)


def without_used(weights: Integers, used: Integers, count: Integers) -> Integers:
    """Return `weights`, int64 [n, K], with each row's first `count` entries of `used`, int64 [n, U], set to zero."""
    weights = weights.copy()
    for column in range(used.shape[1]):
        lines = np.flatnonzero(count > column)
        weights[lines, used[lines, column]] = 0
    return weights
