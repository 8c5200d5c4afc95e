"""Shadow text: asked like the rest but not scored; its gap exposes what was learnt by heart.

The text that is scored is public, so it can be in a submission's source, or be written by the public generator. Shadow
text is of the same kind and unknown before the run is scored: fresh text of the embedded corpus, in the language of
the run, from a seed drawn for this one run, made in the judge's memory and never on a disk; for other datasets windows
at random places of the validation shard behind what is scored, where it holds more. An honest model does as well on
one as on the other. One that knows the scored text does not, and cannot do better on the shadow by any trick but being
a better model.

**The rule.** A finding when `gap`, mean shadow loss minus mean scored loss, is above the track's tolerance: a
number, not a multiple of the measured standard error, because a submission chooses its own spread (one absurd loss
in one shadow window would widen it at will). The tolerance is six standard errors of honest models or more, so that a
false alarm has probability below 1e-9 (means over a hundred windows and more are normal for all that matters;
neighbouring windows of the records correlate by less than 0.06). On `nano-2cpu`, per window of 256 tokens, losses
spread by 0.107 nats (AdamW baseline) and 0.135 (bigram); of 512 tokens, by 0.086 (Muon); so with 65,536 shadow tokens
the gap's standard error is 0.007 to 0.010.

**What escapes.** Knowledge of the scored text that is worth less than the tolerance; `escape_probability` has the
rest. Over the runs of a campaign the mean gap is sharper (`campaign_tolerance`). Of the tracks' datasets tiny
Shakespeare has no shadow: its whole validation split is scored. Where the shard behind the scored tokens is public,
as FineWeb's is, whoever knows all of it by heart shows no gap; nor does who brings a model of the embedded corpus's
grammar, since it holds for the shadow too. A relabelled run shows the first where nobody deciphers it
(harness/scoring/relabelling.py); of the second see data/corpus/language.py.
"""

import math
import secrets
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.corpus import narration
from data.corpus.language import STANDARD, Language

from .windows import Tokens, WindowedText, cut

Source = Literal["fresh", "rest"]
SEED_BITS = 53  # exact in every JSON reader


@dataclass(frozen=True, slots=True)
class ShadowText:
    """The shadow text of one run and how it was drawn."""

    source: Source
    seed: int  # published with the score: whoever has it can make the same text
    text: WindowedText


def draw(source: Source, count: int, tokens: int, rest: Tokens, language: Language = STANDARD) -> ShadowText | None:
    """About `count` tokens of shadow text in windows of `tokens`; None where there are none.

    source: `fresh` text of the embedded corpus in the run's language, or windows of `rest`, the validation shard behind
    the scored tokens.
    """
    if count == 0:
        return None
    seed = secrets.randbits(SEED_BITS)
    text = fresh(seed, count, tokens, language) if source == "fresh" else sample(seed, count, tokens, rest)
    return None if text is None else ShadowText(source, seed, text)


def fresh(seed: int, count: int, tokens: int, language: Language = STANDARD) -> WindowedText:
    """Text of the embedded corpus that nobody has seen, as windows that follow each other."""
    return cut(narration.generate(seed, count + 1, language), tokens)


def sample(seed: int, count: int, tokens: int, rest: Tokens) -> WindowedText | None:
    """Windows that do not overlap, at random places of a stream; None where it holds not one."""
    room = (len(rest) - 1) // tokens
    if room < 1:
        return None
    rng = np.random.default_rng(seed)
    offset = int(rng.integers((len(rest) - 1) - room * tokens + 1))
    chosen = rng.choice(room, size=min(room, max(1, count // tokens)), replace=False)
    rows = np.stack([rest[start : start + tokens + 1] for start in offset + np.sort(chosen) * tokens])
    stream = rows.astype(np.uint16).reshape(-1)
    return WindowedText(stream, np.arange(len(rows)) * (tokens + 1), len(stream) - 1, tokens)


def standard_error(scored: npt.NDArray[np.float64], shadow: npt.NDArray[np.float64]) -> float | None:
    """Of the gap, from the mean losses of the windows on both sides; None where one side has fewer than two."""
    if min(scored.size, shadow.size) < 2:
        return None
    return float(np.sqrt(scored.var(ddof=1) / scored.size + shadow.var(ddof=1) / shadow.size))


def campaign_tolerance(tolerance: float, runs: int, shadow_tokens: int, val_tokens: int) -> float:
    """What the mean gap of several runs may be, as unlikely for honest ones as `tolerance` is for one.

    Each run has shadow text of its own, all have the same scored text: only the first part averages out. Where scored
    texts differ too, as on the embedded corpus, that is wider than it need be.
    """
    one, many = 1 / shadow_tokens + 1 / val_tokens, 1 / (runs * shadow_tokens) + 1 / val_tokens
    return tolerance * math.sqrt(many / one)


def false_alarm_probability(tolerance: float, standard_error: float) -> float:
    """How likely an honest model's gap, of this standard error, is above the tolerance."""
    return 0.5 * math.erfc(tolerance / (standard_error * math.sqrt(2)))


def escape_probability(advantage: float, tolerance: float, standard_error: float) -> float:
    """How likely knowledge worth `advantage` nats per token on the scored text stays within the tolerance."""
    return 0.5 * math.erfc((advantage - tolerance) / (standard_error * math.sqrt(2)))
