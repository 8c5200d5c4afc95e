"""Reproductions: verdicts over invented campaigns, environments from locks, and one whole reproduction."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from harness.campaigns.bundle import read_bundle
from harness.errors import RecordError, UserError
from harness.formats import layout
from harness.formats.track import load_track
from harness.records.environments import EnvironmentLock, build, differences, find_python, place_for, read_lock
from harness.records.record import read_record
from harness.records.reproduction import Reproduction, assess
from harness.status import Status
from harness.system.clock import utc_now

BIGRAM = Path(__file__).resolve().parents[2] / "submissions" / "bigram.py"
GOOD = (5.01, 5.02, 5.0, 5.03)
TIMES = (2.0, 2.01, 1.99, 2.02)


@pytest.fixture
def judged(
    tmp_path: Path, make_bundle: Callable[..., Path], make_record: Callable[..., Path], bundles: ModuleType
) -> Callable[..., Reproduction]:
    """judged(losses, times, ...): a record with losses GOOD against a later campaign of its source."""
    record = read_record(make_record(make_bundle(tmp_path / "original"), "First"))

    def make(
        losses: Sequence[float] = GOOD,
        times: Sequence[float] = TIMES,
        labels: Sequence[float] | None = None,
        **options: Any,
    ) -> Reproduction:
        later = {"created_at": bundles.START + timedelta(days=1), "seed": 1}
        folder = make_bundle(tmp_path / "again", candidate_losses=losses, candidate_times=times, **{**later, **options})
        under = None
        if labels is not None:
            under = read_bundle(
                make_bundle(tmp_path / "labels", candidate_losses=labels, candidate_times=(2.0,) * len(labels), **later)
            )
        return assess(record.name, record.runs, read_bundle(folder), load_track(str(bundles.TINY)), under)

    return make


def test_the_same_losses_again_are_a_reproduction(judged: Callable[..., Reproduction]) -> None:
    found = judged(times=[time * 1.5 for time in TIMES])
    assert (found.verdict, found.exit_code, found.can_challenge) == ("reproduced", 0, True)
    assert found.time_ratio is not None
    assert found.time_ratio.low < 1.5 < found.time_ratio.high
    assert found.time_ratio.estimate == pytest.approx(1.5)
    assert found.loss_difference is not None
    assert found.loss_difference.estimate == pytest.approx(0, abs=1e-6)
    assert found.machine_differences == ()
    assert "Time? 1.500 times the record's" in " ".join(found.sentences())


def test_losses_above_the_target_are_none(judged: Callable[..., Reproduction]) -> None:
    found = judged([loss + 10 for loss in GOOD])
    assert (found.verdict, found.exit_code) == ("not reproduced", 1)
    assert "above the target" in found.reason


def test_a_run_that_fails_is_none(judged: Callable[..., Reproduction]) -> None:
    def fail(run: Any, slot: Any) -> Any:
        if slot.index != 2:
            return run
        return run.model_copy(update={"status": Status.TRAIN_FAILED, "sentence": "it broke", "score": None})

    found = judged(change=fail)
    assert found.verdict == "not reproduced"
    assert "does not hold" in found.reason


def test_too_few_runs_decide_nothing(judged: Callable[..., Reproduction]) -> None:
    found = judged(GOOD[:1], TIMES[:1])
    assert (found.verdict, found.exit_code, found.can_challenge) == ("undecided", 1, False)
    assert found.time_ratio is None


def test_a_campaign_that_is_not_closed_decides_nothing(judged: Callable[..., Reproduction]) -> None:
    assert judged(closed=False).verdict == "undecided"


def test_losses_far_above_the_records_own_are_none_even_below_the_target(judged: Callable[..., Reproduction]) -> None:
    found = judged([loss + 0.2 for loss in GOOD])
    assert found.verdict == "not reproduced"
    assert "higher than the record's own" in found.reason


def test_what_was_brought_along_fails_under_other_labels(judged: Callable[..., Reproduction]) -> None:
    found = judged(labels=(9.0,))
    assert (found.verdict, found.relabelled is not None and found.relabelled.reached_target) == (
        "not reproduced",
        False,
    )
    assert "Under other labels? val_loss 9.00000, target missed (1 run)." in found.sentences()


def test_an_honest_learner_passes_under_other_labels(judged: Callable[..., Reproduction]) -> None:
    assert judged(labels=(5.02,)).verdict == "reproduced"


# ------------------------------------------------------------------------------------------------- environments


def test_a_lock_is_read_back_and_compared(tmp_path: Path, bundles: ModuleType) -> None:
    lock = read_lock(tmp_path, bundles.ENVIRONMENT)  # no file: the lock its first run would give
    assert lock == EnvironmentLock("3.12.3", {"numpy": "2.3.0", "torch": "2.9.0"})
    here = bundles.ENVIRONMENT.model_copy(update={"python": "3.11.1", "packages": {"NumPy": "2.3.0"}})
    assert differences(lock, here) == [("Python", "3.12.3", "3.11.1"), ("torch", "2.9.0", "not installed")]
    assert differences(lock, bundles.ENVIRONMENT) == []


@pytest.mark.parametrize(
    "line", ["--index-url=http://192.0.2.1", "torch @ file:///tmp/x", "-e .", "torch==1 ; os", "torch"]
)
def test_only_pinned_packages_reach_pip(tmp_path: Path, bundles: ModuleType, line: str) -> None:
    (tmp_path / layout.LOCK_FILE).write_text(f"# Python: 3.12.3\n{line}\n")
    with pytest.raises(RecordError, match="expected lines name==version"):
        read_lock(tmp_path, bundles.ENVIRONMENT)


def test_this_python_is_found_and_another_is_not() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}.99"
    assert find_python(version) is not None
    assert find_python("3.1.0") is None


@pytest.mark.slow
def test_an_environment_is_built_once_and_used_again(tmp_path: Path) -> None:
    python = find_python(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert python is not None
    interpreter = build(tmp_path, python, ())
    prefix = subprocess.run(
        [str(interpreter), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(prefix) == place_for(tmp_path, python, ())
    marker = interpreter.parent.parent / "mine"
    marker.touch()
    assert build(tmp_path, python, ()) == interpreter
    assert marker.exists()
    (interpreter.parent.parent / "complete").unlink()  # as after a crash
    build(tmp_path, python, ())
    assert not marker.exists()


@pytest.mark.slow
def test_what_pip_cannot_install_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    python = find_python(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert python is not None
    with pytest.raises(UserError, match="your pip configuration, found: ERROR"):
        build(tmp_path, python, ("no-such-package-of-anybody==1.0",))


# ------------------------------------------------------------------------------------------------- end to end


@pytest.fixture
def bigram_record(
    speedrun: Any, contest: Path, make_record: Callable[..., Path], tmp_path: Path, with_seeds: Callable[..., Any]
) -> Path:
    """A real record on the tiny track: a campaign of three runs of a bigram that reads more or less by its seed."""
    script = tmp_path / "train_gpt.py"
    script.write_text(BIGRAM.read_text().replace("100_000)", "100_000 - run.seed)"))
    process = speedrun.start(
        *with_seeds(2000, 10_000, 18_000), "run", script, "--track", contest / "track.toml", "--runs", "3", "--json",
        SPEEDRUN_RECORDS=str(contest.parent),
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stdout + stderr
    campaign = next(speedrun.runs.glob("*/ledger.jsonl")).parent
    assert read_bundle(campaign).closed
    return make_record(campaign, "Bigram", day=utc_now().date())


def reproduce(speedrun: Any, contest: Path, command: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    process = speedrun.start(*command, "reproduce", *words, SPEEDRUN_RECORDS=str(contest.parent))
    stdout, stderr = process.communicate(timeout=500)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.mark.slow
def test_a_record_is_reproduced_end_to_end_here(
    speedrun: Any, contest: Path, bigram_record: Path, with_seeds: Callable[..., Any]
) -> None:
    command = with_seeds(4000, 9000, 17_000)
    planned = reproduce(speedrun, contest, command, bigram_record.name, "--here", "--dry-run", "--json")
    plan = json.loads(planned.stdout)
    assert (plan["runs"], plan["relabelled_runs"], plan["differs_here"], plan["missing"]) == (3, 0, [], [])
    before = set(speedrun.runs.iterdir())
    done = reproduce(speedrun, contest, command, bigram_record.name, "--here", "--relabel", "--json")
    found = json.loads(done.stdout)
    assert (found["verdict"], done.returncode) == ("reproduced", 0), done.stdout + done.stderr
    assert (found["runs"], found["relabelled"]["reached_target"]) == (3, True)
    made = {read_bundle(path).plan.relabel: read_bundle(path).plan for path in set(speedrun.runs.iterdir()) - before}
    assert {plan.purpose for plan in made.values()} == {"reproduce"}
    assert (made[False].runs_per_arm, made[True].runs_per_arm) == (3, 1)
    again = reproduce(speedrun, contest, command, bigram_record.name, "--campaign", found["campaign"])
    assert again.returncode == 0
    assert f"attach it: speedrun challenge tiny/{bigram_record.name}" in again.stdout
    attached = subprocess.run(
        [sys.executable, "-m", "harness", "challenge", str(bigram_record), found["campaign"], "--author", "Grace",
         "--relabelled", found["relabelled"]["folder"], "--reproduces", "--json"],
        env=speedrun.environment(SPEEDRUN_RECORDS=str(contest.parent)), capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(attached.stdout)["kind"] == "reproduction", attached.stderr


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_record_of_this_checkout_is_reproduced_in_a_new_environment(speedrun: Any) -> None:
    """Takes the network (or wheels at hand) for pip, and minutes. Three runs can be too few to say.

    Where a CPU has no products in bf16 they are emulated, too slowly for the record's budget: one run, whatever it
    comes to.
    """
    quick = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    name = f"nano-2cpu/{layout.record_dirs('nano-2cpu')[-1].name}"
    process = speedrun.start(
        sys.executable, "-m", "harness", "reproduce", name, "--runs", "6" if quick else "1", "--no-relabel", "--yes",
        "--json",
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=3000)
    found = json.loads(stdout[stdout.index("{") :])
    assert "verdict" in found, stderr
    assert found["track"] == "nano-2cpu"
    assert found["verdict"] == "reproduced" or not quick, stdout
    environments = list((speedrun.runs / "environments").iterdir())
    assert [(folder / "complete").exists() for folder in environments] == [True]
