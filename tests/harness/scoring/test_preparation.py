"""What PREPARE costs: by the cores, beyond a launch and the allowance; what cannot be counted costs its most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.formats.prepare import Prepare, Work
from harness.formats.track import load_track
from harness.scoring import preparation

NANO = load_track("nano-2cpu")
NS = 10**9
TIMES = st.integers(0, 10**12)


@given(TIMES, TIMES, st.integers(1, 64))
def test_a_charge_is_what_every_core_did_beyond_the_allowance(cpu_ns: int, launch_ns: int, cores: int) -> None:
    prepare = Prepare(cpu_ns=cpu_ns, counted_by="control group", cores=cores, launch_cpu_ns=launch_ns)
    (charge,) = preparation.of_prepare(prepare, NANO.budget)
    assert abs(charge.charged_ns - max(0, cpu_ns - launch_ns - 2 * NS) / cores) <= 1
    assert bool(preparation.told((charge,), prepare)) == (charge.charged_ns > 0)


def test_where_prepare_is_free_nothing_is_charged() -> None:
    prepare = Prepare(cpu_ns=10**12, counted_by="control group", cores=2)
    assert preparation.of_prepare(prepare, NANO.budget) == ()  # no launch was measured: `verify` misses it
    free = NANO.budget.model_copy(update={"prepare_free_cpu_s": None})
    assert preparation.of_prepare(prepare.model_copy(update={"launch_cpu_ns": 1}), free) == ()
    assert preparation.of_prepare(None, NANO.budget) == ()


def test_a_charged_run_says_what_it_did_and_what_mends_it() -> None:
    prepare = Prepare(cpu_ns=31 * NS, counted_by="wall clock", cores=2, launch_cpu_ns=3 * NS)
    charges = preparation.of_prepare(prepare, NANO.budget)
    (sentence,) = preparation.told(charges, prepare)
    for part in (
        "31.00 s of processor time at most",
        "3.00 s to start",
        "2.00 s more",
        "13.00 s on every core",
        "less",
    ):
        assert part in sentence


@pytest.mark.parametrize(
    ("before", "after", "world_size", "broken"),
    [(64, 0, 2, False), (65, 0, 2, True), (65, 6500, 2, False), (66, 6500, 2, True), (32, 64, 1, False)],
)
def test_training_before_go_is_bounded(before: int, after: int, world_size: int, broken: bool) -> None:
    prepare = Prepare(
        cpu_ns=1, counted_by="control group", cores=2, before_go=Work(passes=before), after_go=Work(passes=after)
    )
    found = preparation.findings(prepare, NANO.rules, world_size)
    assert [finding.id for finding in found] == ["work_before_go"] * broken
    unbounded = NANO.rules.model_copy(update={"before_go_share": None})
    assert preparation.findings(prepare, unbounded, world_size) == []
