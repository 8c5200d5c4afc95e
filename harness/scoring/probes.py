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


@dataclass(frozen=True, slots=True)
class Probe:
    """One window to be asked twice. upto: so many of its first positions must have the same loss."""

    kind: Kind
    window: int
    upto: int


def draw(pairs: int, target_counts: Sequence[int], rng: random.Random) -> list[Probe]:
    """`pairs` suffix probes and a quarter as many of either other kind, as far as there are windows.

    target_counts: how many targets each window has; a cut falls anywhere but behind its last one.
    """
    windows = range(len(target_counts))
    state_pairs = min(-(-pairs // SHARE_OF_STATE_PROBES), len(windows))
    probes = [
        Probe("suffix", window, 1 + rng.randrange(max(1, target_counts[window] - 1)))
        for window in rng.sample(windows, min(pairs, len(windows)))
    ]
    for kind in ("order", "repeat"):
        probes += [Probe(kind, window, target_counts[window]) for window in rng.sample(windows, state_pairs)]
    return probes


def compare(real: dict[int, Losses], copies: Sequence[tuple[Probe, Losses]]) -> dict[str, Any]:
    """What the probes found, as the schema's `Probes`.

    real: losses in nats of each probed window as it was scored; copies: each probe with the losses of its copy.
    """
    found: dict[Kind, list[Losses]] = {"suffix": [], "order": [], "repeat": []}
    for probe, losses in copies:
        found[probe.kind].append(losses[: probe.upto] - real[probe.window][: probe.upto])
    gains = np.array([difference.sum(dtype=np.float64) for difference in found["suffix"]])
    gain, error = mean_and_error(gains)
    order, repeat = _sizes(found["order"]), _sizes(found["repeat"])
    return {**_sizes(found["suffix"]), "gain": gain, "gain_standard_error": error, "order": order, "repeat": repeat}


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


def is_leak(gain: float, standard_error: float | None) -> bool:
    """Whether real suffixes help by more than chance and arithmetic explain. gain: nats summed over a prefix."""
    return standard_error is not None and gain > max(GAIN_NATS, GAIN_STANDARD_ERRORS * standard_error)


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
