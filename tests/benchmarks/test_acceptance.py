"""The simulated campaigns, a tenth as many: the harness keeps its rates, and what others do is as bad as is said."""

import numpy as np
import pytest

from benchmarks.acceptance import NODE, Rate, Simulation, table

REPETITIONS = 1000
OTHERS = {  # per cent, from the field's own simulation
    "stop at p < 0.01, t, 3 to 10": 3.8,
    "stop at p < 0.01, t, 4 to 20": 4.7,
    "stop at p < 0.01, t, 3 to 30": 6.2,
    "stop at p < 0.001, z, 3 to 30": 0.7,
    "the best 10 of 12": 9.5,
    "the best 10 of 15": 38,
    "the best 10 of 20": 81,
}


@pytest.fixture(scope="module")
def rates() -> list[Rate]:
    return list(Simulation(REPETITIONS, seed=5).rates())


def test_no_false_claim_beyond_alpha_and_no_true_one_missed_beyond_plan(rates: list[Rate]) -> None:
    bounded = [rate for rate in rates if rate.at_most is not None or rate.at_least is not None]
    assert len(bounded) >= 18
    assert {rate.group for rate in bounded} == {"harness", "looking"}
    assert [rate.claim for rate in rates if not rate.holds] == []


@pytest.mark.parametrize(("claim", "percent"), OTHERS.items())
def test_what_others_do_is_as_wrong_as_is_said(rates: list[Rate], claim: str, percent: float) -> None:
    (rate,) = (rate.rate for rate in rates if claim in rate.claim)
    share = percent / 100
    assert rate == pytest.approx(share, abs=4 * (share * (1 - share) / REPETITIONS) ** 0.5)


def test_arms_apart_find_gains_that_are_not_there(rates: list[Rate]) -> None:
    apart = [rate.rate for rate in rates if "Welch" in rate.claim]
    assert len(apart) == 2
    assert min(apart) > 0.1


def test_a_broken_bound_is_seen() -> None:
    broken = Rate(group="harness", claim="x", rate=0.05, repetitions=1000, at_most=0.01)
    missed = Rate(group="harness", claim="y", rate=0.8, repetitions=1000, at_least=0.9)
    fine = Rate(group="harness", claim="z", rate=0.012, repetitions=1000, at_most=0.01)
    assert [rate.holds for rate in (broken, missed, fine)] == [False, False, True]
    assert table([broken, fine]).count("BROKEN") == 1


def test_the_same_seed_gives_the_same_noise() -> None:
    first, second = (NODE.log_times(np.random.default_rng(1), 3, 4) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.ptp(first.mean(axis=1)) > 1e-3  # an offset of each sitting
