"""Windows: what the evaluators are asked, which of them is asked each, and in which batch.

Every question has the same shape, whatever it is for. What is scored, what is shadow text (shadow.py), what is one
half of a probe (probes.py) and what only fills up a batch lie among each other at random: an evaluator that would
behave on one kind only has nothing to tell it by.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .probes import Probe

Tokens = npt.NDArray[np.uint16]
SUFFIX_TRIES = 16  # to find a suffix whose first token is another


@dataclass(frozen=True, slots=True)
class WindowedText:
    """A stream of tokens cut into windows of one length, whose targets lie one token further on."""

    stream: Tokens  # [end + 1] at least
    starts: npt.NDArray[np.int64]  # where each window's inputs begin, [windows]
    end: int  # of the inputs; the last target is stream[end]
    tokens: int  # inputs of a window

    def __len__(self) -> int:
        return len(self.starts)

    def inputs(self, window: int) -> Tokens:
        """uint16 [tokens]; where the stream ends early, filled up from its start (the filling is not scored)."""
        start = int(self.starts[window])
        found = self.stream[start : min(start + self.tokens, self.end)]
        if len(found) == self.tokens:
            return found
        return np.concatenate([found, np.resize(self.stream[: min(self.end, self.tokens)], self.tokens - len(found))])

    def targets(self, window: int) -> Tokens:
        """uint16 [at most tokens]."""
        start = int(self.starts[window])
        return self.stream[start + 1 : min(start + self.tokens, self.end) + 1]


def cut(stream: Tokens, tokens: int) -> WindowedText:
    """All of a stream as windows that do not overlap: every token but the first is a target once."""
    end = len(stream) - 1
    return WindowedText(stream, np.arange(0, end, tokens), end, tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One window to be asked. window: of the text it is for; probe: of which probe it is the copy.

    again: a window that was among the first ones, asked of whoever is not asked to have it scored.
    """

    role: Literal["scored", "shadow", "probe", "again", "filler"]
    window: int
    inputs: Tokens  # [tokens]
    targets: Tokens  # [at most tokens]: of the window itself, also for a copy with another suffix
    probe: Probe | None = None


class Assigner:
    """Assigns the windows of one run to two evaluators."""

    def __init__(
        self,
        text: WindowedText,
        shadow: WindowedText | None,
        probes: Sequence[Probe],
        rng: random.Random,
        again: Sequence[int] = (),
    ) -> None:
        self.text, self.shadow, self.probes, self.random, self.again = text, shadow, probes, rng, again

    def batches(self, size: int) -> tuple[list[list[Question]], list[list[Question]]]:
        """For each evaluator, its batches of exactly `size` questions, in the order in which they are asked."""
        halves: tuple[list[Question], list[Question]] = ([], [])
        owners = self._assign(halves, "scored", self.text)
        if self.shadow is not None:
            self._assign(halves, "shadow", self.shadow)
        for probe in self.probes:
            owner = owners[probe.window]
            halves[owner if probe.kind == "repeat" else 1 - owner].append(self._copy(probe))
        for window in sorted(set(self.again)):
            question = Question("again", window, self.text.inputs(window), self.text.targets(window))
            halves[1 - owners[window]].append(question)
        for half in halves:
            self.random.shuffle(half)
            half += [self._filler() for _ in range(-len(half) % size)]
        first, second = ([half[i : i + size] for i in range(0, len(half), size)] for half in halves)
        return first, second

    def _assign(
        self, halves: tuple[list[Question], list[Question]], role: Literal["scored", "shadow"], text: WindowedText
    ) -> list[int]:
        """Every window of a text to one of two, half to each, drawn at random. Returns who got each."""
        owners = [window % 2 for window in range(len(text))]
        if self.random.randrange(2):
            owners = [1 - owner for owner in owners]
        self.random.shuffle(owners)
        for window, owner in enumerate(owners):
            halves[owner].append(Question(role, window, text.inputs(window), text.targets(window)))
        return owners

    def _copy(self, probe: Probe) -> Question:
        """The other half of a probe: the same window, or one with the same prefix and another suffix."""
        inputs = self.text.inputs(probe.window)
        if probe.kind == "suffix":
            inputs = np.concatenate([inputs[: probe.upto], self._suffix(probe)[probe.upto :]])
        return Question("probe", probe.window, inputs, self.text.targets(probe.window), probe)

    def _suffix(self, probe: Probe) -> Tokens:
        """Inputs to put behind a prefix: another window's, whose first token there is another if one is found."""
        real = self.text.inputs(probe.window)
        for _ in range(SUFFIX_TRIES):
            suffix = self._other_window(probe.window)
            if not np.array_equal(suffix[probe.upto : probe.upto + 1], real[probe.upto : probe.upto + 1]):
                break
        return suffix

    def _other_window(self, window: int) -> Tokens:
        """Inputs of any other window, or, where there is no other, its own, rotated."""
        if len(self.text) == 1:
            return np.roll(self.text.inputs(window), self.random.randrange(self.text.tokens))
        other = self.random.randrange(len(self.text) - 1)
        return self.text.inputs(other + (other >= window))

    def _filler(self) -> Question:
        window = self.random.randrange(len(self.text))
        return Question("filler", window, self.text.inputs(window), self.text.targets(window))
