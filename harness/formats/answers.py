"""What evaluators took for their answers, as it stands in `run.json`: evidence for what is charged after STOP.

An evaluator rehearses `load` and one window on the values its ranks had at reserve(), then gets the sealed weights
and one window in one message: that is its first answer. A few windows more follow one by one, then the batches.
"""

import statistics
from typing import Annotated, Self

from pydantic import Field

from .section import Nanoseconds, Section

SLOW_MEDIANS = 3  # a later answer that took more medians than this may hold work that was put off
MAX_SLOW = 512  # such answers in run.json


class EvaluatorAnswers(Section):
    """One evaluator; times are the judge's, CLOCK_MONOTONIC_RAW, from before a question is sent to its answer."""

    rehearsals_ns: tuple[Nanoseconds, ...]  # load and one window, on the values of reserve(); never subtracted
    rehearsal_failed: Annotated[str, Field(max_length=2000)] | None = None  # why there are no more of them
    first_ns: Annotated[tuple[Nanoseconds, ...], Field(min_length=1)]  # load and one window; then windows one by one

    @property
    def slowest_ns(self) -> int:
        """What counts of this evaluator: the slowest of its first windows."""
        return max(self.first_ns)


class LaterAnswers(Section):
    """The batches of one evaluator; two are in flight, so each is timed from the answer before it."""

    count: int
    median_ns: Nanoseconds
    slow_ns: tuple[Nanoseconds, ...] = ()  # those above SLOW_MEDIANS medians, the slowest first

    @classmethod
    def of(cls, times_ns: list[int]) -> Self:
        median_ns = int(statistics.median(times_ns)) if times_ns else 0
        slow = sorted((time for time in times_ns if time > SLOW_MEDIANS * median_ns), reverse=True)
        return cls(count=len(times_ns), median_ns=median_ns, slow_ns=tuple(slow[:MAX_SLOW]))

    def excess_ns(self, free_ns: int) -> int:
        """The sum, over all answers, of what is above SLOW_MEDIANS medians and free_ns."""
        allowed_ns = SLOW_MEDIANS * self.median_ns + free_ns
        return sum(max(0, time - allowed_ns) for time in self.slow_ns)


class AskedAgain(Section):
    """First windows, asked again of both evaluators among the batches: nats by which losses differ, per token."""

    pairs: int
    max_abs_difference: float
    mean_abs_difference: float  # of the window where it is largest
    mean_gain: float  # first minus later, of the window where that is farthest from 0


class Answers(Section):
    """pairs: of fresh evaluators, in the order in which they were started; the last pair answered the batches."""

    pairs: Annotated[tuple[tuple[EvaluatorAnswers, EvaluatorAnswers], ...], Field(min_length=1, max_length=3)]
    later: tuple[LaterAnswers, LaterAnswers]
    again: AskedAgain

    @property
    def first_ns(self) -> int:
        """The first answer of the run: of the quickest evaluator of all, its slowest first window.

        Noise hits one evaluator or the other; training has to be done by every one.
        """
        return min(evaluator.slowest_ns for pair in self.pairs for evaluator in pair)

    @property
    def rehearsal_ns(self) -> int | None:
        """The quickest rehearsal; None where none succeeded."""
        times = [time for pair in self.pairs for evaluator in pair for time in evaluator.rehearsals_ns]
        return min(times, default=None)

    @property
    def rehearsal_failed(self) -> str | None:
        """Why a rehearsal failed, if one did."""
        return next((e.rehearsal_failed for pair in self.pairs for e in pair if e.rehearsal_failed), None)
