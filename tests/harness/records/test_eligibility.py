"""Can this become a record here? Asked before the first run, answered by the rules that judge the last."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.formats import environment, layout
from harness.formats.submission import read_submission
from harness.formats.track import load_track
from harness.records.eligibility import Intent, hindrances
from harness.records.record import read_record

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
GPU = environment.Gpu(
    name="NVIDIA A100",
    uuid="x",
    driver="1",
    memory_mib="1",
    power_limit_w="1",
    max_sm_clock_mhz="1",
    ecc="",
    pci_bus_id="",
)


def intent(contest: Path, **changes: Any) -> Intent:
    track = load_track(str(contest))
    rules = track.rules.model_copy(
        update={"sandbox": "landlock", "min_runs": 3, "waivable": (), **changes.pop("rules", {})}
    )
    hardware = track.hardware.model_copy(update=changes.pop("hardware", {}))
    track = track.model_copy(update={"rules": rules, "hardware": hardware, **changes.pop("track", {})})
    plain = Intent(
        track=track, sandbox="namespaces", device="cpu", world_size=track.hardware.world_size, runs=3,
        candidate=read_submission(BIGRAM), has_baseline=False,
    )  # fmt: skip
    return replace(plain, **changes)


def found(wanted: Intent) -> set[str]:
    return {finding.id for finding in hindrances(wanted) if finding.severity == "error"} - {"track_changed"}


CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "too little sandbox": ({"sandbox": "process"}, {"sandbox_level"}),
    "the least sandbox": ({"sandbox": "landlock"}, set()),
    "too few runs": ({"runs": 2}, {"min_runs"}),
    "runs not decided": ({"runs": None}, set()),
    "another device": ({"hardware": {"device": "cuda"}}, {"hardware_class"}),
    "too many ranks": ({"world_size": 99}, {"hardware_class"}),
    "too few cores": ({"hardware": {"cpu_cores": 4096}}, {"hardware_class"}),
    "other labels": ({"relabelled": True}, {"relabelled"}),
    "a track that cannot be refereed": ({"track": {"refereed": False}}, {"not_refereed"}),
    "a track of nobody": ({"track": {"name": "mine"}}, {"track_unknown"}),
    "everything": ({"sandbox": "process", "runs": 1, "relabelled": True}, {"sandbox_level", "min_runs", "relabelled"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_keeps_a_campaign_from_being_a_record(contest: Path, case: str) -> None:
    changes, expected = CASES[case]
    assert found(intent(contest, **changes)) == expected


def test_other_gpus_and_too_few_of_them(contest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"device": "cuda", "gpu_models": ("H100",), "world_size": 1, "max_world_size": 1}
    for gpus, expected in (((GPU,), {"hardware_class"}), ((GPU.model_copy(update={"name": "H100 SXM"}),), set())):
        monkeypatch.setattr(environment, "gpus", lambda gpus=gpus: gpus)
        assert found(intent(contest, device="cuda", world_size=1, hardware=wanted)) == expected


def test_a_source_that_breaks_a_rule_and_a_rule_that_can_be_waived(
    contest: Path, tmp_path: Path, write_submission: Any
) -> None:
    broken = read_submission(write_submission(tmp_path, top="exec('print(1)')"))
    assert found(intent(contest, candidate=broken)) == {"dynamic_code"}
    assert found(intent(contest, candidate=broken, rules={"waivable": ("dynamic_code",)})) == set()
    assert found(intent(contest, sandbox="process", rules={"waivable": ("sandbox_level",)})) == set()


def test_rules_that_differ_from_this_checkouts_own(contest: Path) -> None:
    """A track by path: the same words are the same contest, other words are not."""
    same = replace(intent(contest), track=load_track(str(contest)), runs=99)
    assert "track_changed" not in {finding.id for finding in hindrances(same)}
    assert "track_changed" in {finding.id for finding in hindrances(intent(contest))}


def test_a_standing_record_must_be_raced(
    contest: Path, tmp_path: Path, make_bundle: Callable[..., Path], make_record: Callable[..., Path]
) -> None:
    """Unless nothing stands under these rules, or it is that record's own source that runs."""
    standing = make_record(make_bundle(tmp_path / "b"), "First")
    sha256 = read_record(standing).submission.sha256
    assert found(intent(contest)) == {"faster_than_parent"}
    assert found(intent(contest, has_baseline=True)) == {"baseline_is_reigning"}
    assert found(intent(contest, has_baseline=True, baseline_record=standing.name)) == set()
    assert found(intent(contest, candidate_sha256=sha256)) == set()
    later = {"rules_version": "99.0"}
    assert found(intent(contest, track=later)) == set()


def command(contest: Path, world: Any, *argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    process = world.start(sys.executable, "-m", "harness", *argv, SPEEDRUN_RECORDS=str(contest.parent), **environment)
    stdout, stderr = process.communicate(timeout=400)
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def test_it_is_asked_everywhere_before_the_first_run(speedrun: Any, contest: Path, tmp_path: Path) -> None:
    """doctor, dry runs, and the campaign itself, which is refused; a bubblewrap that fails makes the sandbox weaker."""
    text = (contest / "track.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("sandbox", "min_runs"))]
    wanting = "\n".join(lines).replace("[rules]", '[rules]\nsandbox = "namespaces"\nmin_runs = 3')
    (contest / "track.toml").write_text(wanting + "\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    examined = json.loads(command(contest, speedrun, "doctor", "--json", PATH=path).stdout)
    assert examined["tracks"]["tiny"] == []
    assert [finding["id"] for finding in examined["records"]["tiny"]] == ["sandbox_level"]
    assert "here, but no records: sandbox " in command(contest, speedrun, "doctor", PATH=path).stdout
    single = command(contest, speedrun, "run", BIGRAM, "--track", "tiny", "--dry-run", "--json", PATH=path)
    assert single.returncode == 0
    assert [finding["id"] for finding in json.loads(single.stdout)["hindrances"]] == ["sandbox_level"]
    words = ("run", BIGRAM, "--track", "tiny", "--runs", "2")
    dry = command(contest, speedrun, *words, "--dry-run", "--json", PATH=path)
    assert dry.returncode == 1
    assert {finding["id"] for finding in json.loads(dry.stdout)["findings"]} == {"sandbox_level", "min_runs"}
    refused = command(contest, speedrun, *words, PATH=path)
    assert refused.returncode == 2
    assert "needs sandbox namespaces or better (sandbox_level)" in refused.stderr
    assert "needs at least 3 (min_runs)" in refused.stderr
    assert "--anyway" in refused.stderr
    assert not speedrun.runs.exists()


@pytest.mark.slow
def test_a_campaign_begins_and_ends_with_what_submit_would_say(speedrun: Any, contest: Path) -> None:
    """Its losses are above the target; that is a finding of its end, not only of submit."""
    track = contest / "track.toml"
    track.write_text(track.read_text().replace("target_val_loss = 6.0", "target_val_loss = 0.5"))
    words = ("run", BIGRAM, "--track", "tiny", "--runs", "2", "--nproc", "1", "--anyway")
    done = command(contest, speedrun, *words)
    (folder,) = layout.campaign_dirs(speedrun.runs)
    submit = ("submit", folder, "--title", "x", "--author", "y", "--dry-run", "--json")
    findings = json.loads(command(contest, speedrun, *submit).stdout)["findings"]
    assert {finding["id"] for finding in findings} >= {"significance"}
    for finding in findings:
        assert finding["sentence"] in done.stdout
    assert "record of tiny" in done.stderr.splitlines()[0]
    assert "would refuse it" in done.stdout
