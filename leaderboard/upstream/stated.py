"""What a README or its statistics state of their own runs: numbers read, with suspicion, from words typed by hand.

Only numbers come out, and only such as a run can have: a loss near the target, a p below 1, a time that is not zero.
What is not plainly there is None; the audit compares the rest with the logs.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from .history import Stated

MAX_TEXT = 200_000  # characters of one document
NEAR_NATS = 0.2  # a loss this near the target is one of its runs'
LEAST_TIME_S, MAX_TIME_S = 20.0, 10**6  # of a run; shorter times are of its parts
LIKE = 2.0  # a time that differs by more from what the logs say is of something else
MAX_RUNS, LEAST_STEPS = 300, 500
ABOUT_LOSS = re.compile(r"loss|\bval|3\.28|2\.92", re.I)
BEFORE = 150  # characters in which a p says what it is about
_NUMBER = r"(\d{1,6}(?:\.\d{1,12})?)"
_SPAN = r"[^\n]{0,60}?"
_P = (
    re.compile(r"\bp\*{0,2}(?:[ -]values?)?\*{0,2} {0,3}[=≈<] {0,3}[*`$]{0,3}(\d(?:\.\d{1,12})?(?:e-?\d{1,3})?)", re.I),
    re.compile(r"\bp\b[^|\n]{0,40}\| {0,8}\*{0,2}(\d(?:\.\d{1,12})?(?:e-?\d{1,3})?)\b", re.I),
)
_RUNS = (
    re.compile(r"\bn {0,2}= {0,2}\*{0,2}(\d{1,4})\b", re.I),
    re.compile(r"\b(?:runs|seeds)\*{0,2}: {0,3}[*`]{0,2}(\d{1,4})\b", re.I),
    re.compile(r"\b(\d{1,4})\*{0,2} (?:[a-z-]{2,20} ){0,2}(?:runs|seeds)\b", re.I),
)
_LOSS = (
    re.compile(r"\bmean[ _](?:val[a-z]*[ _])?loss" + _SPAN + r"(\d\.\d{3,12})\b", re.I),
    re.compile(r"\b(?:mean|average)\b" + _SPAN + r"(\d\.\d{3,12})\b", re.I),
)
_TIME = (
    re.compile(r"\b(?:mean|average)\b" + _SPAN + _NUMBER + r" ?s(?:ec|econds?)?\b", re.I),
    re.compile(r"\b" + _NUMBER + r" ?s(?:ec|econds?)?\b"),
)
_MINUTES = re.compile(r"\b(\d{1,3}\.\d{2,6}) ?min(?:utes?)?\b", re.I)
_STEPS = (
    re.compile(r"(?<![\d.,])(\d{1,3},\d{3}|\d{3,6})[ -](?:total |optimizer |training |trained ){0,2}steps\b", re.I),
)


def read_stated(
    texts: Iterable[str], target: float, *, counts_steps: bool, about_s: float | None = None
) -> Stated | None:
    """The first of each number in these documents, the most telling document first. None where there is none at all.

    about_s: a time that the logs say, where they do; what differs much from it is the time of something else.
    """
    documents = [text[:MAX_TEXT] for text in texts]
    time_s = None if counts_steps else _time(documents, about_s)
    found: dict[str, Any] = {
        "time_s": time_s,
        "steps": _count(_first(documents, _STEPS, lambda n: n >= LEAST_STEPS)),
        "val_loss": _first(documents, _LOSS, lambda loss: is_near(loss, target) and loss != target),
        "runs": _count(_first(documents, _RUNS, lambda n: 0 < n <= MAX_RUNS)),
        "p_value": _first(documents, _P, lambda p: 0 < p < 1, ABOUT_LOSS) or _first(documents, _P, lambda p: 0 < p < 1),
    }
    said = {name: value for name, value in found.items() if value is not None}
    return Stated(**said) if said else None


def _first(
    documents: list[str],
    patterns: tuple[re.Pattern[str], ...],
    good: Callable[[float], bool],
    about: re.Pattern[str] | None = None,
) -> float | None:
    """The first number that is one of its kind; with `about`, of those that such a word stands before."""
    for text in documents:
        for pattern in patterns:
            for match in pattern.finditer(text):
                said = about is None or about.search(text, max(match.start() - BEFORE, 0), match.start())
                if said and good(value := float(match[1].replace(",", ""))):
                    return value
    return None


def _time(documents: list[str], about_s: float | None) -> float | None:
    """In seconds, also where it is said in minutes."""

    def good(seconds: float) -> bool:
        if about_s:
            return about_s / LIKE < seconds < about_s * LIKE
        return LEAST_TIME_S <= seconds < MAX_TIME_S

    found = _first(documents, _TIME, good)
    if found is not None:
        return found
    minutes = _first(documents, (_MINUTES,), lambda minutes: good(minutes * 60))
    return None if minutes is None else round(minutes * 60, 6)


def is_near(loss: float, target: float) -> bool:
    return math.isfinite(loss) and abs(loss - target) < NEAR_NATS


def with_baseline(stated: Stated | None, baseline: Stated | None) -> Stated | None:
    """Both in one: what the baseline's own statistics state goes under its name."""
    if baseline is None:
        return stated
    return (stated or Stated()).model_copy(
        update={
            "baseline_time_s": baseline.time_s, "baseline_val_loss": baseline.val_loss, "baseline_runs": baseline.runs,
        }
    )  # fmt: skip


def _count(number: float | None) -> int | None:
    return None if number is None else int(number)
