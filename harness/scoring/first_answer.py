"""The first answer: what an evaluator does once it has the real weights is timed, and so is no place to train in.

It rehearses `load` and one window on the values its ranks had at reserve(), until it is warm. Then one message brings
the sealed weights and one window, nothing else is in flight, and the judge's clock runs to the complete answer; a few
windows more follow one by one. The slowest of these windows is what counts of this evaluator, so that nothing is
gained by being quick and bad on some of them. All are asked again later, at random places, of both evaluators.

Rehearsals decide nothing but when to begin: values at reserve() can be told from trained ones, so whatever is
subtracted for a slow rehearsal could be had for a sleep. Their windows are tokens drawn evenly, never real text.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..formats.weights import WeightBuffer
from ..system import clock
from ..system.clock import NS
from .examinee import Evaluator, Parcel, RehearsalError
from .probes import Losses
from .windows import Tokens, WindowedText

LEAST_REHEARSALS, MOST_REHEARSALS = 4, 8
HURRIED_REHEARSALS = 2  # enough where they take longer than their share of the exam
REHEARSAL_SHARE = 0.1  # of the exam's budget, for the rehearsals of one evaluator
ALIKE = 0.1  # two in a row that differ by less are warm
FIRST_WINDOWS = 4  # of each evaluator


@dataclass(slots=True)
class Opening:
    """How one evaluator began, as the schema's `EvaluatorAnswers`, and what it said: (window, losses)."""

    rehearsals_ns: list[int] = field(default_factory=list)
    rehearsal_failed: str | None = None
    first_ns: list[int] = field(default_factory=list)
    said: list[tuple[int, Losses]] = field(default_factory=list)

    def times(self) -> dict[str, Any]:
        return {
            "rehearsals_ns": tuple(self.rehearsals_ns),
            "rehearsal_failed": self.rehearsal_failed,
            "first_ns": tuple(self.first_ns),
        }


def draw(text: WindowedText, rng: random.Random) -> tuple[list[int], list[int]]:
    """The first windows of two evaluators, others for each as far as there are enough."""
    count = min(FIRST_WINDOWS, len(text))
    drawn = rng.sample(range(len(text)), min(2 * count, len(text)))
    return drawn[:count], drawn[-count:]


def rehearse(
    evaluator: Evaluator, reserved: Sequence[WeightBuffer], opening: Opening, rng: random.Random, budget_s: float
) -> None:
    """One full batch and several times one window, until warm. The function of the first load is still there."""
    parcel, shape, started_ns = Parcel.of(reserved), evaluator.shape, clock.now_ns()
    noise = np.random.default_rng(rng.getrandbits(64))
    try:
        evaluator.deliver(None, _any_tokens(noise, shape.batch, evaluator), rehearsal=True)
        while not _is_enough(opening.rehearsals_ns, (clock.now_ns() - started_ns) / NS > REHEARSAL_SHARE * budget_s):
            evaluator.drop()
            took_ns, _ = evaluator.deliver(parcel, _any_tokens(noise, 1, evaluator), rehearsal=True)
            opening.rehearsals_ns.append(took_ns)
    except RehearsalError as error:
        opening.rehearsal_failed = str(error)
    finally:
        parcel.close()


def _is_enough(times_ns: list[int], is_late: bool) -> bool:
    """Warm: two in a row took about as long."""
    if len(times_ns) < (HURRIED_REHEARSALS if is_late else LEAST_REHEARSALS):
        return False
    before, last = times_ns[-2:]
    return is_late or len(times_ns) >= MOST_REHEARSALS or abs(last - before) <= ALIKE * max(last, before)


def _any_tokens(noise: np.random.Generator, rows: int, evaluator: Evaluator) -> np.ndarray:
    return noise.integers(0, evaluator.shape.vocab_size, (rows, evaluator.shape.tokens))


def ask(
    evaluator: Evaluator, sealed: Sequence[WeightBuffer], opening: Opening, windows: list[int], text: WindowedText,
    losses_of: Callable[[torch.Tensor, Tokens, int], Losses],
) -> None:  # fmt: skip
    """Deliver the sealed weights with the first window, then the others. losses_of: of logits, targets, a window."""
    evaluator.drop()
    parcel = Parcel.of(sealed)
    try:
        for turn, window in enumerate(windows):
            inputs = text.inputs(window)[None]
            took_ns, logits = evaluator.deliver(None if turn else parcel, inputs)
            opening.first_ns.append(took_ns)
            opening.said.append((window, losses_of(logits, text.targets(window), window)))
    finally:
        parcel.close()
