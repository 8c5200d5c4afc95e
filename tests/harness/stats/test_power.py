"""Power against scipy's noncentral t, against simulated campaigns, and the numbers the module quotes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from harness.stats.power import LOSS_SD_NATS, MAX_RUNS, TIME_SD, Design, log_saving, paired_times, saved_share

LOSS_T = Design(test="t", alpha=0.01, sd=LOSS_SD_NATS)
LOSS_Z = Design(test="z", alpha=0.001, sd=LOSS_SD_NATS)
PAIRS = paired_times(TIME_SD, 0.01)

designs = st.builds(
    Design,
    test=st.sampled_from(["t", "z", "welch"]),
    alpha=st.sampled_from([0.05, 0.01, 0.001]),
    sd=st.floats(1e-4, 10),
)


@pytest.mark.parametrize(
    ("design", "effect", "n"),
    [
        (LOSS_T, 0.001, 25),
        (LOSS_T, 0.002, 9),
        (LOSS_Z, 0.002, 9),
        (PAIRS, log_saving(0.003), 7),
        (PAIRS, log_saving(0.01), 3),
    ],
)
def test_the_numbers_in_the_docstring(design: Design, effect: float, n: int) -> None:
    assert design.runs(effect, 0.9) == n


@pytest.mark.parametrize("design", [LOSS_T, LOSS_Z, Design(test="welch", alpha=0.01, sd=LOSS_SD_NATS)], ids=str)
def test_power_is_the_rate_at_which_simulated_campaigns_pass(design: Design) -> None:
    rng, n, effect, campaigns = np.random.default_rng(11), 8, 0.0016, 40_000
    x = rng.normal(-effect, design.sd, (campaigns, n))
    if design.test == "z":
        p = stats.norm.cdf(x.mean(1) / (design.sd / math.sqrt(n)))
    elif design.test == "welch":
        p = stats.ttest_ind(x, rng.normal(0, design.sd, (campaigns, n)), axis=1, alternative="less").pvalue
    else:
        p = stats.ttest_1samp(x, 0.0, axis=1, alternative="less").pvalue
    assert 0.05 < design.power(n, effect) < 0.95
    assert np.mean(p < design.alpha) == pytest.approx(design.power(n, effect), abs=0.01)  # four standard errors


def test_a_true_spread_other_than_sigma() -> None:
    """With twice the assumed spread, p < 0.001 accepts 6 % of what lies exactly at the target."""
    wild = Design(test="z", alpha=0.001, sd=2 * LOSS_SD_NATS, sigma=LOSS_SD_NATS)
    assert wild.power(5, 0.0) == pytest.approx(stats.norm.sf(stats.norm.isf(0.001) / 2))
    assert wild.power(5, 0.0) == pytest.approx(0.061, abs=0.001)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 30, 300, 10_000])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_power_is_exact_from_no_effect_to_certainty(degrees: int, alpha: float) -> None:
    """The oracle integrates the normal tail over the distribution of the estimated spread."""
    n, critical = degrees + 1, stats.t.isf(alpha, degrees)
    u = (np.arange(20_000) + 0.5) / 20_000
    spread = np.sqrt(stats.chi2.ppf(u, degrees) / degrees)
    design = Design(test="t", alpha=alpha, sd=1.0)
    for noncentrality in (0.0, 0.3, 1.0, 3.0, 10.0, 37.0, 40.0, 50.0, 1.8 * critical, 300.0, 3000.0):
        expected = stats.norm.sf(critical * spread - noncentrality).mean()
        assert design.power(n, noncentrality / math.sqrt(n)) == pytest.approx(expected, abs=2e-4)
        assert design.power(n, -noncentrality / math.sqrt(n)) <= alpha + 1e-9


def test_no_effect_passes_at_alpha() -> None:
    for design in (LOSS_T, LOSS_Z, PAIRS):
        assert design.power(7, 0.0) == pytest.approx(design.alpha, rel=1e-6)


@given(designs, st.floats(0.05, 20), st.sampled_from([0.5, 0.8, 0.9, 0.99]))
def test_runs_is_the_smallest_number(design: Design, effect_in_sd: float, power: float) -> None:
    effect = effect_in_sd * design.sd
    n = design.runs(effect, power)
    assert n is not None
    assert design.power(n, effect) >= power > design.power(n - 1, effect)


@given(designs, st.integers(2, 200), st.sampled_from([0.5, 0.8, 0.9, 0.99]))
def test_detectable_inverts_power(design: Design, n: int, power: float) -> None:
    effect = design.detectable(n, power)
    assert effect is not None
    assert design.power(n, effect) == pytest.approx(power, abs=1e-5)


def test_what_no_number_of_runs_shows() -> None:
    assert LOSS_T.runs(0.0) is None
    assert LOSS_T.runs(-0.01) is None
    assert LOSS_T.runs(LOSS_SD_NATS / 1000) is None
    assert LOSS_T.runs(LOSS_SD_NATS / 80) is not None
    assert LOSS_T.power(1, 1.0) == 0.0
    assert LOSS_T.detectable(1) is None
    assert LOSS_Z.runs(0.01) == 1
    assert MAX_RUNS == 100_000  # `speedrun plan` says it in words


@pytest.mark.parametrize("change", [{"sd": 0.0}, {"sd": math.nan}, {"alpha": 0.0}, {"alpha": 1.0}, {"sigma": math.inf}])
def test_a_design_needs_a_spread_and_a_level(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 < alpha < 1"):
        Design(**({"test": "z", "alpha": 0.01, "sd": 1.0} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("power", [0.0, 1.0, math.nan])
def test_a_power_lies_between_none_and_certainty(power: float) -> None:
    with pytest.raises(ValueError, match="expected a power"):
        LOSS_T.runs(0.001, power)


@given(st.floats(1e-6, 0.999))
def test_savings_are_logarithms_and_back(share: float) -> None:
    assert saved_share(log_saving(share)) == pytest.approx(share)
    assert log_saving(share) == pytest.approx(-math.log(1 - share), rel=1e-9)


def test_a_saving_is_a_share() -> None:
    for share in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            log_saving(share)


def test_where_the_series_gives_up_power_is_certain() -> None:
    """scipy returns NaN for some noncentralities far beyond the critical value; that must read as 1, never as 0."""
    critical = -special.stdtrit(10, 0.01)
    assert Design(test="t", alpha=0.01, sd=1.0).power(11, 50 / math.sqrt(11)) == pytest.approx(1.0)
    assert (
        stats.chi2.sf((30 / critical) ** 2 * 10, 10) < 1e-12
    )  # the chance to miss needs a spread twelve times too large
