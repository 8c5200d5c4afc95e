"""Evidence follows from runs: who counts, what is a number, and what is told in words."""

from pathlib import Path
from typing import Any

import pytest

from harness.campaigns.bundle import read_bundle
from harness.campaigns.evidence import Evidence, derive
from harness.campaigns.summary import summarise
from harness.formats.run import Finding, Phases, RunRecord
from harness.formats.track import Track, load_track
from harness.status import Status

CAUSALITY = Finding(id="causality", severity="error", sentence="s", expected="e", found="f")


@pytest.fixture
def tiny() -> Track:
    return load_track(str(Path(__file__).resolve().parents[2] / "tracks" / "tiny"))


def fails(run: RunRecord) -> RunRecord:
    gone: dict[str, Any] = {"score": None, "stamps": None, "phases": Phases(), "weights": None}
    return run.model_copy(update={"status": Status.TRAIN_FAILED, "sentence": "it failed", **gone})


def test_numbers_come_from_the_valid_runs_in_slot_order(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    evidence = derive(read_bundle(make_bundle(tmp_path / "b", uncounted={1: [Status.DISK_FULL] * 2})), tiny)
    arm = evidence.candidate
    assert (arm.n, arm.failed) == (4, 0)
    assert arm.losses == (5.01, 5.02, 5.0, 5.03)
    assert arm.times_s == (2.0, 2.01, 1.99, 2.02)
    assert arm.mean_loss == pytest.approx(5.015)
    assert arm.sd_time_s == pytest.approx(0.0129099, abs=1e-6)
    assert arm.time_interval_s is not None
    assert arm.time_interval_s.high == pytest.approx(2.005 + 3.182446 * 0.0129099 / 2, abs=1e-5)  # t(0.975, 3 degrees)
    assert arm.p_value is not None
    assert arm.p_value < 1e-5
    assert arm.valid
    assert (evidence.attempts, evidence.uncounted) == (6, 2)
    assert (evidence.baseline, evidence.comparison) == (None, None)


def test_golden_p_value_of_a_known_record(make_bundle: Any, tmp_path: Path, write_track: Any) -> None:
    """Thirteen losses around 3.2781 against 3.28, one-sided t: computed by hand from mean and sd."""
    losses = [3.2781 + 0.0003 * (i - 6) for i in range(13)]
    track = write_track(tmp_path, target_val_loss=3.28)
    folder = make_bundle(tmp_path / "b", track, [70 + i / 100 for i in range(13)], losses)
    arm = derive(read_bundle(folder), load_track(str(track))).candidate
    # t = -0.0019 / (0.00116833 / sqrt(13)) = -5.8636, 12 degrees of freedom
    assert arm.p_value == pytest.approx(3.84e-5, rel=0.02)
    assert arm.valid


def test_a_run_that_failed_makes_its_arm_invalid_and_its_pair_is_dropped(
    make_bundle: Any, tmp_path: Path, tiny: Track
) -> None:
    folder = make_bundle(
        tmp_path / "b",
        baseline_times=(2.2, 2.3, 2.4, 2.5),
        baseline_losses=(5.0, 5.1, 5.2, 5.3),
        change=lambda run, slot: fails(run) if (slot.arm, slot.pair) == ("candidate", 2) else run,
    )
    evidence = derive(read_bundle(folder), tiny)
    assert (evidence.candidate.n, evidence.candidate.failed, evidence.candidate.valid) == (3, 1, False)
    assert evidence.baseline is not None
    assert (evidence.baseline.n, evidence.baseline.valid) == (4, True)
    assert evidence.comparison is not None
    assert (evidence.comparison.pairs, evidence.comparison.dropped) == (3, 1)
    assert evidence.comparison.ratio == pytest.approx((2.0 + 2.01 + 2.02) / (2.2 + 2.3 + 2.5))


def test_a_run_with_an_error_level_finding_is_no_number(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    folder = make_bundle(
        tmp_path / "b",
        change=lambda run, slot: run.model_copy(update={"findings": (CAUSALITY,)}) if slot.index == 0 else run,
    )
    arm = derive(read_bundle(folder), tiny).candidate
    assert (arm.n, arm.failed, arm.valid) == (3, 1, False)


@pytest.mark.parametrize("losses", [[5.0], [5.0, 5.0, 5.0], [5.0, 5.00001, 5.00002]], ids=["one", "equal", "ties"])
def test_a_sample_that_allows_no_test_shows_nothing(
    make_bundle: Any, tmp_path: Path, tiny: Track, losses: list[float]
) -> None:
    folder = make_bundle(tmp_path / "b", candidate_times=[2.0 + i for i in range(len(losses))], candidate_losses=losses)
    arm = derive(read_bundle(folder), tiny).candidate
    assert (arm.n, arm.p_value, arm.valid) == (len(losses), None, False)


def test_the_tracks_own_test_decides(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    folder = make_bundle(tmp_path / "b", candidate_times=(1.0,), candidate_losses=(5.997,))
    z_rule = tiny.significance.model_copy(update={"test": "z", "sigma": 0.001})
    assert derive(read_bundle(folder), tiny.model_copy(update={"significance": z_rule})).candidate.valid
    wider = tiny.model_copy(update={"significance": z_rule.model_copy(update={"sigma": 0.002})})
    arm = derive(read_bundle(folder), wider).candidate
    assert arm.p_value == pytest.approx(0.0668, abs=1e-4)  # P(Z < -1.5)
    assert not arm.valid


def test_without_a_target_valid_means_that_no_run_failed(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    folder = make_bundle(tmp_path / "b", candidate_times=(1.0,), candidate_losses=(9.0,))
    arm = derive(read_bundle(folder), tiny.model_copy(update={"target_val_loss": None})).candidate
    assert (arm.p_value, arm.valid) == (None, True)


def test_a_campaign_under_relabelling_is_measured(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    """Such runs never count on a board; the question is whether they reach the target."""
    folder = make_bundle(tmp_path / "b", change=lambda run, _: run.model_copy(update={"relabelled": True}))
    assert derive(read_bundle(folder), tiny).candidate.n == 4


def summary_of(folder: Path, track: Track, stopped_by: Status | None = None) -> Any:
    return summarise(read_bundle(folder), track, stopped_by)


def test_a_summary_says_what_a_person_asks(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    folder = make_bundle(
        tmp_path / "b", baseline_times=(2.2, 2.3, 2.4, 2.5), baseline_losses=(5.0, 5.1, 5.2, 5.3),
        baseline_record="2026-01-01_First", uncounted={1: [Status.INTERRUPTED]},
    )  # fmt: skip
    summary = summary_of(folder, tiny)
    assert (summary.exit_code, summary.closed, summary.findings) == (0, True, ())
    text = "\n".join(summary.sentences)
    for part in (
        "Valid? Yes: mean val_loss 5.01500 of 4 runs", "Time? 2.005 s (95 % interval", "2026-01-01_First: valid? Yes",
        "Faster? ", "At equal loss? ", "1 of 9 attempts do not count",
    ):  # fmt: skip
        assert part in text


def test_exit_codes(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    baseline = {"baseline_times": (2.2, 2.3, 2.4, 2.5), "baseline_losses": (5.0, 5.1, 5.2, 5.3)}
    bad_baseline = make_bundle(
        tmp_path / "bad", **baseline, change=lambda run, slot: fails(run) if slot.arm == "baseline" else run
    )
    assert summary_of(bad_baseline, tiny).exit_code == 1
    missed = make_bundle(tmp_path / "missed", candidate_losses=(6.1, 6.2, 6.3, 6.25))
    assert summary_of(missed, tiny).exit_code == 1
    assert "more runs would not help" in " ".join(summary_of(missed, tiny).sentences)
    open_one = make_bundle(tmp_path / "open", closed=False)
    assert summary_of(open_one, tiny, Status.INTERRUPTED).exit_code == 130
    assert summary_of(open_one, tiny, Status.DISK_FULL).exit_code == 5
    assert summary_of(open_one, tiny, Status.DISK_FULL).findings == ()
    edited = make_bundle(tmp_path / "edited")
    (edited / "candidate" / "train_gpt.py").write_text("")
    assert summary_of(edited, tiny).exit_code == 1


def test_what_more_runs_would_do(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    folder = make_bundle(tmp_path / "b", candidate_losses=(5.9, 6.05, 5.95, 6.0))
    summary = summary_of(folder, tiny)
    assert summary.exit_code == 1
    text = " ".join(summary.sentences)
    assert "Not shown" in text
    assert "new campaign of" in text


def test_evidence_is_pure(make_bundle: Any, tmp_path: Path, tiny: Track) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "b"))
    first: Evidence = derive(bundle, tiny)
    assert derive(bundle, tiny) == first
