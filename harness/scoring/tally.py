"""The tally: what the evaluators have answered so far, and the score that it comes to."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..formats.answers import LaterAnswers
from . import probes
from .probes import Answered, Losses, Probe
from .shadow import ShadowText, standard_error
from .windows import Question, WindowedText

if TYPE_CHECKING:  # it imports torch, and `verify` reads this module
    from .first_answer import Opening

MAX_SUMS = 512  # of losses in run.json: a record of dozens of runs must stay small


class Sums:
    """Losses of one text's windows, summed: nats in fp64, and targets counted, [windows] each."""

    def __init__(self, text: WindowedText) -> None:
        self.tokens = text.tokens
        self.loss_sums = np.zeros(len(text))
        self.counts = np.zeros(len(text), np.int64)

    def add(self, window: int, losses: Losses) -> None:
        self.loss_sums[window] += losses.sum(dtype=np.float64)
        self.counts[window] += len(losses)

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def loss_sum(self) -> float:
        return math.fsum(self.loss_sums)

    @property
    def mean(self) -> float:
        """Nats per token."""
        return self.loss_sum / self.count

    def means(self) -> npt.NDArray[np.float64]:
        """Nats per token of every window."""
        return self.loss_sums / self.counts

    def summary(self) -> dict[str, Any]:
        """The sums of neighbouring windows together, at most MAX_SUMS of them."""
        per_sum = -(-len(self.counts) // MAX_SUMS)
        starts = np.arange(0, len(self.counts), per_sum)
        return {
            "tokens": self.tokens,
            "windows_per_sum": per_sum,
            "loss_sums": np.add.reduceat(self.loss_sums, starts).tolist(),
            "counts": np.add.reduceat(self.counts, starts).tolist(),
        }


class Tally:
    """Of one run."""

    def __init__(
        self,
        text: WindowedText,
        shadow: ShadowText | None,
        drawn: Sequence[Probe],
        again: Sequence[int],
        leak_standard_errors: float,
    ) -> None:
        """again: the first windows, which both evaluators are asked once more."""
        self._leak_standard_errors = leak_standard_errors
        self.scored = Sums(text)
        self._shadow, self._unscored = shadow, None if shadow is None else Sums(shadow.text)
        self._kept: dict[int, Answered | None] = dict.fromkeys([*(probe.window for probe in drawn), *again])
        self._copies: list[tuple[Probe, Answered]] = []
        self._again: list[tuple[int, Losses]] = []

    def enter(self, question: Question, losses: Losses, asked: int) -> None:
        """One answer: the loss of every target in nats, fp32 [targets]; asked: batches the evaluator had before."""
        if question.role == "scored":
            self.scored.add(question.window, losses)
            if question.window in self._kept:
                self._kept[question.window] = Answered(losses, asked)
        elif question.role == "shadow" and self._unscored is not None:
            self._unscored.add(question.window, losses)
        elif question.probe is not None:
            self._copies.append((question.probe, Answered(losses, asked)))
        elif question.role == "again":
            self._again.append((question.window, losses))

    def score(
        self, openings: "Sequence[tuple[Opening, Opening]]" = (), later_ns: Sequence[list[int]] = ()
    ) -> dict[str, Any]:
        """As the schema's `Score`, when every question has its answer. later_ns: what each evaluator's batches took."""
        real = {window: answered for window, answered in self._kept.items() if answered is not None}
        found = probes.compare(real, self._copies)
        return {
            "val_loss": round(self.scored.mean, 7),
            "leak_nats": probes.leak_nats(found, self._leak_standard_errors),
            "loss_sum": self.scored.loss_sum,
            "count": self.scored.count,
            "windows": self.scored.summary(),
            "probes": found,
            "shadow": self._shadow_score(),
            "answers": self._answers(real, openings, later_ns),
        }

    def _answers(
        self, real: dict[int, Answered], openings: "Sequence[tuple[Opening, Opening]]", later_ns: Sequence[list[int]]
    ) -> dict[str, Any] | None:
        """As the schema's `Answers`; None where no first answer was timed."""
        first = [answer for pair in openings for opening in pair for answer in opening.said]
        if not first:
            return None
        return {
            "pairs": tuple(tuple(opening.times() for opening in pair) for pair in openings),
            "later": tuple(LaterAnswers.of(times).model_dump() for times in later_ns),
            "again": probes.compare_again(
                first, [*((window, was.losses) for window, was in real.items()), *self._again]
            ),
        }

    def _shadow_score(self) -> dict[str, Any] | None:
        if self._shadow is None or self._unscored is None:
            return None
        return {
            "source": self._shadow.source,
            "seed": self._shadow.seed,
            "count": self._unscored.count,
            "val_loss": round(self._unscored.mean, 7),
            "gap": round(self._unscored.mean - self.scored.mean, 7),
            "standard_error": standard_error(self.scored.means(), self._unscored.means()),
        }
