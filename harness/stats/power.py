"""Planning: how many runs a test needs before anybody pays for them.

A test can fail in two ways. It may accept a claim that is false (alpha, the track's number), or miss one that is true;
the power is the chance that it does not miss. Four numbers hang together, and any three give the fourth:

    n        runs, or pairs of runs
    effect   how far the truth lies on the good side: nats below the target, or -ln(1 - saving) of the time
    sd       the spread of one value, from the machine's own runs or the field's
    power    0.9 here: one true claim in ten is missed, and that costs another campaign

Halving the effect costs four times the runs. And the effect is the truth's, not the mean seen in a pilot: a margin
chosen because three runs happened to show it is too large more often than not, and so its plan too small.

The field: losses scatter by 0.0013 nats, times within one sitting by 0.113 %, so a paired ratio by sqrt(2) times that.

                                                    alpha     n at power 0.9
    mean 0.001 nats below the target, t             0.01      25
    mean 0.002 nats below, t                        0.01      9
    mean 0.002 nats below, z with sigma 0.0013      0.001     9
    0.3 % faster, pairs, t                          0.01      7
    1 % faster, pairs, t                            0.01      3

Both formulas are exact for normal data: under the truth a t statistic follows the noncentral t distribution with
noncentrality sqrt(n) * effect / sd (Johnson and Welch, 1940), and a z statistic a shifted normal one.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

MAX_RUNS = 100_000  # nobody will pay for more
LOSS_SD_NATS = 0.0013  # the field's, of GPT-2 small at 3.28: median 0.00128 of 81 groups of upstream's runs
TIME_SD = 0.00113  # the field's, relative: median within one node and sitting
DEFAULT_POWER = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A one-sided test and the spread it will meet; n counts runs (t, z), pairs (t of differences) or runs an arm."""

    test: Literal["t", "z", "welch"]
    alpha: float
    sd: float  # the true spread of one value or of one pair's difference; welch: within an arm
    sigma: float | None = None  # z: the spread that the test assumes; None: the true one

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.sd < math.inf and 0 < (self.sigma or self.sd) < math.inf):
            raise ValueError(f"expected 0 < alpha < 1 and a finite spread above zero, found {self}")

    def power(self, n: int, effect: float) -> float:
        """The chance to pass with n when the truth is `effect` on the good side of what is tested against."""
        if n < (1 if self.test == "z" else 2):
            return 0.0
        if self.test == "z":
            return _z_power(math.sqrt(n) * effect, self.alpha, self.sd, self.sigma or self.sd)
        if self.test == "welch":
            return _t_power(2 * n - 2, math.sqrt(n / 2) * effect / self.sd, self.alpha)
        return _t_power(n - 1, math.sqrt(n) * effect / self.sd, self.alpha)

    def runs(self, effect: float, power: float = DEFAULT_POWER) -> int | None:
        """The smallest n with at least this power; None: more than MAX_RUNS, or no effect at all."""
        _check_power(power)
        high = 2
        while self.power(high, effect) < power:
            if high >= MAX_RUNS or effect <= 0:
                return None
            high = min(2 * high, MAX_RUNS)
        low = 0  # power(low) < power <= power(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(middle, effect) >= power else (middle, high)
        return high

    def detectable(self, n: int, power: float = DEFAULT_POWER) -> float | None:
        """The smallest effect that n shows with this power; None where no effect would do (n = 1 without sigma)."""
        _check_power(power)
        low, high = 0.0, self.sd
        while self.power(n, high) < power:
            low, high = high, 2 * high
            if high > 1e9 * self.sd:
                return None
        while high - low > 1e-9 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if self.power(n, middle) >= power else (middle, high)
        return high


def paired_times(time_sd: float, alpha: float) -> Design:
    """The design of faster_test: pairs of runs whose log times each scatter by time_sd (relative), independently."""
    return Design(test="t", alpha=alpha, sd=math.sqrt(2) * time_sd)


def log_saving(share: float) -> float:
    """The effect, as a difference of log times, of saving this share of the time: 0.003 for 0.3 %."""
    if not 0 < share < 1:
        raise ValueError(f"expected a saving between 0 and 1, found {share}")
    return -math.log1p(-share)


def saved_share(effect: float) -> float:
    """The share of the time that a difference of log times saves: the inverse of log_saving."""
    return -math.expm1(-effect)


def _z_power(shift: float, alpha: float, sd: float, sigma: float) -> float:
    special = _special()
    return float(special.ndtr((shift + float(special.ndtri(alpha)) * sigma) / sd))


def _t_power(degrees: int, noncentrality: float, alpha: float) -> float:
    """P(T' > t) of the noncentral t, where t is the critical value of the central one."""
    special = _special()
    critical = -float(special.stdtrit(degrees, alpha))
    missed = float(special.nctdtr(degrees, noncentrality, critical))
    if math.isnan(missed):  # the series gives up where the answer is beyond doubt
        return 1.0 if noncentrality > critical else 0.0
    return 1.0 - missed


def _check_power(power: float) -> None:
    if not 0 < power < 1:
        raise ValueError(f"expected a power between 0 and 1, found {power}")


def _special() -> Any:
    from scipy import special

    return special
