"""The bet: its formula against an integral, its promise against simulated people who look after every run."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from harness.stats import sequential, significance
from harness.stats.significance import DegenerateSample

RECORD_89 = (3.2775, 3.2779, 3.2793, 3.2791, 3.2769, 3.2781, 3.2772, 3.2775, 3.2783, 3.2775, 3.2806, 3.2816, 3.2773)


@pytest.mark.parametrize("n", [2, 5, 12])
@pytest.mark.parametrize("t", [0.0, -1.3, 4.0])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_the_bet_is_a_ratio_of_likelihoods(n: int, t: float, spread: float) -> None:
    """Of t: noncentral, averaged over effects ~ N(0, spread), against central."""

    def weighted(effect: float) -> float:
        return float(stats.norm.pdf(effect, scale=math.sqrt(spread)) * stats.nct.pdf(t, n - 1, effect * math.sqrt(n)))

    mixture, _ = integrate.quad(weighted, -8 * math.sqrt(spread), 8 * math.sqrt(spread), limit=200)
    expected = math.log(mixture / stats.t.pdf(t, n - 1))
    assert sequential.log_bet(n, t, spread) == pytest.approx(expected, abs=1e-5)


@given(st.integers(2, 500), st.floats(1e-4, 0.3), st.floats(0.01, 10))
def test_the_critical_t_is_where_the_bet_reaches_one_in_alpha(n: int, alpha: float, spread: float) -> None:
    t = sequential.critical_t(n, alpha, spread)
    if math.isinf(t):
        assert sequential.log_bet(n, 1e9, spread) <= math.log(1 / alpha) + 1e-6
    else:
        assert sequential.log_bet(n, t, spread) == pytest.approx(math.log(1 / alpha), rel=1e-6, abs=1e-6)


def test_the_prices_in_the_docstring() -> None:
    prices = {n: round(sequential.critical_t(n, 0.01), 1) for n in (6, 10, 30)}
    assert prices == {6: 18.1, 10: 5.3, 30: 4.0}
    assert [round(stats.t.isf(0.01, n - 1), 1) for n in (10, 30)] == [2.8, 2.5]
    assert math.isinf(sequential.critical_t(5, 0.01))


def t_statistics(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[campaigns, runs] -> [campaigns, runs - 1]: t after 2 runs, after 3, ..."""
    n = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, 1) / n
    squares = np.cumsum(x**2, 1) - n * mean**2
    return (mean[:, 1:] / np.sqrt(squares[:, 1:] / (n - 1)[1:] / n[1:])).astype(np.float64)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_looking_after_every_run_keeps_the_promise(alpha: float) -> None:
    rng, most = np.random.default_rng(7), 60
    t = t_statistics(rng.normal(0, 1, (20_000, most)))
    ever = (t <= [-sequential.critical_t(n, alpha) for n in range(2, most + 1)]).any(1)
    naive = (t <= stats.t.ppf(alpha, np.arange(1, most)))[:, 1:].any(1)
    assert 0.1 * alpha < ever.mean() <= alpha / 2 + 3 * math.sqrt(alpha / 20_000)
    assert naive.mean() > 4 * alpha  # what looking does to the test of a fixed number


def test_the_sequence_of_intervals_covers() -> None:
    rng, most = np.random.default_rng(8), 40
    t = t_statistics(rng.normal(0, 1, (20_000, most)))
    ever_outside = (abs(t) > [sequential.critical_t(n, 0.05) for n in range(2, most + 1)]).any(1)
    assert 0.005 < ever_outside.mean() <= 0.05


def test_a_true_claim_is_found() -> None:
    rng = np.random.default_rng(9)
    found = sum(sequential.anytime_test(rng.normal(3.278, 0.0013, 15), 3.28).passes(0.01) for _ in range(200))
    assert found > 150


def test_record_89_stands_even_for_those_who_looked() -> None:
    test = sequential.anytime_test(RECORD_89, 3.28)
    assert test.passes(0.01)
    assert significance.t_test(RECORD_89, 3.28).p_value < test.p_value
    bets = [sequential.log_bet(n, significance.t_test(RECORD_89[:n], 3.28).statistic) for n in range(2, 14)]
    assert test.p_value == pytest.approx(math.exp(-max(bets)))
    assert (test.n, test.mean) == (13, pytest.approx(np.mean(RECORD_89)))


def test_what_passed_once_has_passed() -> None:
    later = [*RECORD_89, 3.285, 3.286, 3.284, 3.287]
    assert sequential.anytime_test(later, 3.28).p_value == sequential.anytime_test(RECORD_89, 3.28).p_value
    assert not significance.t_test(later, 3.28).passes(0.01)


def test_the_wrong_side_never_counts() -> None:
    above = [2 * 3.28 - x for x in RECORD_89]
    assert sequential.anytime_test(above, 3.28).p_value == 1.0


def test_pairs_are_compared_by_logarithms() -> None:
    rng = np.random.default_rng(10)
    baseline = 73.8 * np.exp(rng.normal(0, 0.001, 14))
    times = baseline * np.exp(rng.normal(-0.003, 0.0015, 14))
    test = sequential.anytime_faster_test(times, baseline)
    assert test.passes(0.01)
    assert test.mean == pytest.approx(np.log(times / baseline).mean())
    assert sequential.anytime_faster_test(baseline, times).p_value == 1.0
    interval = sequential.anytime_ratio_interval(times, baseline)
    fixed = significance.ratio_interval(times, baseline)
    assert interval.low < fixed.low < fixed.estimate == interval.estimate < fixed.high < interval.high < 1
    same_seconds = sequential.anytime_faster_test(times * 60, baseline * 60)
    assert same_seconds.p_value == pytest.approx(test.p_value)


def test_too_few_values_exclude_nothing() -> None:
    interval = sequential.anytime_interval((3.27, 3.28), 0.99)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    ratio = sequential.anytime_ratio_interval((1.0, 1.1), (1.2, 1.3), 0.99)
    assert (ratio.low, ratio.high) == (0.0, math.inf)


@given(st.lists(st.floats(3.0, 3.6), min_size=8, max_size=30).filter(lambda x: np.ptp(x) > 1e-3), st.floats(3.0, 3.6))
def test_the_interval_holds_what_the_bet_has_not_refuted(sample: list[float], target: float) -> None:
    interval = sequential.anytime_interval(sample, 0.95)
    t = significance.t_test(sample, target).statistic
    bet = sequential.log_bet(len(sample), t)
    if abs(bet - math.log(20)) > 1e-6:
        assert (interval.low <= target <= interval.high) is (bet < math.log(20))


def test_ties_at_the_start_win_nothing() -> None:
    """Three equal losses look like no spread at all; the bet waits until there is one."""
    test = sequential.anytime_test([3.27, 3.27, 3.27, 3.29], 3.28)
    assert test.p_value == pytest.approx(min(1, math.exp(-sequential.log_bet(4, -1.0))))


@pytest.mark.parametrize("sample", [[], [3.27], [3.27] * 20, [3.27, math.nan], ["3.27", "3.28"], [True, False]])
def test_what_cannot_be_tested_is_refused(sample: list[float]) -> None:
    with pytest.raises(DegenerateSample):
        sequential.anytime_test(sample, 3.28)
    with pytest.raises(DegenerateSample):
        sequential.anytime_interval(sample)
    with pytest.raises(DegenerateSample):
        sequential.anytime_faster_test(sample, [1.0] * len(sample))
    with pytest.raises(DegenerateSample):
        sequential.anytime_ratio_interval(sample, [1.0] * len(sample))


@pytest.mark.parametrize("spread", [0.0, -1.0, math.nan, math.inf])
def test_effects_have_a_spread(spread: float) -> None:
    with pytest.raises(DegenerateSample, match="spread of effects"):
        sequential.anytime_test(RECORD_89, 3.28, spread)


def test_no_p_value_is_zero() -> None:
    rng = np.random.default_rng(1)
    assert sequential.anytime_test(rng.normal(1.0, 1e-3, 400), 3.28).p_value > 0
