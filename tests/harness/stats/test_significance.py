"""The tests of significance against published numbers, against scipy.stats, and against what must be refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.stats import significance
from harness.stats.significance import DegenerateSample

# The 13 losses of the pull request of upstream's record 89, from its logs.
RECORD_89 = (3.2775, 3.2779, 3.2793, 3.2791, 3.2769, 3.2781, 3.2772, 3.2775, 3.2783, 3.2775, 3.2806, 3.2816, 3.2773)

# All 46 rows of upstream's fewest-steps track: number, steps, runs in its logs, their mean loss at that step,
# (3.28 - mean) * sqrt(runs) from unrounded losses, and whether that reaches 0.004.
FEWEST_STEPS = (
    (1, 3600, 1, 3.27765, 0.00235, False), (2, 5625, 1, 3.27903, 0.00097, False),
    (3, 3500, 1, 3.27673, 0.00327, False), (4, 4875, 5, 3.27414, 0.01311, True),
    (5, 3325, 10, 3.27821, 0.00566, True), (6, 3375, 20, 3.27893, 0.00479, True),
    (7, 3325, 1, 3.27523, 0.00477, True), (8, 3250, 10, 3.27798, 0.0064, True),
    (9, 3250, 8, 3.27708, 0.00827, True), (10, 3250, 20, 3.27888, 0.00503, True),
    (11, 3225, 16, 3.27854, 0.00584, True), (12, 3325, 20, 3.27905, 0.00426, True),
    (13, 3210, 10, 3.27847, 0.00484, True), (14, 3150, 4, 3.27759, 0.00482, True),
    (15, 3275, 15, 3.27852, 0.00575, True), (16, 3125, 8, 3.27844, 0.00441, True),
    (17, 3175, 20, 3.27885, 0.00517, True), (18, 3225, 9, 3.27764, 0.00707, True),
    (19, 3125, 6, 3.278, 0.00489, True), (20, 3030, 30, 3.27901, 0.0054, True),
    (21, 4100, 4, 3.27759, 0.00481, True), (22, 8225, 4, 3.27737, 0.00526, True),
    (23, 3075, 40, 3.27925, 0.00474, True), (24, 3175, 10, 3.27819, 0.00573, True),
    (25, 3040, 5, 3.27815, 0.00415, True), (26, 3090, 10, 3.27846, 0.00486, True),
    (27, 3125, 6, 3.27818, 0.00447, True), (28, 3175, 25, 3.27901, 0.00494, True),
    (29, 2990, 11, 3.27867, 0.00442, True), (30, 2930, 16, 3.27844, 0.00622, True),
    (31, 2995, 20, 3.27889, 0.00498, True), (32, 3000, 16, 3.27771, 0.00916, True),
    (33, 3375, 5, 3.27791, 0.00467, True), (34, 2925, 8, 3.27813, 0.0053, True),
    (35, 3375, 2, 3.27665, 0.00473, True), (36, 3250, 10, 3.27866, 0.00424, True),
    (37, 3250, 10, 3.27863, 0.00432, True), (38, 2900, 9, 3.27858, 0.00427, True),
    (39, 3125, 20, 3.27856, 0.00646, True), (40, 2890, 16, 3.27881, 0.00478, True),
    (41, 2875, 1, 3.27912, 0.00088, False), (42, 2860, 16, 3.27894, 0.00424, True),
    (43, 2850, 13, 3.27856, 0.00519, True), (44, 2750, 28, 3.27889, 0.00586, True),
    (45, 2720, 10, 3.27856, 0.00454, True), (46, 2690, 8, 3.27833, 0.00473, True),
)  # fmt: skip

losses = st.floats(3.0, 3.6)
samples = st.lists(losses, min_size=2, max_size=40).filter(lambda x: np.ptp(x) > 1e-3)
pairs = st.integers(2, 30).flatmap(lambda n: st.tuples(*[st.lists(losses, min_size=n, max_size=n)] * 2))
times = st.lists(st.floats(1.0, 1e4), min_size=2, max_size=30)


def test_the_losses_of_record_89_give_its_published_p_value() -> None:
    test = significance.t_test(RECORD_89, 3.28)
    assert test.p_value == pytest.approx(0.0006690604, abs=5e-11)
    assert test.statistic == pytest.approx(-4.153537, abs=1e-6)
    assert (test.n, test.mean) == (13, pytest.approx(3.278369, abs=1e-6))
    assert test.passes(0.01) and not test.passes(test.p_value)


@pytest.mark.parametrize("row", FEWEST_STEPS, ids=lambda row: str(row[0]))
def test_upstream_s_rule_on_every_row_of_its_fewest_steps_track(row: tuple[int, int, int, float, float, bool]) -> None:
    number, _, n, mean, published, passes = row
    excess = significance.steps_excess(3.28 - mean, n)
    assert excess == pytest.approx(published, abs=0.51e-5 * (1 + math.sqrt(n)))  # both are rounded
    assert (excess >= significance.STEPS_EXCESS_NATS) is passes
    z = significance.z_test([mean], 3.28, significance.STEPS_SIGMA_NATS / math.sqrt(n))
    assert z.passes(0.001) is passes  # the exact test at 0.001 (an excess of 0.00402) decides every row alike
    assert passes is (number not in {1, 2, 3, 41})


def test_rows_that_were_noise_as_progress() -> None:
    """Records 11 and 16 of that track do not beat the records before them, by upstream's own pairwise rule."""
    rows = {row[0]: row[1:4] for row in FEWEST_STEPS}

    def excess(new: int, old: int) -> float:
        (steps, n, mean), (old_steps, old_n, old_mean) = rows[new], rows[old]
        gain = old_mean - mean + (old_steps - steps) * significance.NATS_PER_STEP
        return significance.steps_excess(gain, n, old_n)

    assert excess(11, 9) == pytest.approx(-0.00077, abs=1e-5)
    assert excess(16, 14) == pytest.approx(0.00045, abs=1e-5)
    assert excess(46, 36) > 0.05  # 560 steps fewer


def test_pairwise_steps_is_upstream_s_formula() -> None:
    a, b = (3.2780, 3.2790, 3.2786), (3.2784, 3.2795)
    test = significance.pairwise_steps(a, 3200, b, 3300)
    excess = (np.mean(b) - np.mean(a) + 0.0045) / math.sqrt(1 / 3 + 1 / 2)
    assert -test.statistic * 0.0013 == pytest.approx(excess)
    assert test.p_value == pytest.approx(stats.norm.sf(excess / 0.0013))
    assert significance.pairwise_steps(a, 3300, b, 3300).p_value > test.p_value
    bar = significance.STEPS_EXCESS_NATS / significance.STEPS_SIGMA_NATS
    assert stats.norm.sf(bar) == pytest.approx(0.00104, abs=1e-5)


@given(samples, losses)
def test_t_is_scipy_s(sample: list[float], target: float) -> None:
    found, expected = significance.t_test(sample, target), stats.ttest_1samp(sample, target, alternative="less")
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-300)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-7, abs=1e-7)
    interval, oracle = significance.mean_interval(sample, 0.9), stats.ttest_1samp(sample, 0.0).confidence_interval(0.9)
    assert (interval.low, interval.high) == (pytest.approx(oracle.low), pytest.approx(oracle.high))


@given(samples, losses, st.floats(1e-4, 1.0))
def test_z_is_the_normal_tail(sample: list[float], target: float, sigma: float) -> None:
    expected = stats.norm.cdf(target, loc=np.mean(sample), scale=sigma / math.sqrt(len(sample)))
    assert significance.z_test(sample, target, sigma).p_value == pytest.approx(1 - expected, rel=1e-6, abs=1e-9)


@given(pairs)
def test_paired_is_scipy_s(both: tuple[list[float], list[float]]) -> None:
    a, b = both
    assume(np.ptp(np.subtract(a, b)) > 1e-6)
    expected = stats.ttest_rel(a, b, alternative="less")
    assert significance.paired_t_test(a, b).p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)
    interval, oracle = significance.paired_interval(a, b), stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (interval.low, interval.high) == (pytest.approx(oracle.low, abs=1e-9), pytest.approx(oracle.high, abs=1e-9))


@given(samples, samples)
def test_welch_is_scipy_s(a: list[float], b: list[float]) -> None:
    expected = stats.ttest_ind(a, b, equal_var=False, alternative="less")
    assert significance.welch_test(a, b).p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)
    interval = significance.welch_interval(a, b, 0.99)
    oracle = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.99)
    assert (interval.low, interval.high) == (pytest.approx(oracle.low, abs=1e-9), pytest.approx(oracle.high, abs=1e-9))


@given(pairs, st.floats(1e-3, 1.0), st.booleans())
def test_equivalence_is_two_of_scipy_s_tests(
    both: tuple[list[float], list[float]], margin: float, paired: bool
) -> None:
    a, b = both
    assume(np.ptp(a) > 1e-3 and np.ptp(b) > 1e-3 and np.ptp(np.subtract(a, b)) > 1e-6)
    found = significance.equivalence_test(a, b, margin, paired=paired)

    def oracle(shift: float, alternative: str) -> float:
        moved = np.add(a, shift)
        test = stats.ttest_rel if paired else stats.ttest_ind
        return float(test(moved, b, alternative=alternative, **({} if paired else {"equal_var": False})).pvalue)

    assert found.p_not_above == pytest.approx(oracle(-margin, "less"), rel=1e-6, abs=1e-12)
    assert found.p_not_below == pytest.approx(oracle(margin, "greater"), rel=1e-6, abs=1e-12)
    interval = (significance.paired_interval if paired else significance.welch_interval)(a, b, 0.9)
    inside = -margin < interval.low and interval.high < margin
    assume(min(abs(interval.low + margin), abs(interval.high - margin)) > 1e-9)
    assert found.passes(0.05) is inside  # the textbook's other way to put it


@given(times, st.floats(0.5, 2.0), st.floats(0.001, 1000))
def test_ratios_do_not_know_units(seconds: list[float], ratio: float, unit: float) -> None:
    rng = np.random.default_rng(3)
    faster = [t * ratio * math.exp(rng.normal(0, 0.001)) for t in seconds]
    interval = significance.ratio_interval(faster, seconds)
    assert interval.low < interval.estimate < interval.high
    assert interval.estimate == pytest.approx(stats.gmean(np.divide(faster, seconds)))
    scaled = significance.ratio_interval([t * unit for t in faster], [t * unit for t in seconds])
    assert scaled.low == pytest.approx(interval.low, rel=1e-6)
    shown = significance.faster_test(faster, seconds).p_value
    expected = stats.ttest_rel(np.log(faster), np.log(seconds), alternative="less").pvalue
    assert shown == pytest.approx(expected, rel=1e-5, abs=1e-300)


def test_equality_is_not_shown_by_noise() -> None:
    rng = np.random.default_rng(0)
    noisy, base = rng.normal(3.28, 0.01, 3), rng.normal(3.28, 0.01, 3)
    assert stats.ttest_ind(noisy, base).pvalue > 0.05  # "no difference"
    assert not significance.equivalence_test(noisy, base, 0.001, paired=False).passes(0.05)
    many, others = rng.normal(3.28, 0.001, 50), rng.normal(3.28, 0.001, 50)
    assert significance.equivalence_test(many, others, 0.001, paired=False).passes(0.05)
    assert not significance.equivalence_test(many + 0.002, others, 0.001, paired=False).passes(0.5)


GOOD = (3.271, 3.272, 3.274)
UNTESTABLE: dict[str, Any] = {
    "nothing": [],
    "one run": [3.27],
    "no spread": [3.27, 3.27, 3.27],
    "alike to rounding": [0.1 + 0.2, 0.3, 0.3],
    "NaN": [3.27, math.nan, 3.28],
    "infinity": [3.27, math.inf, 3.28],
    "minus infinity": [3.27, -math.inf, 3.28],
    "too large to square": [1e200, -1e200, 3.0],
    "an integer beyond floats": [10**400, 3, 4],
    "spread below arithmetic": [1e-320, 2e-320, 3e-320],
    "text": ["3.27", "3.28", "3.29"],
    "a string": "3.27",
    "truth values": [True, False, True],
    "complex": [3.27 + 0j, 3.28 + 0j, 3.29 + 1j],
    "None": None,
    "holes": [3.27, None, 3.28],
    "nested": [[3.27, 3.28], [3.29, 3.3]],
}
ONE_SAMPLE: dict[str, Callable[[Any], object]] = {
    "t": lambda x: significance.t_test(x, 3.28),
    "interval": significance.mean_interval,
    "paired": lambda x: significance.paired_t_test(x, [0.0, 0.0, 0.0]),
    "paired interval": lambda x: significance.paired_interval([1.0, 1.0, 1.0], x),
    "faster": lambda x: significance.faster_test(x, [1.0, 1.0, 1.0]),
    "ratio": lambda x: significance.ratio_interval([1.0, 1.0, 1.0], x),
    "welch": lambda x: significance.welch_test(GOOD, x),
    "welch interval": lambda x: significance.welch_interval(x, GOOD),
    "equivalence": lambda x: significance.equivalence_test(x, [0.0, 0.0, 0.0], 1.0),
    "unpaired equivalence": lambda x: significance.equivalence_test(GOOD, x, 1.0, paired=False),
}


@pytest.mark.parametrize("sample", UNTESTABLE.values(), ids=UNTESTABLE)
@pytest.mark.parametrize("test", ONE_SAMPLE.values(), ids=ONE_SAMPLE)
def test_what_cannot_be_tested_is_refused_in_one_sentence(test: Callable[[Any], object], sample: Any) -> None:
    with pytest.raises(DegenerateSample, match=r"^expected .*, found .*") as refusal:
        test(sample)
    assert "\n" not in str(refusal.value)


@settings(max_examples=300)
@given(st.sampled_from(sorted(ONE_SAMPLE)), st.lists(st.one_of(st.floats(), st.integers()), min_size=3, max_size=3))
def test_numbers_of_any_size_give_a_p_value_or_a_refusal(name: str, sample: list[float]) -> None:
    try:
        result: Any = ONE_SAMPLE[name](sample)
    except DegenerateSample:
        return  # any other exception fails
    if isinstance(result, significance.Interval):
        assert result.low < result.estimate < result.high < math.inf
    else:
        assert 0 < result.p_value <= 1


@pytest.mark.parametrize(
    ("n", "margin", "z_margin"), [(4, 0.00295, 0.002), (10, 0.00116, 0.00126), (20, 0.00074, 0.00089)]
)
def test_margins_that_just_pass_at_the_field_s_spread(n: int, margin: float, z_margin: float) -> None:
    pattern = np.tile([1.0, -1.0], n // 2)
    noise = pattern * 0.0013 / np.std(pattern, ddof=1)
    for factor, passes in ((1.02, True), (0.98, False)):
        assert significance.t_test(3.28 - factor * margin + noise, 3.28).passes(0.01) is passes
    excess = significance.steps_excess(z_margin, n)
    assert excess == pytest.approx(significance.STEPS_EXCESS_NATS, rel=0.006)


@pytest.mark.parametrize("sample", [x for name, x in UNTESTABLE.items() if name not in ("one run",)])
def test_a_known_sigma_needs_a_sample_too(sample: Any) -> None:
    with pytest.raises(DegenerateSample):
        significance.z_test(sample, 3.28, 0.0013)
    with pytest.raises(DegenerateSample):
        significance.pairwise_steps(GOOD, 3000, sample, 3100)


def test_one_run_is_a_sample_where_sigma_is_known() -> None:
    test = significance.z_test([3.27523], 3.28, 0.0013)  # row 7 of upstream's fewest-steps track
    assert test.p_value == pytest.approx(stats.norm.sf(0.00477 / 0.0013))
    assert test.sd is None


@pytest.mark.parametrize("tied", [(3.2712, 3.2712, 3.2712), (3.27120001, 3.27122, 3.27124)])
def test_losses_alike_to_four_decimals_are_one_result(tied: tuple[float, ...]) -> None:
    for test in (lambda: significance.t_test(tied, 3.28), lambda: significance.z_test(tied, 3.28, 0.0013)):
        with pytest.raises(DegenerateSample, match=r"3 alike at 3\.2712"):
            test()
    assert significance.t_test((3.2712, 3.2713, 3.2712), 3.28).p_value < 1e-4  # printed apart: a spread


@pytest.mark.parametrize("number", [0, -1.0, math.nan, math.inf, "1", True, None])
def test_numbers_that_are_no_scale(number: Any) -> None:
    for test in (
        lambda: significance.z_test(GOOD, 3.28, number),
        lambda: significance.equivalence_test(GOOD, (3.271, 3.273, 3.273), number),
        lambda: significance.pairwise_steps(GOOD, number, GOOD, 3000),
        lambda: significance.mean_interval(GOOD, number),
        lambda: significance.steps_excess(0.001, number),
    ):
        with pytest.raises(DegenerateSample):
            test()


@pytest.mark.parametrize("target", [math.nan, math.inf, "3.28", True, None])
def test_a_target_is_a_finite_number(target: Any) -> None:
    with pytest.raises(DegenerateSample, match="target"):
        significance.t_test(GOOD, target)
    with pytest.raises(DegenerateSample, match="target"):
        significance.z_test(GOOD, target, 0.0013)


def test_pairs_need_partners_and_a_difference() -> None:
    with pytest.raises(DegenerateSample, match="3 values of a and 2 of b"):
        significance.paired_t_test(GOOD, GOOD[:2])
    with pytest.raises(DegenerateSample, match="3 alike to the last bit"):
        significance.equivalence_test(GOOD, GOOD, 0.001)
    with pytest.raises(DegenerateSample, match=r"3 alike at -0\.25"):
        significance.paired_t_test(GOOD, [x + 0.25 for x in GOOD])
    for times in ([1.0, 0.0], [1.0, -2.0]):
        with pytest.raises(DegenerateSample, match="above zero"):
            significance.faster_test(times, [1.0, 2.0])
    with pytest.raises(DegenerateSample, match="of one kind of run"):
        significance.ratio_interval([1e-60, 1.0], [1e60, 1.0])


def test_no_p_value_is_zero() -> None:
    assert significance.z_test((2.0, 2.1), 3.28, 0.0013).p_value > 0
    assert significance.t_test([1.0 + i * 1e-3 for i in range(40)] * 20, 3.28).p_value > 0


def test_interval_contains_its_estimate() -> None:
    interval = significance.mean_interval(GOOD)
    assert interval.low <= interval.estimate <= interval.high


def test_two_further_times_lie_where_they_are_predicted() -> None:
    """95 % of the time or a little more, both at once; against the formula by hand for four times."""
    rng = np.random.default_rng(5)
    inside, draws = 0, 4000
    for draw in np.exp(3 + 0.01 * rng.standard_normal((draws, 7))):
        found = significance.time_prediction(draw[:5], future=2)
        inside += all(found.low <= time <= found.high for time in draw[5:])
    assert 0.94 < inside / draws < 0.97
    logs = np.log((2.0, 2.1, 1.9, 2.05))
    half = stats.t.ppf(1 - 0.05 / 4, 3) * logs.std(ddof=1) * math.sqrt(5 / 4)
    found = significance.time_prediction((2.0, 2.1, 1.9, 2.05), future=2)
    assert math.log(found.estimate) == pytest.approx(logs.mean())
    assert math.log(found.high / found.estimate) == pytest.approx(half)
    assert math.log(found.estimate / found.low) == pytest.approx(half)


@given(times, st.integers(1, 5))
def test_a_prediction_is_wider_than_the_interval_of_the_mean_and_grows_with_the_runs(
    sample: list[float], future: int
) -> None:
    assume(np.ptp(np.log(sample)) > 1e-6)
    try:
        found, more = (significance.time_prediction(sample, future=n) for n in (future, future + 1))
        mean = significance.mean_interval([math.log(time) for time in sample])
    except DegenerateSample:
        return
    assert 0 <= more.low <= found.low <= found.estimate <= found.high <= more.high
    assert math.log(found.high) >= mean.high - 1e-9


@pytest.mark.parametrize("sample", [(), (2.0,), (2.0, 2.0), (2.0, 0.0), (2.0, -1.0), (2.0, math.inf), (1e-90, 1e90)])
def test_what_predicts_nothing_is_refused(sample: tuple[float, ...]) -> None:
    with pytest.raises(DegenerateSample):
        significance.time_prediction(sample)
    with pytest.raises(DegenerateSample):
        significance.time_prediction((2.0, 2.1), future=0)
