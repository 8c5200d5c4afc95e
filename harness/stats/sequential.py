"""Looking while running: intervals and p-values that stay valid after every run.

A fixed-n test is a promise about one look. Look after every run, stop when p < 0.01 appears, and the promise of 1 %
is worth 3.8 % (looks from 3 to 10 runs) or 6.2 % (3 to 30); with patience it reaches 100 %, because a random walk
crosses every such line some day. Here is the test for those who want to look anyway, and its price.

The idea is a bet. Start with 1 unit against "the mean is the target" and after every run multiply it by how much
better an alternative explains the run than the target does. If the target is the truth the bet is fair: its
expectation stays 1 for ever, and the chance that it *ever* reaches 1 / alpha is at most alpha (Ville, 1939). So one may
look after every run, stop for any reason, and go on later: 1 / (the largest the bet ever was) is a p-value throughout.

The alternative is a spread of effects (Gaussian, variance `spread` in units of sd, around none), and sd itself is
averaged out, so that the bet depends on the t statistic alone. After n runs with r = t^2 / (n - 1) it stands at

    e = (1 + spread n)^(-1/2) * ((1 + r) / (1 + r / (1 + spread n)))^(n / 2)

Lai (1976, "On confidence sequences"); Wang and Ramdas (2024, "Anytime-valid t-tests and confidence sequences for
Gaussian means with unknown variance"). All targets that are not yet refuted at level alpha are an interval, and all
these intervals together cover the truth with probability 1 - alpha: a confidence sequence.

One direction counts: the bet is on "smaller" only while the mean is on that side. The chance of a false claim is then
at most alpha wherever the truth lies on the wrong side, since moving every run up by a constant can only take
crossings away. It is really less than half of that, because the bet also covers the side that does not count
(benchmarks/acceptance.py: 0.4 % after 100 looks at alpha 1 %).

The price at alpha 0.01: no t is enough before the 6th run (there it is 18.1), after 10 runs t must be 5.3 instead of
2.8, after 30 runs 4.0 instead of 2.5. Who can fix n in advance should (harness/stats/power.py).

Order matters here: values come in the order in which the runs were started, all of them.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .significance import DegenerateSample, Interval, faster_test, mean_interval, paired_t_test, ratio_interval, t_test

SPREAD = 1.0  # expected effects of about one sd: 0.0013 nats, or 0.16 % of a paired time


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeTest:
    """Where the bet stands after n values. A claim that passed once has passed, whatever comes later."""

    p_value: float  # 1 / the largest bet so far; at most 1, never 0
    n: int
    mean: float
    sd: float | None

    def passes(self, alpha: float) -> bool:
        """Whether p < alpha, at any of the looks so far."""
        return self.p_value < alpha


def anytime_test(losses: Iterable[float], target: float, spread: float = SPREAD) -> AnytimeTest:
    """Is the mean loss below the target, asked after every run? Raises DegenerateSample where t_test does."""
    sample = tuple(losses)
    whole = t_test(sample, target)
    p_value = _best_p_value(sample, [target] * len(sample), spread)
    return AnytimeTest(p_value=p_value, n=whole.n, mean=whole.mean, sd=whole.sd)


def anytime_faster_test(times: Iterable[float], baseline: Iterable[float], spread: float = SPREAD) -> AnytimeTest:
    """Is the candidate faster, asked after every pair? On log times as faster_test, and refuses what that refuses."""
    a, b = tuple(times), tuple(baseline)
    whole = faster_test(a, b)
    p_value = _best_p_value([math.log(x) for x in a], [math.log(x) for x in b], spread)
    return AnytimeTest(p_value=p_value, n=whole.n, mean=whole.mean, sd=whole.sd)


def anytime_interval(values: Iterable[float], confidence: float = 0.95, spread: float = SPREAD) -> Interval:
    """The mean's interval in a confidence sequence; infinite while there are too few values to exclude anything."""
    sample = tuple(values)
    estimate = mean_interval(sample, confidence).estimate  # refuses what cannot be tested
    sd = paired_t_test(sample, [0.0] * len(sample)).sd or 0.0
    half = critical_t(len(sample), 1 - confidence, spread) * sd / math.sqrt(len(sample))
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, confidence=confidence)


def anytime_ratio_interval(
    times: Iterable[float], baseline: Iterable[float], confidence: float = 0.95, spread: float = SPREAD
) -> Interval:
    """The same for time / baseline from pairs of runs; 0 to infinity while nothing can be excluded."""
    a, b = tuple(times), tuple(baseline)
    estimate = ratio_interval(a, b, confidence).estimate  # refuses what cannot be tested
    log = anytime_interval([math.log(x / y) for x, y in zip(a, b, strict=True)], confidence, spread)
    low, high = math.exp(log.low), math.exp(log.high) if log.high < 700 else math.inf
    return Interval(estimate=estimate, low=low, high=high, confidence=confidence)


def log_bet(n: int, t: float, spread: float = SPREAD) -> float:
    """ln of the bet after n >= 2 values with this t statistic; on both sides of the target."""
    grown, r = 1 + _checked(spread) * n, t * t / (n - 1)
    return -math.log(grown) / 2 + n / 2 * (math.log1p(r) - math.log1p(r / grown))


def critical_t(n: int, alpha: float, spread: float = SPREAD) -> float:
    """The |t| at which the bet reaches 1 / alpha after n values; infinite while no t would do."""
    if n < 2:
        return math.inf
    grown = 1 + _checked(spread) * n
    log_needed = (math.log(grown) / 2 - math.log(alpha)) * 2 / n
    if log_needed >= math.log(grown):
        return math.inf
    needed = math.exp(log_needed)
    return math.sqrt((n - 1) * (needed - 1) / (1 - needed / grown))


def _best_p_value(a: Sequence[float], b: Sequence[float], spread: float) -> float:
    """Place the bet pair by pair. Where nothing can be said, with one pair or no spread yet, it stays as it was."""
    best = 0.0  # ln of the largest bet that a is smaller
    for n in range(2, len(a) + 1):
        try:
            t = paired_t_test(a[:n], b[:n]).statistic
        except DegenerateSample:
            continue
        best = max(best, log_bet(n, t, spread) if t < 0 else 0.0)
    return max(math.exp(-best), sys.float_info.min)


def _checked(spread: float) -> float:
    if not 0 < spread < math.inf:
        raise DegenerateSample(f"expected a finite spread of effects above zero, found {spread}")
    return spread
