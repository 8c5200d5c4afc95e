"""The exchange of nats for the risk of being found: honest models pay nothing or little, a hidden leak does not pay."""

import pytest

from benchmarks.leak_exchange import AFTER, BEFORE, measure


def test_what_arithmetic_repeats_pays_nothing() -> None:
    assert measure(AFTER, (0.0, 0.0, 0.0), 10, 0) == {"escapes": 1.0, "charged": 0.0}


@pytest.mark.parametrize(("noise", "leak"), [(0.004, 0.01), (0.006, 0.015)])
def test_a_leak_in_noise_was_free_and_costs_more_than_it_brings(noise: float, leak: float) -> None:
    assert measure(BEFORE, (noise, leak, 1.0), 10, 0) == {"escapes": 1.0, "charged": 0.0}
    assert measure(AFTER, (noise, leak, 1.0), 10, 0)["charged"] > leak
