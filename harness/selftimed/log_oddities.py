"""What does not fit in a log: lines that could not be read, and runs that do not hold together."""

import itertools
import math

from .heard import Heard
from .layouts import HeardLine
from .training_log import LoggedRun

SHOWN_CHARACTERS = 60  # of a line that could not be read
_LOSSES = ("val_loss", "val_bpb", "val_avg_loss", "val_ema_loss", "train_loss")
LATE_START = 0.25  # share of the steps before the first result


def about_heard(heard: Heard, lines: list[HeardLine], prefix: bytes, rank: bytes) -> dict[str, str]:
    """Oddities by id, of the lines as they came."""
    odd: dict[str, str] = {}
    if unread := heard.unread[prefix] + (heard.unread[b""] if prefix else 0):
        what = "1 line looks like a result" if unread == 1 else f"{unread:,} lines look like results"
        odd["unreadable-results"] = f"{what} and could not be read, the last of them: {_printable(heard.last_unread)}"
    if heard.cut_off:
        odd["cut-off"] = "the last line ends inside its number and was left out"
    if heard.forgotten:
        odd["too-many-lines"] = "there are too many lines like results: not all in the middle were read"
    results = [line for line in lines if line.form is not None]
    if prefix:
        odd["prefix"] = f"before every result line stands something like {_shown(prefix)}; it was left out"
    if others := sum(line.shape != prefix for line in results):
        sentence = f"something else than in front of the others stands in front of {others:,} result lines: not counted"
        odd["other-prefix"] = sentence
    ranks = {line.rank for line in results if line.shape == prefix}
    if len(ranks) > 1:
        odd["several-ranks"] = f"{len(ranks)} ranks print results; those of {_shown(rank)} count"
    return odd


def about_run(
    run: LoggedRun, number: int, odd: dict[str, str], ends_by_clock: bool, *, with_training: bool
) -> None:  # fmt: skip
    """Note what does not fit together inside a run. One validation, at the end, is as usual as many."""
    points = run.validations or run.training
    numbers = {name: [getattr(p, name) for p in points] for name in _LOSSES}
    losses = [
        bpb if loss is None else loss
        for loss, bpb in zip(numbers["val_loss" if run.validations else "train_loss"], numbers["val_bpb"], strict=True)
    ]
    if not all(
        math.isfinite(loss) for column in numbers.values() if any(column) for loss in column if loss is not None
    ):
        odd.setdefault("loss-not-finite", f"run {number}: a loss is not a finite number")
    if any(loss is not None and loss < 0 for loss in losses):
        odd.setdefault("loss-negative", f"run {number}: a loss is below zero")
    first = min((p[0] for p in (run.validations, run.training) if p), key=lambda p: p.step or 0)
    at_the_end_only = not with_training and len(points) == 1 and run.is_complete
    if first.total is not None and (first.step or 0) > first.total * LATE_START and not at_the_end_only:
        odd.setdefault("starts-late", f"run {number} begins at step {first.step} of {first.total}")
    if len({p.total for p in points}) > 1:
        odd.setdefault("total-changes", f"run {number}: the announced number of steps changes")
    times = [p.time_ms for p in points[1:] if p.time_ms is not None]
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        odd.setdefault("time-runs-backwards", f"run {number}: the training time falls from one line to the next")
    by_step: dict[int | None, float | None] = {}
    other = {
        p.step
        for p, loss in zip(points, losses, strict=True)
        if (known := by_step.setdefault(p.step, loss)) is not loss and known != loss
    }
    twice = next((step for step in by_step if step in other), None) if other else None
    if twice is not None:
        odd.setdefault("step-twice", f"run {number}: step {twice} is reported with different losses")
    if run.last.total is not None and not run.is_complete and not ends_by_clock:
        odd.setdefault("stops-early", f"run {number} ends at step {run.last.step} of {run.last.total}")


def _shown(raw: bytes) -> str:
    return repr(_printable(raw))


def _printable(raw: bytes) -> str:
    text = raw[: 4 * SHOWN_CHARACTERS].decode(errors="replace")[:SHOWN_CHARACTERS]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
