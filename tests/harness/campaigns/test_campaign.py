"""A plan is fixed: its order, its seeds, and which endings fill a slot."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.campaigns.campaign import MAX_RUNS, Plan, draw_slots, fills_slot, make_plan
from harness.errors import UserError
from harness.formats.submission import read_submission
from harness.formats.track import load_track
from harness.status import Status

ROOT = Path(__file__).resolve().parents[3]
REPEATED = {
    "abandoned", "interrupted", "terminated", "disk_full", "machine_busy", "data_invalid", "sandbox_failed",
    "referee_failed", "judge_failed", "machine_failed", "started",
}  # fmt: skip


def a_plan(runs: int = 3, arms: int = 2, **changes: Any) -> Plan:
    submission = read_submission(ROOT / "tests" / "submissions" / "bigram.py")
    values: dict[str, Any] = {
        "track": load_track(str(ROOT / "tests" / "tracks" / "tiny")),
        "candidate": submission,
        "baseline": submission if arms == 2 else None,
        "runs": runs,
        "world_size": 2,
        "device": "cpu",
        "sandbox": "process",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return make_plan(**(values | changes))


def test_two_arms_alternate_and_their_pairs_share_a_seed() -> None:
    plan = a_plan(runs=4)
    assert "".join("AB"[slot.arm == "baseline"] for slot in plan.slots) == "ABBAABBA"
    for pair in range(4):
        first, second = (slot for slot in plan.slots if slot.pair == pair)
        assert first.seed == second.seed
        assert {first.arm, second.arm} == {"candidate", "baseline"}
    assert plan.purpose == "compare"


def test_one_arm_runs_in_a_row() -> None:
    plan = a_plan(runs=5, arms=1)
    assert [slot.arm for slot in plan.slots] == ["candidate"] * 5
    assert [slot.pair for slot in plan.slots] == [None] * 5
    assert plan.purpose == "runs"
    assert plan.arm("baseline") is None


@given(runs=st.integers(1, 40), arms=st.integers(1, 2))
def test_a_plan_survives_its_way_through_json_and_no_seed_comes_twice(runs: int, arms: int) -> None:
    plan = a_plan(runs, arms)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert len(set(plan.seeds)) == plan.runs_per_arm == runs
    assert len(plan.slots) == runs * arms


def test_plans_do_not_share_seeds() -> None:
    """A generator with a fixed start would give everybody the same ones."""
    assert set(a_plan(runs=20).seeds).isdisjoint(a_plan(runs=20).seeds)


@pytest.mark.parametrize("runs", [0, -1, MAX_RUNS + 1])
def test_impossible_numbers_of_runs_are_refused(runs: int) -> None:
    with pytest.raises(UserError, match="expected 1 to 1000 runs"):
        a_plan(runs)


def swap(raw: dict[str, Any], first: int, second: int) -> None:
    raw["slots"][first], raw["slots"][second] = raw["slots"][second], raw["slots"][first]


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "slots in another order": lambda raw: swap(raw, 0, 1),
    "an order that is not ABBA": lambda raw: [
        slot.update(arm=arm) for slot, arm in zip(raw["slots"][2:4], ("candidate", "baseline"), strict=True)
    ],
    "misnumbered": lambda raw: raw["slots"][1].update(index=7),
    "a slot less": lambda raw: raw["slots"].pop(),
    "another seed in a pair": lambda raw: raw["slots"][1].update(seed=5),
    "a pair renamed": lambda raw: raw["slots"][1].update(pair=2),
    "one seed for all": lambda raw: [slot.update(seed=5) for slot in raw["slots"]],
    "arms turned round": lambda raw: raw["arms"].reverse(),
    "an arm twice": lambda raw: raw["arms"][1].update(arm="candidate"),
    "no slots": lambda raw: raw.update(slots=[]),
    "an unknown key": lambda raw: raw.update(extra=1),
    "a later schema": lambda raw: raw.update(schema_version=2),
    "a name with a path": lambda raw: raw.update(campaign_id="../../x"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_plan_that_no_harness_drew_is_refused(case: str) -> None:
    raw = a_plan().model_dump(mode="python")
    raw = {**raw, "slots": list(raw["slots"]), "arms": list(raw["arms"])}
    FORGED[case](raw)
    with pytest.raises(ValidationError):
        Plan.model_validate({**raw, "slots": tuple(raw["slots"]), "arms": tuple(raw["arms"])})


def test_slots_follow_from_seeds() -> None:
    plan = a_plan()
    assert draw_slots(plan.seeds, 2) == plan.slots


@pytest.mark.parametrize("status", Status)
def test_what_the_machine_or_a_signal_ended_is_repeated_and_all_else_counts(status: Status) -> None:
    assert fills_slot(status) == (status.value not in REPEATED)
