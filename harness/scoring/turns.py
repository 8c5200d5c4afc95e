"""Turns: one evaluator of a pair runs at a time, so that neither can tell from its own speed what the other one does.

The other one is stopped, with every process it has, until its turn comes; the one that runs has all the cores. Whose
turn it is is drawn: a fixed order would tell how far the other one is. What remains is the time for which an evaluator
was stopped, since whoever takes longer over its turn makes the next one of the other begin later, and what sysinfo(2)
tells of the machine's memory.
"""

import random
import socket
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

TURN_BATCHES = 4  # at most, before it is drawn again; to switch takes milliseconds

LetRun = Callable[[int], None]
"""Lets the evaluator of this number run, and stops the other; returns when both is done."""


def let_all_run(_: int) -> None:
    """For evaluators that nobody can stop: threads."""


def asking(control: socket.socket, report: Callable[[dict[str, Any]], None]) -> LetRun:
    """Has whoever started the evaluators do it. Raises EOFError, in a turn, when nobody is there any more."""

    def let_run(number: int) -> None:
        report({"kind": "turn", "evaluator": number})
        if not control.recv(1):
            raise EOFError("expected to be told whose turn it is, found that nobody is there")

    return let_run


def draw(batches: Sequence[int], rng: random.Random) -> list[tuple[int, int]]:
    """Evaluators in turn, and how many batches each is asked then. batches: how many there are for each."""
    parts = [
        (number, min(TURN_BATCHES, count - done))
        for number, count in enumerate(batches)
        for done in range(0, count, TURN_BATCHES)
    ]
    rng.shuffle(parts)
    return [(number, sum(count for _, count in part)) for number, part in groupby(parts, key=lambda part: part[0])]
