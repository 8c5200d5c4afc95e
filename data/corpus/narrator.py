"""Many documents written at once: every operation acts on a set of rows, one row per document."""

import numpy as np
import numpy.typing as npt

from .randomness import Words, below

Rows = npt.NDArray[np.intp]
Integers = npt.NDArray[np.int64]


class Narrator:
    """Draws choices and writes tokens, and keeps the bill: what each choice cost in nats.

    The cost of a choice is charged to the next token its document receives, so `nats` sums to -log p of the text
    as long as every choice shows in the text.
    """

    def __init__(self, keys: Words, room: int) -> None:
        """Start one empty document per stream key, uint64 [D], of at most `room` tokens each."""
        self._keys = keys
        self._counters = np.zeros(keys.size, np.uint64)
        self._tokens = np.zeros((keys.size, room), np.uint16)
        self._nats = np.zeros((keys.size, room), np.float32)
        self._due = np.zeros(keys.size, np.float64)
        self.lengths = np.zeros(keys.size, np.intp)

    def draw(self, rows: Rows, weights: Integers) -> Integers:
        """Choose per row an index with probability proportional to `weights`, int64 [K] or [len(rows), K]."""
        if not rows.size:
            return np.empty(0, np.int64)
        totals = np.cumsum(weights, axis=-1)
        counters = self._counters[rows]
        points = below(self._keys[rows], counters, totals[..., -1])
        self._counters[rows] = counters + np.uint64(1)
        chosen: Integers
        if weights.ndim == 1:
            chosen = np.searchsorted(totals, points, side="right")
            weight = weights[chosen]
        else:
            chosen = (totals <= points[:, None]).sum(axis=1)
            weight = weights[np.arange(rows.size), chosen]
        self._due[rows] += np.log(totals[..., -1] / weight)
        return chosen

    def say(self, rows: Rows, *tokens: int | Integers) -> None:
        """Append tokens to the rows' documents; each is one token for all or int64 [len(rows)]."""
        if not rows.size:
            return
        at = self.lengths[rows]
        self._nats[rows, at] = self._due[rows]  # the tokens behind the first cost nothing, as the page begins
        self._due[rows] = 0.0
        for token in tokens:
            self._tokens[rows, at] = token
            at = at + 1
        self.lengths[rows] = at

    def turn(self, rows: Rows, starts: Integers) -> None:
        """Tell backwards what the rows' documents hold from their `starts`, intp [len(rows)], on; costs go along."""
        ends = self.lengths[rows]
        offsets = np.arange((ends - starts).max(initial=0))
        inside = offsets < (ends - starts)[:, None]
        lines = np.broadcast_to(rows[:, None], inside.shape)[inside]
        forwards = (starts[:, None] + offsets)[inside]
        backwards = (ends[:, None] - 1 - offsets)[inside]
        self._tokens[lines, forwards] = self._tokens[lines, backwards]
        self._nats[lines, forwards] = self._nats[lines, backwards]

    def pages(self, rows: slice) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32]]:
        """Return the documents of these rows in order, end to end: tokens uint16 [N] and nats float32 [N].

        What is still due is the choice to end there, which shows in the start of the document that follows; each
        document pays for its own end on its first token.
        """
        nats = self._nats[rows]
        nats[:, 0] += self._due[rows]
        written = np.arange(nats.shape[1]) < self.lengths[rows, None]
        return self._tokens[rows][written], nats[written]
