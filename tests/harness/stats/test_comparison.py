"""Two arms compared pair by pair: the verdict, the interval, and what it would take to settle it."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.comparison import Comparison, compare

times = st.floats(0.1, 1e5)
losses = st.floats(1, 11)


def race(candidate: list[float], baseline: list[float], alpha: float = 0.01, **changes: Any) -> Comparison:
    pairs = list(zip(candidate, baseline, strict=True))
    values: dict[str, Any] = {"losses": [(3.0, 3.0)] * len(pairs), "dropped": 0, "margin_nats": 0.002}
    found = compare(pairs, **(values | changes), alpha=alpha)
    assert found is not None
    return found


def noisy(rng: random.Random, n: int, mean: float, sd: float) -> list[float]:
    return [mean * math.exp(rng.gauss(0, sd)) for _ in range(n)]


def test_a_clear_gain() -> None:
    """By hand: log ratios ln 0.9 -+ 0.01, t = 3 ln 0.9 / 0.01 for three pairs."""
    factors = [0.9 * math.exp(x) for x in (-0.01, 0.0, 0.01)]
    found = race([100 * f for f in factors], [100.0] * 3)
    assert found.verdict == "faster"
    assert found.saving is not None
    half = 4.302653 * 0.01 / math.sqrt(3)  # t(0.975, 2 degrees)
    assert found.saving.estimate == pytest.approx(0.1)
    assert found.saving.low == pytest.approx(1 - 0.9 * math.exp(half), abs=1e-6)
    assert found.saving.high == pytest.approx(1 - 0.9 * math.exp(-half), abs=1e-6)
    assert found.more_pairs is None
    assert "Yes, by 10.00 %" in found.sentences()[0]


def test_a_clear_loss_is_called_slower() -> None:
    found = race([120.0, 121.0, 119.5], [100.0, 100.2, 99.9])
    assert (found.verdict, found.more_pairs) == ("slower", None)
    assert "slower by 20" in found.sentences()[0]
    assert found.p_faster is not None
    assert found.p_faster > 0.99


def test_noise_is_undecided_and_says_what_would_settle_it() -> None:
    found = race([99.0, 101.5, 98.0, 100.2], [100.0, 100.1, 100.3, 99.8])
    assert found.verdict == "undecided"
    assert found.more_pairs is not None
    assert found.more_pairs > 10
    assert f"campaign of {4 + found.more_pairs} pairs" in " ".join(found.sentences())


def test_one_pair_shows_nothing() -> None:
    found = race([90.0], [100.0])
    assert (found.verdict, found.saving, found.p_faster, found.more_pairs) == ("undecided", None, None, None)
    assert found.ratio == pytest.approx(0.9)
    assert "Cannot be told from 1 pair" in found.sentences()[0]
    assert compare([], [], dropped=2, alpha=0.01, margin_nats=0.002) is None


def test_pairs_without_any_spread_show_nothing() -> None:
    """The same ratio to the last bit comes from a copied file, not from a clock."""
    found = race([90.0, 90.0, 90.0], [100.0, 100.0, 100.0])
    assert (found.verdict, found.saving) == ("undecided", None)


def test_equal_loss_must_be_shown() -> None:
    near = [(3.0 + x, 3.0 + y) for x, y in [(0.0, 0.0002), (0.001, 0.0009), (0.0021, 0.002), (0.003, 0.0031)]]
    wide = [(3.0 + x, 3.0 + y) for x, y in [(0.0, 0.005), (0.004, 0.0), (0.0, 0.0041), (0.003, 0.0)]]
    times_s = ([1.0, 1.1, 1.2, 1.3], [1.0, 1.11, 1.19, 1.31])
    assert race(*times_s, losses=near).equal_loss
    assert not race(*times_s, losses=wide).equal_loss, "no difference seen is no equality shown"
    assert not race([1.0], [1.1], losses=[(3.0, 3.0)]).equal_loss
    assert race(*times_s, losses=[(a, a) for a, _ in near]).equal_loss
    assert not race(*times_s, losses=[(a + 0.01, a) for a, _ in near]).equal_loss
    sentence = race(*times_s, losses=wide).sentences()[-1]
    assert "Not shown" in sentence
    assert "0.002 nats" in sentence


@given(st.lists(st.tuples(times, times, losses, losses), min_size=1, max_size=9))
def test_the_arms_exchanged_give_the_mirror_image(rows: list[tuple[float, float, float, float]]) -> None:
    args: dict[str, Any] = {"dropped": 0, "alpha": 0.01, "margin_nats": 0.01}
    one = compare([(a, b) for a, b, _, _ in rows], [(x, y) for _, _, x, y in rows], **args)
    other = compare([(b, a) for a, b, _, _ in rows], [(y, x) for _, _, x, y in rows], **args)
    assert one is not None
    assert other is not None
    assert other.verdict == {"faster": "slower", "slower": "faster", "undecided": "undecided"}[one.verdict]
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert (one.p_faster, one.p_slower) == (other.p_slower, other.p_faster)
    assert one.equal_loss == other.equal_loss
    assert one.more_pairs == other.more_pairs
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in one.sentences())


def test_two_identical_scripts_are_rarely_called_different() -> None:
    """Node offset and drift in each of 2,000 campaigns: at most the nominal 1 % each way, and its sampling error."""
    rng = random.Random(1)
    verdicts = []
    for _ in range(2000):
        offset, drift = rng.uniform(0.9, 1.1), rng.gauss(0, 0.002)
        candidate, baseline = [], []
        for pair in range(6):
            places = (0, 1) if pair % 2 == 0 else (1, 0)  # ABBA
            at = [offset * math.exp(drift * (2 * pair + place) + rng.gauss(0, 0.00113)) for place in places]
            candidate.append(at[0])
            baseline.append(at[1])
        verdicts.append(race(candidate, baseline).verdict)
    for verdict in ("faster", "slower"):
        assert verdicts.count(verdict) / 2000 < 0.01 + 3 * math.sqrt(0.01 * 0.99 / 2000)


def test_a_script_that_is_two_percent_slower_is_found_with_as_many_pairs_as_were_said() -> None:
    rng = random.Random(2)
    found = 0
    for _ in range(200):
        candidate, baseline = noisy(rng, 8, 102, 0.005), noisy(rng, 8, 100, 0.005)
        found += race(candidate, baseline).verdict == "slower"
    assert found > 180
