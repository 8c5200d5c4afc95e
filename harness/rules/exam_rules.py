"""The rules of a campaign's exams together: what is below the tolerance of one run adds up over several."""

import math
from collections.abc import Iterator
from statistics import fmean

from ..formats import numbers
from ..formats.track import Track
from ..scoring import probes, shadow
from .record_rules import ARMS, Breach, RuleInput


def shadow_gap_over_runs(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Scored text is as hard as shadow text on average over an arm's runs, more sharply than in one of them."""
    for arm in ARMS:
        scores = [run.score for run in given.runs(arm) if run.score is not None]
        found = [score.shadow for score in scores if score.shadow is not None]
        if len(found) < 2:
            continue
        gap, least = fmean(one.gap for one in found), min(one.count for one in found)
        limit = shadow.campaign_tolerance(
            track.evaluation.shadow_tolerance_nats, len(found), least, min(score.count for score in scores)
        )
        if gap > limit:
            yield Breach(
                f"the scored text was easier for the {arm} than text of the same kind that nobody could know",
                f"a mean gap of at most {numbers.nats(limit, 4)} over {len(found)} runs",
                numbers.nats(gap, 4),
            )


def leak_over_runs(given: RuleInput, track: Track) -> Iterator[Breach]:
    """What each run's probes show of later tokens, or of state, is chance, so its mean over an arm's runs is nought."""
    for arm in ARMS:
        found = [run.score.probes for run in given.runs(arm) if run.score is not None]
        for what, pairs in (
            ("before its real suffix", [(one.last_gain, one.last_gain_standard_error) for one in found]),
            ("where more had been asked before", [(one.state_gain, one.state_gain_standard_error) for one in found]),
        ):
            known = [(gain, error) for gain, error in pairs if gain is not None and error is not None]
            if len(known) < 2:
                continue
            gain = fmean(gain for gain, _ in known)
            error = math.sqrt(sum(error**2 for _, error in known)) / len(known)
            if probes.is_leak(gain, error, probes.ARITHMETIC_NATS):
                yield Breach(
                    f"a token was easier for the {arm} {what}",
                    f"a mean within {probes.GAIN_STANDARD_ERRORS:g} standard errors of nought over {len(known)} runs",
                    f"{numbers.nats(gain, 5)} (standard error {numbers.short(error, 2)})",
                )
