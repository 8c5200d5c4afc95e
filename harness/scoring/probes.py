"""Probes: one window asked twice, where an honest model must answer the same both times.

    suffix   the same prefix before another suffix, asked of the other evaluator: what comes later must not show
    order    the same window among other windows, asked of the other evaluator: what was asked before must not show
    repeat   the same window a second time, asked of the same evaluator

A suffix probe exposes a model that looks ahead. Order and repeat probes expose state that lives from one window to
the next: training at evaluation time, caches of what was seen, a model whose answer depends on its neighbours in
the batch. An evaluator can replay what it said, so repeats alone could be fooled; but the other half of an order
probe is with a process that was asked other things, and the two share no channel.

Another kind of pair stands apart: the windows of the first answers (first_answer.py), asked again of both.

Which windows are probed, where the cut lies and who is asked is drawn by the judge for every run. A model that
cheats on a share f of its windows escapes k probes with probability (1 - f)^k (`escape_probability`): 32 pairs miss
a leak in every tenth window in 3 % of runs, and a campaign of ten runs misses it once in 10^14. A model that looks
one token ahead shows at one position only, the last before the cut: there f is the share of positions. What stays
below the track's tolerance for one token is not told from arithmetic that depends on the batch, except when it adds
up: the gain of the real suffix over the altered one, summed over the prefix, is a mean with a standard error.

**What cannot be told from noise is charged** (`leak_nats`), so that noise which a submission adds to hide a leak costs
more than the leak brings. What a model sees ahead shows at the last position before the cut, however far it looks; how
much easier that position is before the real suffix is estimated from all suffix pairs, and the upper bound of the
estimate is added to the loss that is tested. Likewise for state: a model that learns while it is asked is better where
it was asked later, so order and repeat pairs are compared in the order of their asking. A model that answers alike
both times, as every one does whose arithmetic does not depend on the batch, pays nothing (`python -m
benchmarks.leak_exchange`). What stays is a large leak at very few positions: it is met or not.
Limit: two evaluators on one machine can feel each other's load; no probe sees a message sent so.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float32]
Kind = Literal["suffix", "order", "repeat"]

SHARE_OF_STATE_PROBES = 4  # for so many suffix pairs one order pair and one repeat
GAIN_STANDARD_ERRORS = 6.0  # of the mean gain: below 1e-6 by chance in 32 pairs (t with 31 degrees of freedom)
GAIN_NATS = 0.001  # summed over a prefix; less is arithmetic
ARITHMETIC_NATS = 1e-5  # of an upper bound: less costs nothing
STATE_SHARE = (
    2.0  # two places of an exam lie a third of it apart, where a learner is better by half on average, or more
)


@dataclass(frozen=True, slots=True)
class Probe:
    """One window to be asked twice. upto: so many of its first positions must have the same loss."""

    kind: Kind
    window: int
    upto: int


def draw(pairs: int, target_counts: Sequence[int], rng: random.Random) -> list[Probe]:
    """`pairs` suffix probes and a quarter as many of either other kind, as far as there are windows.

    target_counts: how many targets each window has; a cut falls anywhere but behind its last one. Where there are
    more pairs than windows, these are drawn again, with other cuts.
    """
    windows = range(len(target_counts))
    rounds, rest = divmod(pairs, max(1, len(windows)))
    drawn = [window for _ in range(rounds) for window in windows] + rng.sample(windows, rest)
    probes = [Probe("suffix", window, 1 + rng.randrange(max(1, target_counts[window] - 1))) for window in drawn]
    state_pairs = min(-(-pairs // SHARE_OF_STATE_PROBES), len(windows))
    for kind in ("order", "repeat"):
        probes += [Probe(kind, window, target_counts[window]) for window in rng.sample(windows, state_pairs)]
    return probes


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer to a window. losses: nats, fp32 [targets]; asked: so many batches before it, of the same evaluator."""

    losses: Losses
    asked: int


def compare(real: dict[int, Answered], copies: Sequence[tuple[Probe, Answered]]) -> dict[str, Any]:
    """What the probes found, as the schema's `Probes`.

    real: each probed window as it was scored; copies: each probe with the answer to its copy.
    """
    found: dict[Kind, list[Losses]] = {"suffix": [], "order": [], "repeat": []}
    learnt = []  # nats per token by which a window was easier where more had been asked before
    for probe, copy in copies:
        was = real[probe.window]
        difference = copy.losses[: probe.upto] - was.losses[: probe.upto]
        found[probe.kind].append(difference)
        if probe.kind != "suffix":
            learnt.append(float(difference.mean(dtype=np.float64)) * np.sign(was.asked - copy.asked))
    gain, error = mean_and_error(np.array([part.sum(dtype=np.float64) for part in found["suffix"]]))
    last, last_error = mean_and_error(np.array([part[-1] for part in found["suffix"]], np.float64))
    state, state_error = mean_and_error(np.array(learnt, np.float64))
    return {
        **_sizes(found["suffix"]),
        "gain": gain,
        "gain_standard_error": error,
        "last_gain": last,
        "last_gain_standard_error": last_error,
        "state_gain": state,
        "state_gain_standard_error": state_error,
        "order": _sizes(found["order"]),
        "repeat": _sizes(found["repeat"]),
    }


def leak_nats(found: dict[str, Any], standard_errors: float) -> float:
    """What is added to the tested loss, nats per token, rounded to 7 digits: the upper bounds of what `compare` found.

    standard_errors: so many above an estimate lies its bound, as the track says; 0: nothing is charged.
    """
    if not standard_errors or found["last_gain"] is None or found["state_gain"] is None:
        return 0.0
    gains = ((found[name], found[f"{name}_standard_error"] or 0.0) for name in ("last_gain", "state_gain"))
    bounds = (gain + standard_errors * error for gain, error in gains)
    ahead, learnt = (bound if bound > ARITHMETIC_NATS else 0.0 for bound in bounds)
    return round(ahead + STATE_SHARE * learnt, 7)


def compare_again(first: Sequence[tuple[int, Losses]], later: Sequence[tuple[int, Losses]]) -> dict[str, Any]:
    """First answers beside later ones to the same windows, as the schema's `AskedAgain`. Both: (window, losses).

    Means are those of the worst pair: whoever was quick and bad once is not to be averaged away.
    """
    differences = [was - now for window, was in first for other, now in later if other == window]
    means = [float(found.mean(dtype=np.float64)) for found in differences]
    return {
        "pairs": len(differences),
        "max_abs_difference": max((float(np.abs(found).max()) for found in differences), default=0.0),
        "mean_abs_difference": max((float(np.abs(found).mean()) for found in differences), default=0.0),
        "mean_gain": max(means, key=abs, default=0.0),
    }


def is_leak(gain: float, standard_error: float | None, least: float = GAIN_NATS) -> bool:
    """Whether real suffixes help by more than chance and arithmetic explain. gain: nats, `least` of them nothing."""
    return standard_error is not None and gain > max(least, GAIN_STANDARD_ERRORS * standard_error)


def mean_and_error(values: npt.NDArray[np.float64]) -> tuple[float, float | None]:
    """The mean (0 of nothing) and its standard error (None for fewer than two values)."""
    if values.size < 2:
        return float(values.sum()), None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def escape_probability(share: float, pairs: int, windows: int | None = None) -> float:
    """How likely a model that cheats on a share of its windows meets none of `pairs` probed ones.

    windows: how many there are in all; None: so many that drawing without replacement makes no difference. For a
    model that looks h tokens ahead, share is that of positions whose next h tokens it looks at.
    """
    if windows is None:
        return float((1 - share) ** pairs)
    honest, probability = windows - round(share * windows), 1.0
    for drawn in range(min(pairs, windows)):
        probability *= max(0, honest - drawn) / (windows - drawn)
    return probability


def _sizes(differences: list[Losses]) -> dict[str, float | int]:
    sizes = np.abs(np.concatenate(differences)) if differences else np.zeros(1, np.float32)
    return {
        "pairs": len(differences),
        "max_abs_difference": float(sizes.max()),
        "mean_abs_difference": float(sizes.mean()),
    }
