"""The significance tests: what each one asks, when it misleads, and then the arithmetic.

A run is a draw. Another seed of the same file ends elsewhere: upstream's losses scatter by 0.0013 nats (the median of
81 groups of runs), its times within one sitting by 0.113 %, and two nodes of the same model differ by 0.5 to 1.1 %.
Records now win by 0.3 to 1 %. So one run proves nothing, and every claim here is about the mean of many:

    question                                      function           it misleads when
    is the mean loss below the target?            t_test             you look after every run and stop at p < 0.01:
                                                                     3.8 % false records for n = 3..10, 6.2 % for
                                                                     3..30; or keep the best 10 of 15 runs: 38 %
    the same, if the spread is known              z_test             sigma is not yours: a submission that doubles
                                                                     the spread turns p < 0.001 into 6 %
    is the candidate faster, on one machine?      faster_test        the arms ran one after the other, or on two
                                                                     nodes: drift and offset are then "gains"
    by how much?                                  ratio_interval     its middle is quoted as the gain, which is too
                                                                     much half of the time
    two samples without pairs                     welch_test         the runs did share something (a node, an hour)
    did the loss stay the same (systems claim)?   equivalence_test   replaced by "p > 0.05, so no difference", which
                                                                     two runs always achieve
    would two more runs take as long?             time_prediction    another machine, another torch: what it knows
                                                                     of is these runs
    fewer steps at a slightly other loss?         pairwise_steps     far from step 3,300, where its rate was measured

An example: the 13 losses of upstream's record 89 have the mean 3.27837 and the deviation 0.00142. If the true mean were
3.28, the mean of 13 would scatter around it by 0.00142 / sqrt(13) = 0.00039; it lies 4.15 of these below (the t
statistic). So far below is where 0.067 % of all such samples would fall, p = 0.00067 < 0.01: shown.

A p-value is the chance of a sample at least this convincing if the claim were just false; it is not the chance that
the claim is false. The tests are one-sided because smaller is better, for losses and for times, and only the good
direction needs proof. An interval says more than a p-value: it has units. Times are compared by the logarithm of
their ratio, because noise is a share of the time and a ratio is what carries over from machine to machine.

n, seeds and order are fixed before the first run (power.py says how many, `speedrun plan` asks it); who wants to look
while running uses sequential.py, which stays valid and pays for it with runs.

What cannot be tested is refused with DegenerateSample, never answered with p = 0: one run has no spread, and losses
that agree to four decimals are no evidence of a tiny spread but of one model counted many times (seeds move the loss
a dozen times as far). The t-test needs means that are roughly normal; losses are. It does not need a known sigma, and
with 4 runs pays for that with a required margin of 0.0030 nats instead of 0.0015 (z) at the same 1 %.

Student (1908) for t; Welch (1947); Schuirmann (1987) for TOST.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

LOSS_TIE_NATS = 0.5e-4  # losses closer than this print as the same four decimals
ROUNDING = 1e-12  # relative; a spread below it is arithmetic, not noise
LARGEST = 1e100  # squares and sums of more overflow
STEPS_SIGMA_NATS = 0.0013  # upstream's fixed sigma for its fewest-steps track
STEPS_EXCESS_NATS = 0.004  # upstream's bar there: 3.08 sigma, p = 0.001
NATS_PER_STEP = 0.0045 / 100  # upstream's exchange rate, near step 3,300


class DegenerateSample(ValueError):
    """No test can be made of these numbers: one sentence says why. Callers treat the claim as not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One one-sided test. `mean` and `sd` are of what was tested: the sample, or the differences of its pairs."""

    __test__ = False  # not a test case of pytest, whatever its name

    statistic: float  # negative speaks for the claim
    p_value: float  # never 0
    n: int  # runs, pairs, or the runs of both samples
    mean: float
    sd: float | None  # None: one run under a known sigma, or two samples

    def passes(self, alpha: float) -> bool:
        """Whether p < alpha, strictly, as upstream's rules have it."""
        return self.p_value < alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval in the units of its estimate."""

    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Two one-sided tests: the difference is above -margin, and below +margin. Both must pass."""

    difference: float  # mean(a) - mean(b)
    margin: float
    n: int
    p_not_below: float  # small: a is not lower than b by the margin or more
    p_not_above: float  # small: a is not higher than b by the margin or more

    @property
    def p_value(self) -> float:
        return max(self.p_not_below, self.p_not_above)

    def passes(self, alpha: float) -> bool:
        """Whether equality within the margin is shown at this level."""
        return self.p_value < alpha


# --- one sample: is the mean below the target? ---


def t_test(losses: Iterable[float], target: float) -> Test:
    """Student's one-sample t-test, one-sided: is the mean loss below the target? Upstream asks for p < 0.01.

    losses: nats per token, at least two, not all alike to four decimals, or DegenerateSample.
    """
    sample = _varied(losses, "losses", LOSS_TIE_NATS)
    return _t(sample, _finite(target, "target"))


def z_test(losses: Iterable[float], target: float, sigma: float) -> Test:
    """The same with a known standard deviation: upstream's fewest-steps track, sigma 0.0013 nats at p < 0.001.

    One loss is enough, because sigma is given; losses that are all alike are refused as everywhere.
    """
    values = _numbers(losses, "losses", at_least=1)
    sample = _varied(values, "losses", LOSS_TIE_NATS) if len(values) > 1 else values
    mean = _mean(sample)
    z = (mean - _finite(target, "target")) / (_positive(sigma, "sigma") / math.sqrt(len(sample)))
    sd = _sd(sample) if len(sample) > 1 else None
    return Test(statistic=z, p_value=_normal_p(z), n=len(sample), mean=mean, sd=sd)


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student's interval of a mean: losses, seconds, anything whose mean is about normal."""
    sample = _varied(values, "values")
    return _interval(_mean(sample), _standard_error(sample), len(sample) - 1, confidence)


def time_prediction(times: Iterable[float], future: int = 1, confidence: float = 0.95) -> Interval:
    """The interval that so many further times of the same kind all lie in, from log times; seconds.

    Student's prediction interval; each of `future` times may miss it with an equal part of 1 - confidence (Bonferroni).
    `estimate` is the geometric mean. Raises DegenerateSample as every test does: two times or more, not alike.
    """
    sample = _varied(_logs(times, "times"), "log times")
    n = len(sample)
    if future < 1:
        raise DegenerateSample(f"expected at least one further time, found {future}")
    level = 1 - (1 - _finite(confidence, "confidence")) / future
    log = _interval(_mean(sample), _sd(sample) * math.sqrt(1 + 1 / n), n - 1, level)
    if max(abs(log.low), abs(log.high)) > math.log(LARGEST):
        raise DegenerateSample(f"expected times of one kind of run, found {n} from e^{log.low:.0f} to e^{log.high:.0f}")
    estimate, low, high = (math.exp(value) for value in (log.estimate, log.low, log.high))
    return Interval(estimate=estimate, low=low, high=high, confidence=confidence)


# --- two arms in pairs: the same seed, one after the other, so what they share cancels ---


def paired_t_test(a: Iterable[float], b: Iterable[float]) -> Test:
    """The t-test of the differences a - b, one-sided: is a smaller? Values of a pair stand at the same index."""
    return _t(_differences(a, b), 0.0)


def paired_interval(a: Iterable[float], b: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student's interval of the mean of a - b."""
    return mean_interval(_differences(a, b), confidence)


def faster_test(times: Iterable[float], baseline: Iterable[float]) -> Test:
    """The paired t-test of log times: is the candidate faster, on this machine, in this sitting?

    Pairs share a node and an hour, so the node's offset and slow drift cancel. `mean` is of ln(time / baseline).
    """
    return paired_t_test(_logs(times, "times"), _logs(baseline, "baseline times"))


def ratio_interval(times: Iterable[float], baseline: Iterable[float], confidence: float = 0.95) -> Interval:
    """The interval of time / baseline from paired log times; 0.997 means 0.3 % saved."""
    log = paired_interval(_logs(times, "times"), _logs(baseline, "baseline times"), confidence)
    if max(-log.low, log.high) > math.log(LARGEST):
        raise DegenerateSample(
            f"expected times of one kind of run, found ratios from e^{log.low:.0f} to e^{log.high:.0f}"
        )
    estimate, low, high = (math.exp(value) for value in (log.estimate, log.low, log.high))
    return Interval(estimate=estimate, low=low, high=high, confidence=confidence)


# --- two arms without pairs ---


def welch_test(a: Iterable[float], b: Iterable[float]) -> Test:
    """Welch's t-test of two independent samples with their own spreads, one-sided: is a smaller?"""
    left, right = _varied(a, "values of a"), _varied(b, "values of b")
    difference, error, degrees = _welch(left, right)
    t = difference / error
    return Test(statistic=t, p_value=_t_p(t, degrees), n=len(left) + len(right), mean=difference, sd=None)


def welch_interval(a: Iterable[float], b: Iterable[float], confidence: float = 0.95) -> Interval:
    """The interval of mean(a) - mean(b) with Welch's degrees of freedom."""
    difference, error, degrees = _welch(_varied(a, "values of a"), _varied(b, "values of b"))
    return _interval(difference, error, degrees, confidence)


def equivalence_test(a: Iterable[float], b: Iterable[float], margin: float, paired: bool = True) -> Equivalence:
    """TOST: is |mean(a) - mean(b)| shown to be below the margin? What a systems-only claim owes.

    The burden is turned round: too few or too noisy runs fail. The same as asking whether the 1 - 2 alpha interval
    lies within the margin. Pairs that agree to the last bit have no spread and raise DegenerateSample: there the
    question is answered by comparing, not by a test.
    """
    margin = _positive(margin, "margin")
    if paired:
        sample = _differences(a, b)
        difference, error, degrees, n = _mean(sample), _standard_error(sample), float(len(sample) - 1), len(sample)
    else:
        left, right = _varied(a, "values of a"), _varied(b, "values of b")
        (difference, error, degrees), n = _welch(left, right), len(left) + len(right)
    return Equivalence(
        difference=difference,
        margin=margin,
        n=n,
        p_not_below=_t_p(-(difference + margin) / error, degrees),
        p_not_above=_t_p((difference - margin) / error, degrees),
    )


# --- fewest steps: upstream's rules with one fixed sigma ---


def steps_excess(gain: float, *runs: int) -> float:
    """Upstream's number, nats: gain / sqrt(1/n1 + 1/n2 + ...); STEPS_EXCESS_NATS or more is significant.

    One sample: steps_excess(3.28 - mean, n). Two: see pairwise_steps.
    """
    if not runs or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in runs):
        raise DegenerateSample(f"expected at least one run in every sample, found counts of {runs}")
    return _finite(gain, "gain") / math.sqrt(sum(1 / n for n in runs))


def pairwise_steps(a: Iterable[float], a_steps: int, b: Iterable[float], b_steps: int) -> Test:
    """Upstream's comparison of two results of its fewest-steps track: is a better, steps and loss together?

    Steps are paid in loss at NATS_PER_STEP (0.0045 nats per 100, measured near step 3,300); then a z-test with
    STEPS_SIGMA_NATS. `mean` is minus the gain in nats. Upstream's bar, steps_excess >= 0.004, is p = 0.00104.
    """
    left = _numbers(a, "losses of a", at_least=1)
    right = _numbers(b, "losses of b", at_least=1)
    for sample in (left, right):
        if len(sample) > 1:
            _varied(sample, "losses", LOSS_TIE_NATS)
    gain = _mean(right) - _mean(left) + (_positive(b_steps, "steps") - _positive(a_steps, "steps")) * NATS_PER_STEP
    z = -steps_excess(gain, len(left), len(right)) / STEPS_SIGMA_NATS
    return Test(statistic=z, p_value=_normal_p(z), n=len(left) + len(right), mean=-gain, sd=None)


# --- arithmetic ---


def _t(sample: tuple[float, ...], null: float) -> Test:
    mean = _mean(sample)
    t = (mean - null) / _standard_error(sample)
    return Test(statistic=t, p_value=_t_p(t, len(sample) - 1), n=len(sample), mean=mean, sd=_sd(sample))


def _welch(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float]:
    """Difference of means, its standard error, and the Welch-Satterthwaite degrees of freedom."""
    error_a, error_b = _standard_error(a), _standard_error(b)
    error = math.hypot(error_a, error_b)
    share = (error_a / error) ** 2
    degrees = 1 / (share**2 / (len(a) - 1) + (1 - share) ** 2 / (len(b) - 1))
    return _mean(a) - _mean(b), error, degrees


def _interval(estimate: float, error: float, degrees: float, confidence: float) -> Interval:
    if not 0 < _finite(confidence, "confidence") < 1:
        raise DegenerateSample(f"expected a confidence between 0 and 1, found {confidence}")
    half = error * float(_special().stdtrit(degrees, (1 + confidence) / 2))
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, confidence=confidence)


def _mean(sample: Sequence[float]) -> float:
    return math.fsum(sample) / len(sample)


def _sd(sample: Sequence[float]) -> float:
    mean = _mean(sample)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1))


def _standard_error(sample: Sequence[float]) -> float:
    return _sd(sample) / math.sqrt(len(sample))


def _t_p(t: float, degrees: float) -> float:
    """P(T <= t), bounded away from 0, which no finite sample can show."""
    return max(float(_special().stdtr(degrees, t)), sys.float_info.min)


def _normal_p(z: float) -> float:
    return max(float(_special().ndtr(z)), sys.float_info.min)


def _special() -> Any:
    """scipy.special, which takes a tenth of a second to import, when something is tested."""
    from scipy import special

    return special


# --- what may be tested ---


def _differences(a: Iterable[float], b: Iterable[float]) -> tuple[float, ...]:
    left, right = _numbers(a, "values of a", at_least=2), _numbers(b, "values of b", at_least=2)
    if len(left) != len(right):
        raise DegenerateSample(f"expected pairs, found {len(left)} values of a and {len(right)} of b")
    if left == right:
        raise DegenerateSample(
            f"expected pairs that differ, found {len(left)} alike to the last bit; no test is needed"
        )
    scale = max(map(abs, left + right))
    return _varied((x - y for x, y in zip(left, right, strict=True)), "differences", scale * ROUNDING)


def _logs(times: Iterable[float], what: str) -> list[float]:
    sample = _numbers(times, what, at_least=2)
    if min(sample) < 1 / LARGEST:
        raise DegenerateSample(f"expected {what} above zero, found {min(sample):g}")
    return [math.log(x) for x in sample]


def _varied(values: Iterable[float], what: str, tie: float = 0.0) -> tuple[float, ...]:
    """At least two finite numbers that differ by more than a tie and more than rounding."""
    sample = _numbers(values, what, at_least=2)
    spread, scale = max(sample) - min(sample), max(map(abs, sample))
    if spread <= max(tie, scale * ROUNDING):
        raise DegenerateSample(
            f"expected {what} that differ from run to run, found {len(sample)} alike at {sample[0]:.7g}; "
            "equal results are one result, not evidence of a small spread"
        )
    if not (math.isfinite(spread) and 0 < _sd(sample) < math.inf):
        raise DegenerateSample(f"expected {what} whose spread can be computed, found a spread of {spread:g}")
    return sample


def _numbers(values: Iterable[float], what: str, at_least: int) -> tuple[float, ...]:
    """The values as finite floats; text, truth values and anything else that is no real number is refused."""
    try:
        sample = tuple(_finite(value, what) for value in values)
    except TypeError as error:
        raise DegenerateSample(f"expected {what} as numbers, found {type(values).__name__}") from error
    if len(sample) < at_least:
        raise DegenerateSample(f"expected at least {at_least} {what}, found {len(sample)}")
    return sample


def _finite(value: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DegenerateSample(f"expected {what} as numbers, found {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST:
        raise DegenerateSample(f"expected finite {what}, found {number:g}")
    return number


def _positive(value: float, what: str) -> float:
    number = _finite(value, what)
    if number <= 0:
        raise DegenerateSample(f"expected {what} above zero, found {number:g}")
    return number
