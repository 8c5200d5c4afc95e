"""Whether a machine is fit for a race: two runs against a record's own, and what campaigns state of it afterwards."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaigns import fitness, step_times
from harness.campaigns.bundle import read_bundle
from harness.campaigns.campaign import Plan
from harness.campaigns.comparable import machine_fingerprint
from harness.campaigns.fitness import RaceFacts, checked_run, expected_time, judge
from harness.campaigns.newest_check import newest_check
from harness.errors import RecordError
from harness.formats import environment, layout
from harness.formats.load import MachineLoad
from harness.formats.node_check import CheckedRun, CpuLimits, NodeCheck, read_node_check, write_node_check
from harness.formats.run import RunRecord, owner
from harness.formats.track import load_track
from harness.status import Status

NS, NOW = 10**9, datetime(2026, 11, 28, 12, tzinfo=UTC)
TWO_CORES = CpuLimits(needed_cores=2)
TRACK = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
RECORD_TIMES = (2.0, 2.02, 1.98, 2.01, 1.99, 2.0)


@pytest.fixture(scope="module")
def record_runs(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, ...]:
    """Six runs of an invented record."""
    folder = tmp_path_factory.mktemp("record") / "campaign"
    losses = tuple(5.0 + n / 100 for n in range(len(RECORD_TIMES)))
    return tuple(
        read_bundle(make_bundle(folder, candidate_times=RECORD_TIMES, candidate_losses=losses)).runs("candidate")
    )


def facts(runs: tuple[RunRecord, ...], *times_s: float | None, **changes: Any) -> RaceFacts:
    """A race of so many runs on the record's own machine."""
    first = runs[0]
    here = machine_fingerprint(first.environment, first.device, first.world_size)
    raced = tuple(
        CheckedRun(run_id=f"run {n}", status=Status.RANK_DIED if time_s is None else Status.COMPLETE, time_s=time_s)
        for n, time_s in enumerate(times_s)
    )
    made = RaceFacts(
        record="2026-01-03_It", record_runs=runs, here=here, cpu=TWO_CORES, runs=raced,
        sentences=tuple(f"sentence {n}" for n in range(len(raced))), race_ns=60 * NS,
    )  # fmt: skip
    return replace(made, **changes)


def test_two_runs_are_held_against_the_records_own(record_runs: tuple[RunRecord, ...]) -> None:
    expected = expected_time(record_runs)
    assert expected is not None
    assert (expected.runs, expected.further, expected.confidence) == (6, 2, 0.95)
    # ln-times have sd 0.00708; t of 5 degrees at 1 - 0.05 / 4 is 3.1634; 3.1634 * 0.00708 * sqrt(7 / 6) = 0.0242
    assert expected.low_s == pytest.approx(1.9522, abs=2e-4)
    assert expected.high_s == pytest.approx(2.0490, abs=2e-4)
    for times, verdict, words in (
        ((2.0, 2.04), "fit", "2.000 s and 2.040 s, took longer than 1.952 – 2.049 s (the 95% interval for 2 more runs"),
        ((1.0, 2.04), "fit", "like the record's 6); what is slower by less than 2.45 % can pass unseen"),
        ((2.0, 2.06), "undecided", "one of two runs"),
        ((4.0, 4.1), "slow", "by 100.0% of the mean at least"),
    ):
        found, reasons = judge(facts(record_runs, *times))
        assert (found, words in reasons[0]) == (verdict, True), reasons


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"record": None, "record_runs": ()}, "there is no record of this source here"),
        ({"older_rules": "1.1"}, "timed under rules 1.1"),
        ({"here": {"CPU model": "Another CPU"}}, "another machine (CPU model Invented CPU, here Another CPU)"),
        ({"here": {"GPUs": "8x NVIDIA H100"}}, "another machine (GPUs none, here 8x NVIDIA H100)"),
        ({"here": {"CPU cores": "64"}}, "not comparable"),
    ],
)
def test_what_cannot_be_compared_decides_nothing_and_says_why(
    record_runs: tuple[RunRecord, ...], changes: dict[str, Any], words: str
) -> None:
    assert fitness.foreseen(facts(record_runs, **changes)) is None
    verdict, reasons = judge(facts(record_runs, 4.0, 4.1, **changes))
    assert verdict == "undecided"
    assert words in reasons[0]
    assert "4.000 s and 4.100 s" in reasons[0]


def test_one_run_has_no_interval_and_two_far_apart_have_a_useless_one(record_runs: tuple[RunRecord, ...]) -> None:
    one = judge(facts(record_runs[:1], 2.0, 2.0))
    assert one == ("undecided", ("two runs took 2.000 s and 2.000 s; the record has 1 run, and one run has no spread",))
    verdict, (reason, *_) = judge(facts(record_runs[:1] * 3, 2.0, 2.0))
    assert (verdict, "the record has 3 runs, and their times allow no interval" in reason) == ("undecided", True)
    wide = (
        record_runs[0],
        record_runs[1].model_copy(update={"phases": record_runs[1].phases.model_copy(update={"train_ns": 3 * NS})}),
    )
    verdict, (reason, *_) = judge(facts(wide, 2.4, 2.5))
    assert (verdict, "too wide to tell a slow machine" in reason) == ("undecided", True)


def test_a_run_that_does_not_count_decides_nothing(record_runs: tuple[RunRecord, ...]) -> None:
    found = judge(facts(record_runs, 2.0, None))
    assert found == ("undecided", ("expected 2 runs that count, found 1: sentence 1",))


def test_a_run_that_was_ended_can_show_that_it_took_too_long_and_never_that_it_did_not(
    record_runs: tuple[RunRecord, ...],
) -> None:
    made = facts(record_runs, None, 2.0)
    ended = made.runs[0].model_copy(update={"status": Status.TRAIN_TIMEOUT, "at_least_s": 30.0})
    unscored = made.runs[0].model_copy(update={"status": Status.SCORE_TIMEOUT, "at_least_s": 2.0})
    verdict, (reason,) = judge(replace(made, runs=(ended, ended)))
    assert (verdict, "30.00 s or more and 30.00 s or more, took" in reason) == ("slow", True)
    assert "by 1400.0% of the mean" in reason
    for pair in ((ended, made.runs[1]), (unscored, made.runs[1]), (unscored, ended), (unscored, unscored)):
        counted = sum(run.time_s is not None for run in pair)
        assert judge(replace(made, runs=pair)) == (
            "undecided",
            (f"expected 2 runs that count, found {counted}: sentence 0",),
        )
    assert judge(replace(made, runs=(made.runs[1], made.runs[0])))[1][0].endswith("found 1: sentence 1")


def test_what_a_run_took_is_known_wherever_it_ended(record_runs: tuple[RunRecord, ...]) -> None:
    track, run = load_track(str(TRACK)), record_runs[0]
    assert run.time_ns is not None
    for status, time_s, at_least_s in (
        (Status.COMPLETE, run.time_ns / NS, None),
        (Status.SCORE_TIMEOUT, None, run.time_ns / NS),
        (Status.TRAIN_TIMEOUT, None, track.budget.train_s),
    ):
        found = checked_run(run.model_copy(update={"status": status}), track, ())
        assert (found.time_s, found.at_least_s) == (time_s, at_least_s)
    unstopped = run.phases.model_copy(update={"train_ns": None})
    found = checked_run(run.model_copy(update={"status": Status.RANK_DIED, "phases": unstopped}), track, ())
    assert (found.time_s, found.at_least_s) == (None, None)


def test_a_quota_below_the_cores_is_slow_without_a_race_and_one_sentence_says_so(
    record_runs: tuple[RunRecord, ...],
) -> None:
    half = TWO_CORES.model_copy(update={"quota_cores": 1.0, "quota_file": "/sys/fs/cgroup/a/cpu.max"})
    sentence = (
        "expected 2 whole cores for a run, found a CPU quota of 1.00 cores (50% of them) in /sys/fs/cgroup/a/cpu.max; "
        "lift it, or take another machine"
    )
    assert fitness.foreseen(facts(record_runs, cpu=half)) == ("slow", (sentence,))
    verdict, reasons = judge(facts(record_runs, 2.0, 2.0, cpu=half))  # raced all the same
    assert (verdict, reasons[0], len(reasons)) == ("slow", sentence, 2)
    enough = half.model_copy(update={"quota_cores": 2.0})
    assert fitness.foreseen(facts(record_runs, cpu=enough)) is None
    gpus = {**facts(record_runs).here, "device": "cuda"}  # there, GPUs do the work: it is a cause at most
    assert fitness.foreseen(facts(record_runs, cpu=half, here=gpus)) is None
    assert judge(facts(record_runs, 2.0, 2.0, cpu=half, here=gpus))[0] == "undecided"
    assert "a CPU quota allows 1.00 of 2 cores" in judge(facts(record_runs, 2.0, 2.0, cpu=half, here=gpus))[1][1]


def test_causes_stand_behind_the_reason_and_decide_nothing(record_runs: tuple[RunRecord, ...]) -> None:
    load = MachineLoad(
        cores=2, wall_ns=10 * NS, own_ns=0, referee_ns=0, others_ns=NS, steal_ns=0, throttled_ns=None, waiting_ns=None,
        gpu_sm_mhz=1980.0,
    )  # fmt: skip
    runs = tuple(run.model_copy(update={"load": load}) for run in record_runs)
    cpu = CpuLimits(
        needed_cores=2, throttled_periods=7, throttled_ns=6 * NS, others_share=0.4, governor="powersave",
        clock_limit_mhz=1200.0, clock_most_mhz=3500.0,
    )  # fmt: skip
    made = facts(runs, 2.0, 2.0, cpu=cpu, bad_pairs=("driver and torch",))
    raced = tuple(run.model_copy(update={"available": 0.8, "gpu_sm_mhz": 1500.0}) for run in made.runs)
    here = {**made.here, "torch": "2.13.0"}
    verdict, reasons = judge(replace(made, runs=raced, here=here))
    assert verdict == "fit"
    assert reasons[1:] == (
        "a CPU quota held processes back in 7 periods, for 6.000 s of core time in 60.00 s",
        "driver and torch",
        "other processes had 40% of the machine's cores meanwhile",
        "a run could have 80% of its cores' time, the record's runs at least 95%; other processes, the hypervisor or a "
        "quota had the rest",
        "the GPUs ran at 1,500 MHz, in the record's runs at 1,980 MHz or more",
        "the CPU's clock is held to 1,200 of 3,500 MHz, governor powersave",
        "torch of the record's runs was 2.9.0, here it is 2.13.0",
    )
    usual = tuple(run.model_copy(update={"available": 0.94, "gpu_sm_mhz": 1960.0}) for run in made.runs)
    little = TWO_CORES.model_copy(update={"throttled_periods": 1, "throttled_ns": NS})
    assert len(judge(replace(made, runs=usual, cpu=little, bad_pairs=()))[1]) == 1


def test_a_driver_that_lets_nothing_start_needs_no_race(record_runs: tuple[RunRecord, ...]) -> None:
    found = fitness.foreseen(facts(record_runs, starts=False, bad_pairs=("too old",)))
    assert found == ("undecided", ("too old",))


@given(st.lists(st.floats(1.0, 1e4), min_size=2, max_size=2), st.floats(0.01, 100.0))
def test_a_verdict_knows_no_units(record_runs: tuple[RunRecord, ...], times: list[float], scale: float) -> None:
    """The same share slower or faster is the same verdict, in seconds as in minutes; slower never makes it fit."""

    def scaled(run: RunRecord) -> RunRecord:
        train_ns = round(1e6 * scale * (run.phases.train_ns or 0))
        return run.model_copy(update={"phases": run.phases.model_copy(update={"train_ns": train_ns}), "charges": ()})

    plain = tuple(run.model_copy(update={"charges": ()}) for run in record_runs)
    verdict, _ = judge(facts(plain, *times))
    large = tuple(scaled(run) for run in plain)
    assert judge(facts(large, *(1e6 * scale * time for time in times)))[0] == verdict
    order = ("fit", "undecided", "slow")
    slower = judge(facts(plain, *(1.5 * time for time in times)))[0]
    assert order.index(slower) >= order.index(verdict)


def test_steps_are_timed_by_thirds_of_the_steps() -> None:
    steady = [(step, step * 10**7 + 5 * NS) for step in range(0, 31)]  # 10 ms each
    late = [(30 + n, 5 * NS + 30 * 10**7 + n * 10**8) for n in range(1, 16)]  # then 100 ms
    found = step_times.step_times([tuple(steady + late)])
    assert [(times.phase, times.median_ms, times.intervals) for times in found] == [
        ("begin", 10.0, 15), ("middle", 10.0, 15), ("end", 100.0, 15)
    ]  # fmt: skip
    assert (found[0].low_ms, found[0].high_ms) == (10.0, 10.0)
    assert [times.intervals for times in step_times.step_times([tuple(steady + late)] * 2)] == [30, 30, 30]
    assert step_times.step_times([(), ((1, 5),), ((3, 5), (2, 9)), ((1, 5), (40, 9)), ((1, 5), (3, 6), (5, 7))]) == ()
    assert step_times.in_words(found[2]) == "100 ms (100 to 100)"


whole = st.integers(-(2**70), 2**70)


@given(st.lists(st.lists(st.tuples(whole, whole), max_size=12).map(tuple), max_size=3), st.binary(max_size=80))
def test_whatever_a_submission_reports_is_timed_or_left_out(curves: list[step_times.Curve], torn: bytes) -> None:
    for times in step_times.step_times([*curves, step_times.read_curve(torn)]):
        assert 0 <= times.low_ms <= times.median_ms <= times.high_ms


def a_check(**changes: Any) -> NodeCheck:
    """Of this very machine."""
    here = environment.collect()
    machine = {key: value for key, value in machine_fingerprint(here, "cpu", 2).items() if value is not None}
    return NodeCheck(
        verdict="slow", reasons=("a quota", "and more"), checked_at=NOW - timedelta(hours=3), owner=owner(),
        device="cpu", world_size=2, machine=machine, gpu_uuids=tuple(gpu.uuid for gpu in here.gpus), track="tiny",
        record="2026-01-03_It", submission_sha256="ab" * 32, campaign_id=None, cpu=TWO_CORES,
    ).model_copy(update=changes)  # fmt: skip


def test_a_check_of_this_machine_is_stated_with_its_age(tmp_path: Path) -> None:
    assert newest_check(tmp_path, NOW) == (None, "none; `speedrun doctor --race` makes one")
    check = a_check()
    assert read_node_check(write_node_check(check, tmp_path / "new").parent) == check
    assert newest_check(tmp_path / "new", NOW) == (check.kept, "slow, 3.0 h ago, by tiny/2026-01-03_It: a quota")


def test_a_check_of_elsewhere_of_other_software_or_of_tomorrow_is_not_used(tmp_path: Path) -> None:
    check = a_check()
    boot = {"boot_id": "0" * 36, "machine_id": "1" * 16}
    for changes, words in (
        ({"owner": check.owner.model_copy(update={**boot, "host": "node-7"})}, "another machine, node-7"),
        ({"machine": {**check.machine, "torch": "1.0"}}, "torch was 1.0 then"),
        ({"machine": {**check.machine, "CPU model": "Another"}}, "CPU model was Another then"),
        ({"gpu_uuids": ("GPU-1",)}, "other GPUs of the same model"),
        ({"checked_at": NOW + timedelta(minutes=1)}, "still to come"),
    ):
        write_node_check(check.model_copy(update=changes), tmp_path)
        line, told = newest_check(tmp_path, NOW)
        assert (line, words in told, told.startswith("not used")) == (None, True, True), told


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000, b"\xff", b"{" + b" " * 2**20 + b"}"])
def test_a_broken_check_is_refused_and_stops_no_campaign(tmp_path: Path, content: bytes) -> None:
    (tmp_path / layout.NODE_CHECK_FILE).write_bytes(content)
    with pytest.raises(RecordError):
        read_node_check(tmp_path)
    line, told = newest_check(tmp_path, NOW)
    assert (line, told.startswith("not used: ")) == (None, True)


def test_a_plan_keeps_the_line_and_is_written_as_before_without_it(make_bundle: Any, tmp_path: Path) -> None:
    plan = read_bundle(make_bundle(tmp_path / "campaign")).plan
    assert "node_check" not in plan.model_dump(mode="json")
    kept = a_check(checked_at=plan.created_at).kept
    having = plan.model_copy(update={"node_check": kept})
    assert Plan.model_validate_json(having.model_dump_json()) == having
    late = json.loads(having.model_dump_json())
    late["node_check"]["checked_at"] = (plan.created_at + timedelta(seconds=1)).isoformat()
    with pytest.raises(ValueError, match="from before the plan"):
        Plan.model_validate_json(json.dumps(late))
