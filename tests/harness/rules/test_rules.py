"""The rules of a record: one campaign that breaks nothing, and for each rule a campaign that breaks just that one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaigns.bundle import Bundle, read_bundle
from harness.campaigns.evidence import derive
from harness.formats.load import MachineLoad
from harness.formats.run import Finding, Probes, RunRecord, Stamps, Weights
from harness.formats.track import Track, WaivableRule, list_tracks, load_track
from harness.rules import arm_rules, exam_rules, record_rules, run_rules
from harness.rules.registry import RULES, check_rules, waive
from harness.rules.source_rules import SOURCE_RULES
from harness.status import Status

ROOT = Path(__file__).resolve().parents[3]
TINY = load_track(str(ROOT / "tests" / "tracks" / "tiny"))
FAST, SLOW = (1.0, 1.01, 0.99, 1.02), (2.0, 2.02, 1.99, 2.01)
REIGNING = "2026-01-01_Before"
Change = Callable[[RunRecord], RunRecord]


@dataclass(frozen=True)
class Statement:
    track: str = "tiny"
    date: date = date(2026, 1, 2)
    claim: str = "speed"


@dataclass(frozen=True)
class Case:
    """What differs from the campaign that breaks nothing."""

    times: tuple[float, ...] = FAST
    losses: tuple[float, ...] = (5.01, 5.02, 5.0, 5.03)
    baseline: tuple[float, ...] | None = SLOW
    baseline_losses: tuple[float, ...] | None = None
    record: str | None = REIGNING
    reigning: str | None = REIGNING
    uncounted: dict[int, list[Status]] = field(default_factory=dict)
    edit: Change | None = None  # of every run of the candidate, after the campaign
    edit_baseline: Change | None = None
    rules: dict[str, Any] = field(default_factory=dict)
    track: dict[str, Any] = field(default_factory=dict)
    statement: Statement = Statement()
    history_times: tuple[float, ...] = ()
    record_bytes: int | None = 10_000


@pytest.fixture
def findings(make_bundle: Callable[..., Path], tmp_path: Path) -> Callable[[Case], tuple[Finding, ...]]:
    def found(case: Case) -> tuple[Finding, ...]:
        path = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
        folder = make_bundle(
            tmp_path / "campaign", path, case.times, case.losses, case.baseline, case.baseline_losses,
            baseline_record=case.record if case.baseline else None, uncounted=case.uncounted,
        )  # fmt: skip
        bundle = edited(read_bundle(folder), case)
        rules = TINY.rules.model_copy(update=case.rules)
        track = TINY.model_copy(update={"rules": rules, **case.track})
        runs = bundle.runs("baseline")
        phases = [runs[0].phases.model_copy(update={"train_ns": round(t * 1e9)}) for t in case.history_times]
        return check_rules(
            bundle,
            derive(bundle, track),
            track,
            case.statement,
            (),
            reigning=case.reigning,
            history=[runs[0].model_copy(update={"phases": phase}) for phase in phases],
            record_bytes=case.record_bytes,
        )

    return found


def edited(bundle: Bundle, case: Case) -> Bundle:
    """The bundle with its runs changed in memory, as if they had come so."""
    edits = {"candidate": case.edit, "baseline": case.edit_baseline}
    attempts = tuple(
        replace(attempt, run=edit(attempt.run)) if (edit := edits[attempt.slot.arm]) is not None else attempt
        for attempt in bundle.attempts
    )
    return replace(bundle, attempts=attempts)


def change(**update: Any) -> Change:
    return lambda run: run.model_copy(update=update)


def change_environment(**update: Any) -> Change:
    return lambda run: run.model_copy(update={"environment": run.environment.model_copy(update=update)})


def change_times(**update: int) -> Change:
    return lambda run: run.model_copy(update={"phases": run.phases.model_copy(update=update)})


def loaded(others_s: float, **more: float) -> Change:
    """So much of two cores in ten seconds went to other processes."""
    counted = {"wall_ns": 10**10, "steal_ns": 0, "throttled_ns": 0, "waiting_ns": None} | more
    load = MachineLoad(cores=2, own_ns=10**9, referee_ns=0, others_ns=round(others_s * 1e9), **counted)
    return change(load=load)


def fail_slot(index: int) -> Change:
    return lambda run: run.model_copy(update={"practice": run.campaign is not None and run.campaign.slot == index})


def change_score(**update: Any) -> Change:
    return lambda run: run.model_copy(update={"score": run.score and run.score.model_copy(update=update)})


def change_probes(**update: Any) -> Change:
    def changed(run: RunRecord) -> RunRecord:
        assert run.score is not None
        return change_score(probes=run.score.probes.model_copy(update=update))(run)

    return changed


def change_shadow(gap: float) -> Change:
    def changed(run: RunRecord) -> RunRecord:
        assert run.score is not None and run.score.shadow is not None
        return change_score(shadow=run.score.shadow.model_copy(update={"gap": gap}))(run)

    return changed


def change_data(run: RunRecord) -> RunRecord:
    """Of a run that reads the dataset's own shards."""
    return run.model_copy(update={"data": {name: "0" * 64 for name in run.data}, "language": None, "text": None})


SAME_WEIGHTS = change(weights=Weights(sha256="a" * 64, bytes=1, tensors=1))
LOWEST_LOSS = {"metric": "val_loss", "target_val_loss": None}
CASES: dict[str, list[Case]] = {
    "significance": [Case(losses=(5.99, 6.02, 6.0, 6.01)), Case(losses=(6.1, 6.2, 6.3, 6.15))],
    "degenerate_sample": [Case(losses=(5.0, 5.000001, 5.000002, 5.000003))],  # alike to four decimals
    "faster_than_parent": [
        Case(times=SLOW),  # the same
        Case(times=(2.5, 2.51, 2.49, 2.52)),  # slower
        Case(baseline=None),  # never raced
        Case(record="2025-01-01_Older", reigning=None, times=SLOW),  # what was raced must be beaten
    ],
    "lower_loss_than_parent": [
        Case(track=LOWEST_LOSS, baseline_losses=(5.0, 5.01, 5.02, 5.04)),
        Case(track=LOWEST_LOSS, baseline_losses=(4.0, 4.01, 4.02, 4.03)),
        Case(track=LOWEST_LOSS, baseline=None),
    ],
    "baseline_is_reigning": [Case(record=None), Case(record="2025-12-01_Slower")],
    "equal_loss": [
        Case(statement=Statement(claim="systems"), baseline=None, reigning=None, record=None),
        Case(statement=Statement(claim="systems"), baseline_losses=(5.02, 5.01, 5.03, 5.01)),
    ],
    "min_runs": [Case(rules={"min_runs": 5})],
    "failed_run": [
        Case(edit=change(practice=True), baseline=None, record=None, reigning=None, rules={"min_runs": 0},
             track={"target_val_loss": None}),
    ],
    "failed_baseline": [Case(edit_baseline=fail_slot(1))],
    "own_data": [Case(edit=change_data), Case(edit=change_data, baseline=None, record=None, reigning=None)],
    "whole_exam": [
        Case(edit=change_score(count=19_999)),
        Case(track={"evaluation": TINY.evaluation.model_copy(update={"max_tokens": 128})}),
        Case(edit=change_score(probes=Probes(pairs=0, max_abs_difference=0.0, mean_abs_difference=0.0))),
        Case(edit=change_score(probes=Probes(pairs=8, max_abs_difference=9.0, mean_abs_difference=1.0))),
    ],
    "shadow_gap_over_runs": [Case(edit=change_shadow(0.49)), Case(edit_baseline=change_shadow(0.49))],
    "leak_over_runs": [
        Case(edit=change_probes(last_gain=0.004, last_gain_standard_error=0.001)),
        Case(edit_baseline=change_probes(state_gain=0.004, state_gain_standard_error=0.001)),
    ],
    "within_budget": [
        Case(edit=change(weights=Weights(sha256="a" * 64, bytes=10**9, tensors=1)), losses=(5.0,), times=FAST[:1],
             baseline=None, record=None, reigning=None, rules={"min_runs": 1}, track={"target_val_loss": None}),
        Case(track={"budget": TINY.budget.model_copy(update={"source_bytes": 10})}),
    ],
    "user_seed": [Case(edit=change(seed_source="user"))],
    "repeated_seed": [Case(edit=change(seed=1))],
    "equal_weights": [Case(edit=SAME_WEIGHTS)],
    "uncounted_attempts": [
        Case(uncounted={0: [Status.INTERRUPTED] * 4, 3: [Status.TERMINATED] * 4}, rules={"uncounted_share": 0.9})
    ],
    "own_track": [Case(statement=Statement(track="easier")), Case(track={"name": "easier"})],
    "date_of_runs": [Case(statement=Statement(date=date(2025, 12, 31)))],
    "sandbox_level": [
        Case(edit=change(sandbox="process"), rules={"sandbox": "namespaces"}),
        Case(edit=change(sandbox="landlock"), rules={"sandbox": "namespaces"}),
        Case(edit=change(sandbox="a good one")),
    ],
    "hardware_class": [
        Case(edit=change_environment(cpu_cores=1)),
        Case(edit=change(world_size=3)),
        Case(edit=change(device="cuda")),
    ],
    "budget_margin": [
        Case(edit=change_times(prepare_ns=599 * 10**9)),
        Case(edit=change_times(score_ns=599 * 10**9)),
    ],
    # the candidate is faster by half, or by a hundredth: a neighbour that wakes for the baseline alone explains it
    "machine_taken_from_baseline": [
        Case(edit=loaded(0.1), edit_baseline=loaded(11)),
        Case(edit=loaded(0), edit_baseline=loaded(0, steal_ns=12 * 10**9)),
        Case(edit=loaded(0), edit_baseline=loaded(0, throttled_ns=12 * 10**9)),
        Case(
            times=(1.98, 2.0, 1.97, 1.991), edit=loaded(0), edit_baseline=loaded(1), losses=(5.01, 5.02, 5.0, 5.03)
        ),
    ],
    "machine_differs_between_arms": [Case(edit=loaded(0), edit_baseline=loaded(5))],
    "gpu_clocks_differ_between_arms": [
        Case(edit=loaded(0, gpu_sm_mhz=1980.0), edit_baseline=loaded(0, gpu_sm_mhz=1410.0)),  # as much as the effect
        Case(edit=loaded(0, gpu_sm_mhz=1980.0), edit_baseline=loaded(0, gpu_sm_mhz=300.0)),
    ],
    "time_spread": [Case(times=(0.3, 0.6, 0.35, 0.5), rules={"time_spread": 0.1})],
    "baseline_in_its_own_interval": [
        Case(history_times=(1.5, 1.5), rules={"baseline_offset": 0.1}),
        Case(history_times=(2.5,), rules={"baseline_offset": 0.1}),
    ],
    "record_size": [Case(record_bytes=2**20 + 1)],
}  # fmt: skip


def test_every_rule_has_a_case_and_a_campaign_that_breaks_it() -> None:
    assert set(CASES) == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.id for rule in RULES}.isdisjoint(SOURCE_RULES)


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(baseline=None, record=None, reigning=None),  # the first record has nobody to beat
        Case(statement=Statement(claim="systems"), baseline_losses=(5.0101, 5.0199, 5.0001, 5.0299)),
        Case(track=LOWEST_LOSS, baseline_losses=(5.5, 5.51, 5.52, 5.53), times=SLOW),
        Case(uncounted={0: [Status.INTERRUPTED], 2: [Status.MACHINE_BUSY]}),
        Case(history_times=(2.0, 2.01)),
        Case(statement=Statement(date=date(2026, 1, 1))),  # a day: the author's time zone
    ],
)
def test_a_campaign_that_breaks_nothing(case: Case, findings: Callable[[Case], tuple[Finding, ...]]) -> None:
    assert findings(case) == ()


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, case) for rule, cases in CASES.items() for case in cases],
    ids=lambda value: str(value)[:24],
)
def test_a_broken_rule_is_found_and_no_other(
    rule: str, case: Case, findings: Callable[[Case], tuple[Finding, ...]]
) -> None:
    found = findings(case)
    assert {finding.id for finding in found} == {rule}
    (row,) = [row for row in RULES if row.id == rule]
    for finding in found:
        assert finding.severity == row.severity
        assert finding.sentence
        assert finding.expected
        assert finding.found
        assert "\n" not in finding.sentence + finding.expected + finding.found


def gpus(*names: str) -> Change:
    def put(run: RunRecord) -> RunRecord:
        found = tuple(run.environment.gpus[0].model_copy(update={"name": name}) for name in names)
        return run.model_copy(update={"environment": run.environment.model_copy(update={"gpus": found})})

    return put


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (gpus(*["NVIDIA H100 80GB HBM3"] * 8), None),
        (gpus(*["NVIDIA H200"] * 8), "NVIDIA H200"),
        (gpus(*["NVIDIA H100 80GB HBM3"] * 7, "NVIDIA H200"), "NVIDIA H100 80GB HBM3 and NVIDIA H200"),
        (gpus(*["NVIDIA H100 80GB HBM3"] * 7, "NVIDIA H100 PCIe"), "NVIDIA H100 80GB HBM3 and NVIDIA H100 PCIe"),
        (gpus(*["NVIDIA H100 80GB HBM3"] * 7), "7 of NVIDIA H100 80GB HBM3"),
        (gpus(), "none"),
        (change(device="cpu"), "cpu"),
        (change(world_size=4), "4"),
    ],
)
def test_the_class_of_eight_gpus(
    make_bundle: Callable[..., Path], tmp_path: Path, edit: Change, said: str | None
) -> None:
    path = ROOT / "records" / "gpt2-small-8xh100" / "track.toml"
    track = load_track(str(path))
    folder = make_bundle(tmp_path / "campaign", path, (70.0, 70.1, 69.9, 70.05), (3.27, 3.271, 3.269, 3.2705))
    bundle = edited(read_bundle(folder), Case(edit=edit))
    found = check_rules(bundle, derive(bundle, track), track, Statement(track=track.name), (), reigning=None)
    assert {finding.id for finding in found} == (set() if said is None else {"hardware_class"})
    assert said is None or said in found[0].found


def test_cores_are_split_as_the_submission_likes(findings: Callable[[Case], tuple[Finding, ...]]) -> None:
    assert findings(Case(edit=change(world_size=1))) == ()


def test_numbers_of_the_track_decide(findings: Callable[[Case], tuple[Finding, ...]]) -> None:
    assert findings(Case(times=(0.3, 0.6, 0.35, 0.5), rules={"time_spread": 0.5})) == ()


def test_a_run_of_the_candidate_that_fails_cannot_be_left_out(
    findings: Callable[[Case], tuple[Finding, ...]],
) -> None:
    def fail_one(run: RunRecord) -> RunRecord:
        assert run.campaign is not None
        probe = Finding(id="causality", severity="error", sentence="it peeks", expected="no", found="yes")
        return run if run.campaign.slot else run.model_copy(update={"findings": (probe,)})

    found = findings(Case(edit=fail_one))
    assert [finding.id for finding in found] == ["causality", "failed_run"]
    assert found[0].sentence.endswith("(candidate): it peeks")


def test_what_the_bundle_and_the_source_show_is_part_of_the_verdict(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "open", closed=False))
    warning = Finding(id="own_seed", severity="warning", sentence="s", expected="e", found="f")
    found = check_rules(bundle, derive(bundle, TINY), TINY, Statement(), [warning, warning], reigning=None)
    assert [finding.id for finding in found] == ["not_closed", "own_seed"]


def test_attempts_that_never_reached_go_are_nobodys_choice(findings: Callable[[Case], tuple[Finding, ...]]) -> None:
    def before_go(run: RunRecord) -> RunRecord:
        stamps = Stamps(start_ns=1, go_ns=None, stop_ns=None, dead_ns=2)
        return run if run.status == Status.COMPLETE else run.model_copy(update={"stamps": stamps})

    case = Case(uncounted={0: [Status.MACHINE_BUSY] * 9}, rules={"uncounted_share": 0.1})
    assert {finding.id for finding in findings(replace(case, edit=before_go))} == set()


# ------------------------------------------------------------------------------------------------------- waivers


@dataclass(frozen=True)
class Waiver:
    finding: str
    reason: str


def finding(id: str, severity: Any = "error") -> Finding:
    return Finding(id=id, severity=severity, sentence="s", expected="e", found="f")


REASON = "The table is the tokenizer's own, and is generated."


def test_a_waiver_with_a_reason_holds_and_stays_visible() -> None:
    standing, waived = waive([finding("blob"), finding("min_runs")], [Waiver("blob", f"  {REASON}\n")], TINY)
    assert [f.id for f in standing] == ["min_runs"]
    assert [(w.finding.id, w.reason) for w in waived] == [("blob", REASON)]


@pytest.mark.parametrize(
    ("waiver", "id", "severity"),
    [
        (Waiver("blob", "because"), "waiver_refused", "error"),
        (Waiver("blob", " x" * 9 + " " * 50), "waiver_refused", "error"),  # 17 characters and blanks
        (Waiver("significance", REASON), "waiver_refused", "error"),
        (Waiver("dynamic_code", REASON), "waiver_refused", "error"),  # waivable elsewhere, not on this track
        (Waiver("no_such_rule", REASON), "waiver_refused", "error"),
        (Waiver("long_line", REASON), "waiver_unused", "warning"),
    ],
)
def test_a_waiver_that_does_not_hold_is_a_finding_of_its_own(waiver: Waiver, id: str, severity: str) -> None:
    before = (finding("blob"), finding("significance"), finding("dynamic_code"))
    standing, waived = waive(before, [waiver], TINY)
    assert waived == ()
    assert standing[:3] == before
    assert [(f.id, f.severity) for f in standing[3:]] == [(id, severity)]


IDS = st.sampled_from([*SOURCE_RULES, *(rule.id for rule in RULES), "ledger_chain", "source_digest", "causality"])


@given(
    ids=st.lists(IDS, max_size=8),
    waivers=st.lists(st.builds(Waiver, finding=IDS, reason=st.text(max_size=40)), max_size=8),
    allowed=st.sets(st.sampled_from(WaivableRule.__args__[0].__args__)),  # type: ignore[attr-defined]
)
def test_no_waiver_ever_lifts_what_the_track_does_not_name(
    ids: list[str], waivers: list[Waiver], allowed: set[Any]
) -> None:
    track = TINY.model_copy(update={"rules": TINY.rules.model_copy(update={"waivable": tuple(allowed)})})
    before = [finding(id) for id in ids]
    standing, waived = waive(before, waivers, track)
    assert {w.finding.id for w in waived} <= allowed & {w.finding for w in waivers}
    assert all(len(w.reason) >= 20 for w in waived)
    assert sorted(f.id for f in standing if not f.id.startswith("waiver_")) == sorted(
        set_aside for set_aside in ids if set_aside not in {w.finding.id for w in waived}
    )


# ---------------------------------------------------------------------------------------------------- the table


def test_every_rule_can_be_explained_and_its_number_exists() -> None:
    for track in list_tracks():
        for rule in RULES:
            assert re.match(r'["A-Z].*\.$', rule.why), rule.id
            assert rule.answers
            assert rule.number is None or number(track, rule.number) is not None
        for text in SOURCE_RULES.values():
            assert text.number is None or number(track, text.number) is not None


def number(track: Track, key: str) -> object:
    value: object = track
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_every_function_of_a_rule_is_in_the_table() -> None:
    public = {
        name
        for module in (arm_rules, exam_rules, record_rules, run_rules)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and name.islower()
    }
    assert {name for name in public if not name.startswith("_")} == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    "case",
    [
        Case(edit=loaded(1), edit_baseline=loaded(1)),  # busy for both
        Case(edit=loaded(1), edit_baseline=loaded(1.2)),  # chance
        Case(edit=loaded(12), edit_baseline=loaded(0)),  # the candidate's own loss
        Case(edit=loaded(0.01), edit_baseline=loaded(0.03)),
        Case(edit=loaded(0, wall_ns=10**8), edit_baseline=loaded(0.2, wall_ns=10**8)),  # shorter than counters see
        Case(edit_baseline=loaded(12)),  # nothing to compare with
    ],
)
def test_a_machine_that_is_busy_for_both_arms_is_no_finding(
    findings: Callable[[Case], tuple[Finding, ...]], case: Case
) -> None:
    assert findings(case) == ()


def test_a_baseline_merely_slower_than_its_history_is_shown_with_its_size_and_no_error(
    findings: Callable[[Case], tuple[Finding, ...]],
) -> None:
    (found,) = findings(Case(history_times=(1.0, 1.0), rules={"baseline_offset": 0.1}))
    assert (found.id, found.severity) == ("baseline_in_its_own_interval", "warning")
    assert "+100" in found.found
