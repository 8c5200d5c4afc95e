"""Relations: what cannot have happened is found by the finding that names it, though the whole chain holds."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.campaigns import ledger
from harness.campaigns.bundle import read_bundle
from harness.campaigns.copies import copied
from harness.campaigns.relations import RELATIONS, table
from harness.formats.load import MachineLoad
from harness.formats.run import Charge, Phases, Repeats, RunRecord, Stamps
from harness.status import Status
from harness.system import clock

DOCS = Path(__file__).resolve().parents[3] / "docs" / "relations.md"
SECOND = 10**9
Edit = Callable[[RunRecord], RunRecord]


def some(run: RunRecord, **update: Any) -> RunRecord:
    return run.model_copy(update=update)


def late(seconds: float) -> Edit:
    """The whole run at another time of the wall clock."""
    by = timedelta(seconds=seconds)

    def edit(run: RunRecord) -> RunRecord:
        assert run.finished_at is not None
        return some(run, started_at=run.started_at + by, finished_at=run.finished_at + by)

    return edit


def stamped(**by_ns: int) -> Edit:
    """Stamps moved by so much, with the phases they give."""

    def edit(run: RunRecord) -> RunRecord:
        assert run.stamps is not None
        moved = {name: getattr(run.stamps, name) + by for name, by in by_ns.items()}
        stamps = run.stamps.model_copy(update=moved)
        return some(run, stamps=stamps, phases=Phases.of(stamps, run.phases.score_ns))

    return edit


def scored(**update: Any) -> Edit:
    return lambda run: some(run, score=run.score and run.score.model_copy(update=update))


def probed(**update: Any) -> Edit:
    return lambda run: scored(probes=run.score and run.score.probes.model_copy(update=update))(run)


def shadowed(**update: Any) -> Edit:
    def edit(run: RunRecord) -> RunRecord:
        assert run.score is not None
        assert run.score.shadow is not None
        return scored(shadow=run.score.shadow.model_copy(update=update))(run)

    return edit


def a_gap_of_nothing_beside_two_nats(run: RunRecord) -> RunRecord:
    assert run.score is not None
    return shadowed(val_loss=round(run.score.val_loss + 2, 7), gap=0.0)(run)


def one_long_window(run: RunRecord) -> RunRecord:
    assert run.score is not None
    score = run.score
    windows = score.windows.model_copy(
        update={"tokens": score.count, "loss_sums": [score.loss_sum], "counts": [score.count]}
    )
    return scored(windows=windows, eval_batch=1)(run)


def negative(run: RunRecord) -> RunRecord:
    """Every number of the exam changes its sign, and all sums hold."""
    assert run.score is not None
    score = run.score
    windows = score.windows.model_copy(update={"loss_sums": [-part for part in score.windows.loss_sums]})
    return scored(windows=windows, loss_sum=-score.loss_sum, val_loss=-score.val_loss)(run)


def charged(kind: Any, measured_ns: int) -> Edit:
    return lambda run: some(run, charges=(Charge.of(kind, measured_ns, 0),))


def other_environment(**update: Any) -> Edit:
    return lambda run: some(run, environment=run.environment.model_copy(update=update))


LOAD = MachineLoad(
    cores=2, wall_ns=10 * SECOND, own_ns=0, referee_ns=0, others_ns=0, steal_ns=0, throttled_ns=None, waiting_ns=None
)
REPEATS = Repeats(pairs=2, max_abs_difference=0.01, mean_abs_difference=0.02)
CASES: dict[str, tuple[str, Edit]] = {
    "ends before it begins": (
        "run_ends_before_it_begins",
        lambda run: some(run, finished_at=run.started_at - timedelta(seconds=1)),
    ),
    "begins before its name": ("run_named_after_its_start", late(-1)),
    "a name of no date": ("run_named_after_its_start", lambda run: some(run, run_id="2026-99" + run.run_id[7:])),
    "GO before the start": ("stamps_out_of_order", stamped(start_ns=9 * SECOND)),
    "dead before STOP": ("stamps_out_of_order", stamped(dead_ns=-SECOND)),
    "no time to train": ("stamps_out_of_order", lambda run: stamped(stop_ns=-(run.phases.train_ns or 0))(run)),
    "complete without a death": (
        "complete_run_lacks_times",
        lambda run: some(run, stamps=run.stamps and run.stamps.model_copy(update={"dead_ns": None})),
    ),
    "complete without scoring": (
        "complete_run_lacks_times",
        lambda run: some(run, phases=run.phases.model_copy(update={"score_ns": None})),
    ),
    "complete without an end": ("complete_run_lacks_times", lambda run: some(run, finished_at=None)),
    "shorter than its phases": (
        "run_shorter_than_its_phases",
        lambda run: some(run, finished_at=run.started_at + timedelta(seconds=1)),
    ),
    "an exam longer than scoring": ("exam_longer_than_scoring", scored(eval_ns=3 * SECOND)),
    "an exam of no time": ("exam_longer_than_scoring", scored(eval_ns=0)),
    "an answer longer than scoring": ("exam_longer_than_scoring", charged("first_answer", 3 * SECOND)),
    "more cores than there are": ("prepared_more_than_its_cores", charged("prepare", 10 * SECOND)),
    "trained beyond the budget": ("beyond_a_limit", stamped(stop_ns=40 * SECOND, dead_ns=40 * SECOND)),
    "weights beyond the budget": (
        "beyond_a_limit",
        lambda run: some(run, weights=run.weights and run.weights.model_copy(update={"bytes": 10**9})),
    ),
    "negative losses": ("negative_loss", negative),
    "a negative shadow": (
        "negative_loss",
        lambda run: shadowed(val_loss=-1.0, gap=round(-1.0 - run.score.val_loss, 7))(run) if run.score else run,
    ),
    "a mean above its maximum": ("mean_above_maximum", probed(mean_abs_difference=0.01)),
    "a mean of repeats above its maximum": ("mean_above_maximum", probed(repeat=REPEATS)),
    "a negative mean": ("mean_above_maximum", probed(mean_abs_difference=-1e-9)),
    "a gain of nothing": ("gain_beyond_its_probes", probed(gain=0.2, gain_standard_error=0.0)),
    "a gain without an error": ("gain_beyond_its_probes", probed(gain=0.0, gain_standard_error=None)),
    "no gains": ("leak_is_not_charged", probed(last_gain=None)),
    "no gain of state": ("leak_is_not_charged", probed(state_gain=None, state_gain_standard_error=None)),
    "a charge that does not follow": ("leak_is_not_charged", scored(leak_nats=0.001)),
    "a gain that is not charged": ("leak_is_not_charged", probed(max_abs_difference=0.04, last_gain=0.01)),
    "a last gain of nothing": ("leak_is_not_charged", probed(last_gain=-0.2)),
    "a state gain of nothing": ("leak_is_not_charged", probed(state_gain=-0.2)),
    "a last gain without an error": ("leak_is_not_charged", probed(last_gain_standard_error=None)),
    "a gap of 0 beside losses two nats apart": ("gap_is_no_difference", a_gap_of_nothing_beside_two_nats),
    "a gap without an error": ("gap_error_below_its_windows", shadowed(standard_error=None)),
    "a gap surer than its windows": ("gap_error_below_its_windows", shadowed(standard_error=1e-6)),
    "windows longer than allowed": ("windows_are_not_the_tracks", one_long_window),
    "batches larger than allowed": ("windows_are_not_the_tracks", scored(eval_batch=10**6)),
    "one probe": ("fewer_probes_than_the_tracks", probed(pairs=1)),
    "no order probes": ("fewer_probes_than_the_tracks", probed(order=None)),
    "no shadow text": ("shadow_is_not_the_tracks", scored(shadow=None)),
    "little shadow text": ("shadow_is_not_the_tracks", shadowed(count=1)),
    "shadow text that is known": ("shadow_is_not_the_tracks", shadowed(source="rest")),
    "a finding untold": ("untold_finding", probed(max_abs_difference=0.5)),
    "a gap untold": (
        "untold_finding",
        lambda run: shadowed(val_loss=round(run.score.val_loss + 2, 7), gap=2.0)(run) if run.score else run,
    ),
    "another loss in words": (
        "sentence_tells_another_loss",
        lambda run: some(run, sentence="val_loss 3.1415 after 2.000 s of training"),
    ),
    "a load of no time": (
        "machine_did_the_impossible",
        lambda run: some(run, load=LOAD.model_copy(update={"wall_ns": 5})),
    ),
    "a load of more cores": (
        "machine_did_the_impossible",
        lambda run: some(run, load=LOAD.model_copy(update={"cores": 9})),
    ),
    "more than whole cores": (
        "machine_did_the_impossible",
        lambda run: some(run, load=LOAD.model_copy(update={"others_ns": 10**12})),
    ),
    "a load left out": ("load_of_some_runs", lambda run: some(run, load=LOAD)),
    "a shard left out": ("data_is_not_the_tracks", lambda run: some(run, data=dict(list(run.data.items())[1:]))),
    "a digest of no permutation": ("relabelling_without_digest", lambda run: some(run, relabelling_sha256="0" * 64)),
    "no cores": ("impossible_machine", other_environment(cpu_cores=0)),
    "weights of no bytes": (
        "empty_weights",
        lambda run: some(run, weights=run.weights and run.weights.model_copy(update={"bytes": 0})),
    ),
    "begins before its plan": ("run_outside_its_attempt", late(-1000)),
    "ends after its outcome": ("run_outside_its_attempt", late(1000)),
    "overlaps": (
        "runs_overlap",
        stamped(start_ns=-15 * SECOND, go_ns=-15 * SECOND, stop_ns=-15 * SECOND, dead_ns=-15 * SECOND),
    ),
    "a day on the raw clock": (
        "clocks_disagree",
        stamped(start_ns=86400 * SECOND, go_ns=86400 * SECOND, stop_ns=86400 * SECOND, dead_ns=86400 * SECOND),
    ),
    "another processor, one boot": ("one_boot_of_two_machines", other_environment(cpu_model="Another")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_cannot_have_been_is_named_in_the_arm_nobody_looks_at(
    make_bundle: Any, tmp_path: Path, case: str
) -> None:
    expected, edit = CASES[case]
    folder = make_bundle(
        tmp_path / "campaign", baseline_times=(2.2, 2.3, 2.4, 2.5), baseline_losses=(5.0, 5.1, 5.2, 5.3),
        change=lambda run, slot: edit(run) if slot.pair == 1 and slot.arm == "baseline" else run,
    )  # fmt: skip
    findings = read_bundle(folder).findings
    assert expected in {finding.id for finding in findings if finding.severity == "error"}
    assert all(finding.expected and finding.found for finding in findings)


def exchanged(runs: list[RunRecord], name: str) -> Callable[[RunRecord, Any], RunRecord]:
    """A campaign in which the third run repeats what the first had."""

    def change(run: RunRecord, slot: Any) -> RunRecord:
        runs.append(run)
        return run.model_copy(update={name: getattr(runs[0], name)}) if slot.index == 2 else run

    return change


@pytest.mark.parametrize("name", ["score", "stamps"])
def test_two_runs_have_neither_secrets_nor_nanoseconds_in_common(make_bundle: Any, tmp_path: Path, name: str) -> None:
    found = read_bundle(make_bundle(tmp_path / "campaign", change=exchanged([], name))).findings
    assert "secrets_told_twice" in {finding.id for finding in found}


def test_a_curve_ends_with_its_run(bundles: Any, tmp_path: Path) -> None:
    def forge(text: str) -> set[str]:
        with pytest.MonkeyPatch.context() as patch:
            kept = Path.write_text
            patch.setattr(
                Path, "write_text", lambda path, content: kept(path, text if path.name == "progress.jsonl" else content)
            )
            folder = bundles.make_bundle(tmp_path / str(len(list(tmp_path.iterdir()))))
        return {finding.id for finding in read_bundle(folder).findings}

    line = '{{"step": 1, "elapsed_ns": {}, "train_loss": 6.0, "tokens": 10}}\n'
    assert forge(line.format(1) + line.format(10**9)) == set()
    assert forge(line.format(10**9) + line.format(1)) == {"curve_outside_the_run"}
    assert forge(line.format(10**12)) == {"curve_outside_the_run"}


def test_a_ledger_does_not_go_back_in_time(make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ledger.Writer.close

    def close_early(writer: ledger.Writer, attempts: int, languages: str | None = None) -> None:
        with mock.patch.object(clock, "utc_now", return_value=kept_now() - timedelta(days=365)):
            kept(writer, attempts, languages)

    kept_now = clock.utc_now
    monkeypatch.setattr(ledger.Writer, "close", close_early)
    found = read_bundle(make_bundle(tmp_path / "campaign")).findings
    assert {finding.id for finding in found} == {"ledger_goes_back_in_time"}


def test_a_campaign_of_the_future(make_bundle: Any, tmp_path: Path) -> None:
    found = read_bundle(make_bundle(tmp_path / "campaign", created_at=clock.utc_now() + timedelta(days=3))).findings
    assert {finding.id for finding in found} == {"ledger_goes_back_in_time"}


def test_a_plan_is_named_after_its_time(bundles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = bundles.make_plan

    def forged(**given: Any) -> Any:
        return (plan := kept(**given)).model_copy(update={"created_at": plan.created_at - timedelta(days=1)})

    monkeypatch.setattr(bundles, "make_plan", forged)
    found = bundles.make_bundle(tmp_path / "campaign")
    assert "plan_named_after_its_time" in {finding.id for finding in read_bundle(found).findings}


def test_runs_of_two_campaigns_have_nothing_in_common(make_bundle: Any, tmp_path: Path) -> None:
    one = [attempt.run for attempt in read_bundle(make_bundle(tmp_path / "one")).attempts]
    two = [attempt.run for attempt in read_bundle(make_bundle(tmp_path / "two")).attempts]
    assert list(copied(two, [("one", one)])) == []
    for name in ("run_id", "weights", "score"):
        forged = [two[0].model_copy(update={name: getattr(one[1], name)}), *two[1:]]
        assert [finding.id for finding in copied(forged, [("one", one)])] == ["copied_run"]
    on_one_machine = two[0].model_copy(update={"owner": one[0].owner, "stamps": moved(one[0].stamps, SECOND)})
    assert [finding.id for finding in copied([on_one_machine], [("one", one)])] == ["runs_overlap"]
    later = two[0].model_copy(update={"owner": one[0].owner, "stamps": moved(one[0].stamps, 3600 * SECOND)})
    assert list(copied([later], [("one", one)])) == []


def moved(stamps: Stamps | None, by_ns: int) -> Stamps:
    assert stamps is not None
    return Stamps(**{name: value + by_ns for name, value in stamps.model_dump().items()})


def test_every_relation_has_a_forged_case_and_its_row_in_the_docs() -> None:
    elsewhere = {"curve_outside_the_run", "ledger_goes_back_in_time", "plan_named_after_its_time", "secrets_told_twice"}
    assert {relation.id for relation in RELATIONS} == {expected for expected, _ in CASES.values()} | elsewhere
    assert all(relation.why for relation in RELATIONS)
    assert set(table()) <= set(DOCS.read_text().splitlines())


def test_what_honest_runs_end_as_is_no_contradiction(make_bundle: Any, tmp_path: Path) -> None:
    """Without shadow, weights or stamps, because the run never came so far."""

    def change(run: RunRecord, slot: Any) -> RunRecord:
        if slot.index != 1:
            return run
        stamps = Stamps(start_ns=run.stamps.start_ns if run.stamps else 0, go_ns=None, stop_ns=None, dead_ns=None)
        phases = Phases()
        return some(
            run, status=Status.PREPARE_TIMEOUT, score=None, weights=None, stamps=stamps, phases=phases, sentence="late"
        )

    assert read_bundle(make_bundle(tmp_path / "campaign", change=change)).findings == ()
