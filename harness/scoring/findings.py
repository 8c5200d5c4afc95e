"""Findings of a run: rules that its score breaks, what was expected and what was found."""

import math

from ..formats import numbers
from ..formats.answers import AskedAgain
from ..formats.run import Finding, Probes, Score, Shadow
from ..formats.track import Evaluation
from . import probes

LEAST_MEAN_NATS = 0.001  # of a window's mean difference, however small the tolerance for one token


def findings(score: Score, evaluation: Evaluation) -> list[Finding]:
    """Every broken rule of one score; all of them make the run invalid."""
    return [
        *_probe_findings(score.probes, evaluation),
        *(_shadow_findings(score.shadow, evaluation.shadow_tolerance_nats) if score.shadow else ()),
        *(
            _first_answer_findings(score.answers.again, score.probes, evaluation, score.windows.tokens)
            if score.answers
            else ()
        ),
    ]


def _probe_findings(found: Probes, evaluation: Evaluation) -> list[Finding]:
    """Hidden state, or else a look ahead: a model whose answers change anyhow says nothing about suffixes.

    Before another suffix a prefix may change twice as much as a window does that is asked again unchanged.
    """
    limit = evaluation.probe_tolerance_nats
    again = [repeats for repeats in (found.order, found.repeat) if repeats is not None]
    worst = max(again, key=lambda repeats: repeats.max_abs_difference, default=None)
    if worst is not None and worst.max_abs_difference > limit:
        return [_hidden_state(worst.max_abs_difference, sum(repeats.pairs for repeats in again), limit)]
    usual = 0.0 if worst is None else worst.max_abs_difference
    limit = min(limit, max(evaluation.repeat_tolerance_nats, 2 * usual)) if again else limit
    if found.max_abs_difference > limit:
        return [
            _causality(
                f"at most {limit:.2g} nats between two evaluations of the same prefix",
                f"{numbers.nats(found.max_abs_difference, 4)} in {found.pairs} probed windows",
            )
        ]
    gain, error = found.gain, found.gain_standard_error
    if gain is not None and error is not None and probes.is_leak(gain, error):
        return [
            _causality(
                "a prefix that is as hard before its real suffix as before another",
                f"easier by {numbers.nats(gain, 4)} (standard error {numbers.short(error, 2)}) "
                f"in {found.pairs} probed windows",
            )
        ]
    return []


def _hidden_state(size: float, pairs: int, limit: float) -> Finding:
    return Finding.error(
        id="hidden_state",
        sentence="the loss of a window depends on what the evaluator was asked besides",
        expected=f"at most {limit:g} nats between two evaluations of the same window",
        found=f"{numbers.nats(size, 4)} in {pairs} windows that were asked twice",
    )


def _causality(expected: str, found: str) -> Finding:
    sentence = "the loss of a token depends on tokens that follow it"
    return Finding.error(id="causality", sentence=sentence, expected=expected, found=found)


def _first_answer_findings(again: AskedAgain, found: Probes, evaluation: Evaluation, tokens: int) -> list[Finding]:
    """Whoever was quick at first and trained afterwards: even the last of 64 steps moves one token by 0.1 nats.

    A model whose answers differ anyhow, as order and repeat pairs show, may differ here twice as much, within the
    track's tolerance for one token; its mean a fifth of that at most, and its gain, which noise has none of, a tenth.
    Means over few tokens scatter: in short windows they may lie six of their own standard deviations away.
    """
    least, most = evaluation.repeat_tolerance_nats, evaluation.probe_tolerance_nats
    noise = [repeats for repeats in (found.order, found.repeat) if repeats is not None]
    one = min(most, max(least, 2 * max((r.max_abs_difference for r in noise), default=0.0)))
    usual = max((r.mean_abs_difference for r in noise), default=0.0)
    scatter = 6 * 1.25 * usual / math.sqrt(tokens)  # of a normal deviate, sd is 1.25 times the mean size
    mean = min(most / 5, max(LEAST_MEAN_NATS, least / 10, 2 * usual, usual + scatter))
    gain = min(most / 5, max(LEAST_MEAN_NATS, mean / 2, scatter))
    if again.max_abs_difference <= one and again.mean_abs_difference <= mean and abs(again.mean_gain) <= gain:
        return []
    return [
        Finding.error(
            id="first_answer_changed",
            sentence="the evaluators' first answers, which are timed, are not what they answer later",
            expected=f"at most {one:.2g} nats for a token, {mean:.2g} in a window's mean, {gain:.2g} with its sign",
            found=f"{numbers.short(again.max_abs_difference, 3)}, {numbers.short(again.mean_abs_difference, 3)} and "
            f"{numbers.short(again.mean_gain, 3)} in {again.pairs} pairs",
        )
    ]


def _shadow_findings(shadow: Shadow, limit: float) -> list[Finding]:
    if shadow.gap <= limit:
        return []
    spread = "" if shadow.standard_error is None else f" (standard error {numbers.short(shadow.standard_error, 2)})"
    return [
        Finding.error(
            id="shadow_gap",
            sentence="the scored text is easier for this model than text of the same kind that nobody could know",
            expected=f"a gap of at most {limit:g} nats per token",
            found=f"{numbers.nats(shadow.gap, 4)}{spread} over {shadow.count:,} unscored tokens",
        )
    ]


def data_altered(shards: list[str]) -> Finding:
    """Training shards that were other bytes after the run than before it."""
    return Finding.error(
        id="data_altered",
        sentence="training data was altered during the run",
        expected="shards that are the same bytes before and after",
        found=f"{len(shards)} altered, such as {shards[0]}",
    )
