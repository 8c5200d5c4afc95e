"""Somebody who watches a run."""

from .messages import Log


class Observer:
    """Looks away. The display (harness/referee/display.py) overrides what it wants to show."""

    def phase(self, name: str, budget_s: float) -> None:
        """TEXT, PREPARE, TRAIN or SCORE begins, with its budget; TEXT has none."""

    def written(self, done: int, total: int) -> None:
        """So many tokens of the run's own text are made; nothing is timed yet."""

    def copied(self, done: int, total: int) -> None:
        """So many of the evaluators' files are copied, in the phase COPY; there mostly is none."""

    def log(self, log: Log) -> None:
        """Rank 0 reports progress; untrusted numbers."""

    def scored(self, done: int, total: int) -> None:
        """The judge has read so many batches."""

    def tick(self) -> float:
        """Redraw if it is time; returns the seconds until the next call is wanted."""
        return 3600.0
