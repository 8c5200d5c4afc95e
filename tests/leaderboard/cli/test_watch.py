"""speedrun watch: it sees a run from its start to its end, disturbs nothing, and exits with its code."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import Result

from harness.campaigns.bundle import read_bundle
from harness.errors import UserError
from harness.formats.run import Phases, RunRecord, encode_run, owner, read_run
from harness.referee import doctor
from harness.selftimed.record import encode, read_self_timed
from harness.status import Status
from leaderboard.board import watching
from leaderboard.board.watching import find_watched, is_conducted, look_at_campaign, look_at_run, steps_taken
from leaderboard.cli import watch as watch_command
from leaderboard.cli.close import close
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.cli.watch import describe, watch

Call = Callable[..., Result]
Make = Callable[..., Path]
POINT = '{{"step": {step}, "elapsed_ns": {ns}, "train_loss": {loss}, "tokens": 10}}\n'


@dataclass
class Clock:
    """The watcher's own time: between two looks one step happens, and no second passes but those it sleeps."""

    steps: list[Callable[[], object]] = field(default_factory=list)
    now_s: float = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        assert self.now_s < 1000 + 600, "it goes on watching though nothing more will happen"
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(watch_command, "time", made)
    monkeypatch.setattr(watching, "QUIET_S", 3600.0)  # of the machine's time, which a look may take long to read
    steps_taken.cache_clear()
    yield made
    steps_taken.cache_clear()


@pytest.fixture
def campaign(contest: Path, tmp_path: Path, make_bundle: Make) -> Path:
    (tmp_path / "runs").mkdir()
    return make_bundle(tmp_path / "runs" / "2026-01-02T03-04-05Z-c000000", candidate_times=(2.0, 2.1))


def begin(campaign: Path, runs: Path, name: str = "2026-01-09T00-00-00Z-aaaaaa") -> tuple[Path, RunRecord]:
    """A run in progress, of this process, and what it will have been."""
    source = sorted((campaign / "runs").iterdir())[0]
    done = read_run(source).model_copy(update={"run_id": name, "campaign": None, "owner": owner()})
    folder = runs / name
    folder.mkdir()
    started = done.model_copy(
        update={"status": Status.STARTED, "sentence": "the run is in progress", "stamps": None, "phases": Phases()}
    )
    (folder / "run.json").write_bytes(encode_run(started))
    return folder, done


def report(folder: Path, step: int, loss: float = 5.5) -> None:
    with (folder / "progress.jsonl").open("a") as file:
        file.write(POINT.format(step=step, ns=step * 10**8, loss=loss))


def test_a_run_is_seen_from_its_start_to_its_end(campaign: Path, call: Call, clock: Clock) -> None:
    folder, done = begin(campaign, campaign.parent)
    clock.steps = [
        lambda: (folder / "progress.jsonl").touch(),
        lambda: report(folder, 10),
        lambda: (folder / "run.json").write_bytes(encode_run(done)),
    ]
    result = call(watch)  # the newest in progress
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["STARTING", "PREPARE", "TRAIN", f"{folder.name}:"]
    assert "step 10  train_loss 5.5000" in lines[2]
    assert "val_loss 5.0100 after 2.000 s" in lines[3]
    assert "\x1b" not in result.stdout
    assert result.exit_code == done.exit_code


@pytest.mark.parametrize(
    ("status", "code"), [(Status.TRAIN_FAILED, 3), (Status.TRAIN_TIMEOUT, 4), (Status.INTERRUPTED, 130)]
)
def test_it_exits_with_the_code_of_the_run(campaign: Path, call: Call, clock: Clock, status: Status, code: int) -> None:
    folder, done = begin(campaign, campaign.parent)
    ended = done.model_copy(update={"status": status, "sentence": "it \x1b[2J ended"})
    clock.steps = [lambda: None, lambda: (folder / "run.json").write_bytes(encode_run(ended))]
    result = call(watch, "aaaaaa", "--json")
    assert clock.steps == []  # it was watched while it ran
    assert result.exit_code == code
    assert json.loads(result.stdout)["status"] == str(status)
    assert "\x1b" not in call(watch, folder.name).stdout


def test_a_referee_that_is_gone_leaves_an_abandoned_run(campaign: Path, call: Call) -> None:
    folder, done = begin(campaign, campaign.parent)
    gone = done.model_copy(update={"status": Status.STARTED, "owner": owner().model_copy(update={"start_ticks": 1})})
    (folder / "run.json").write_bytes(encode_run(gone))
    result = call(watch, str(folder))
    assert result.exit_code == 6
    assert "abandoned" in result.stdout


def test_steps_of_an_earlier_run_of_the_same_source_give_an_eta(campaign: Path) -> None:
    earlier, done = begin(campaign, campaign.parent, "2026-01-08T00-00-00Z-bbbbbb")
    report(earlier, 40)
    (earlier / "run.json").write_bytes(encode_run(done))
    folder, _ = begin(campaign, campaign.parent)
    report(folder, 10)
    written_s = (folder / "progress.jsonl").stat().st_mtime
    sight = look_at_run(folder, written_s + 1)
    assert (sight.phase, sight.steps) == ("TRAIN", 40)
    assert sight.clock_s == pytest.approx(2.0)  # 1 s at the report, 1 s since
    assert sight.eta_s == pytest.approx(2.0)
    assert "step 10/40" in describe(sight)
    assert look_at_run(folder, written_s + 2 * watching.QUIET_S).phase == "TRAIN or SCORE"
    report(folder, 40)
    assert look_at_run(folder).phase == "SCORE"


def test_a_short_run_is_told_as_it_was_and_score_by_its_name(campaign: Path) -> None:
    """The referee writes STOP down before it scores: no guess, and not the time since."""
    folder, _ = begin(campaign, campaign.parent)
    report(folder, 1)
    stopped = read_run(folder).model_copy(update={"phases": Phases(prepare_ns=10**9, train_ns=4_000_000)})
    (folder / "run.json").write_bytes(encode_run(stopped))
    sight = look_at_run(folder, (folder / "progress.jsonl").stat().st_mtime + 100)
    assert (sight.phase, sight.clock_s) == ("SCORE", 0.004)
    assert "0.004 s from GO to STOP" in describe(sight)


def test_a_campaign_that_is_closed_says_what_it_came_to(campaign: Path, call: Call) -> None:
    result = call(watch, "c000000")
    assert result.stdout.count("candidate ") == 2
    assert "Valid?" in result.stdout
    assert result.exit_code in (0, 1)
    assert json.loads(call(watch, str(campaign), "--json").stdout)["closed"] is True


def test_a_campaign_of_self_timed_scripts_is_followed_run_by_run(
    tmp_path: Path, bundles: ModuleType, call: Call, clock: Clock
) -> None:
    folder: Path = bundles.make_stated_bundle(tmp_path / "stated", baseline_times=(5.0, 5.05), closed=False)
    last = read_bundle(folder).stated[-1].run
    path, ledger = folder / "runs" / last.run_id / "legacy.json", folder / "ledger.jsonl"
    over, whole = read_self_timed(path), ledger.read_bytes()
    path.write_bytes(encode(over.model_copy(update={"status": Status.STARTED, "owner": owner()})))
    ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))  # its outcome is not there yet
    assert look_at_campaign(folder).begun[-1] == last.run_id
    clock.steps = [lambda: None, lambda: path.write_bytes(encode(over)), lambda: ledger.write_bytes(whole)]
    lines = call(watch, str(folder)).stdout.splitlines()
    assert [": complete: " in line for line in lines[:5]] == [True, True, True, False, True], lines
    assert re.search(r"^3 of 4 runs done; run 4: candidate since \d+ s; it times itself$", lines[3]), lines
    assert over.run_id in lines[4]
    assert lines[5:7] == ["3 of 4 runs done", lines[6]]
    assert "Nobody conducts it any more" in lines[6]


def test_a_campaign_that_nobody_conducts_ends_the_watching(
    tmp_path: Path, campaign: Path, make_bundle: Make, call: Call, clock: Clock
) -> None:
    shutil.rmtree(campaign)
    open_one = make_bundle(tmp_path / "runs" / "open", candidate_times=(2.0, 2.1), closed=False)
    result = call(watch, str(open_one))
    assert watch_command.GRACE_S < clock.now_s - 1000 < 2 * watch_command.GRACE_S  # another run might begin meanwhile
    assert result.exit_code == 6
    assert "Nobody conducts it any more" in result.stdout


def test_a_conducted_campaign_is_told_from_the_kernels_locks(campaign: Path) -> None:
    assert not is_conducted(campaign)
    code = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "
    holder = subprocess.Popen(
        [sys.executable, "-c", code + "sys.stdin.read()", str(campaign / "ledger.jsonl")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        assert is_conducted(campaign)
        assert look_at_campaign(campaign).conducted
        assert find_watched(None) == campaign
    finally:
        holder.communicate()
    with (campaign / "ledger.jsonl").open("ab") as file:  # looking has not taken the lock
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_cannot_be_watched_is_said_in_one_sentence(campaign: Path) -> None:
    with pytest.raises(UserError, match=r"a run in progress in .*, found none; the last one was 2026-01-02"):
        find_watched(None)
    with pytest.raises(UserError, match="found 'nobody'"):
        find_watched("nobody")
    with pytest.raises(UserError, match="which could be 3"):
        find_watched("2026-01-02")


def test_ctrl_c_ends_the_watching_and_not_the_run(campaign: Path, call: Call, clock: Clock) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    folder, _ = begin(campaign, campaign.parent)
    clock.steps = [interrupt]
    result = call(watch)
    assert result.exit_code == 130
    assert "it goes on" in result.stdout
    assert read_run(folder).status == Status.STARTED


ELSEWHERE = {"boot_id": "another boot", "host": "pod-7", "machine_id": None}


def lost(campaign: Path, **where: Any) -> Path:
    """A run that says it is in progress, of a referee that this process is not, with its reserve."""
    folder, done = begin(campaign, campaign.parent)
    started = done.model_copy(update={"status": Status.STARTED, "finished_at": None})
    other = owner().model_copy(update={"pid": 2**22 + 1, **where})
    (folder / "run.json").write_bytes(encode_run(started.model_copy(update={"owner": other})))
    (folder / ".reserve").touch()
    return folder


def test_a_run_lost_with_its_host_is_told_everywhere_and_closed_by_hand(
    campaign: Path, call: Call, clock: Clock, monkeypatch: pytest.MonkeyPatch, meets_schema: Callable[[str, Any], None]
) -> None:
    folder = lost(campaign, **ELSEWHERE)
    monkeypatch.setenv("SPEEDRUN_RUNS", str(campaign.parent))
    told = f"started on pod-7, process {2**22 + 1}; only there can be told whether it is in progress; if it is over, "
    shown = call(leaderboard, "--track", "tiny")
    assert f"{told}`speedrun close" in shown.stderr
    assert "pod-7" not in call(leaderboard, "--track", "tiny", "--records").stderr
    (check,) = doctor._open_runs()
    assert (check.verdict, folder.name in check.found, "pod-7" in check.found) == ("note", True, True)
    with pytest.raises(UserError, match=r"expected --yes, since nobody can see .* process \d+ on pod-7 is gone"):
        call(close, folder.name)
    assert read_run(folder).status == Status.STARTED
    clock.steps = [lambda: meets_schema("close-output", json.loads(call(close, folder.name, "--yes", "--json").stdout))]
    watched = call(watch, folder.name)
    assert (watched.exit_code, told in watched.stdout) == (6, True)
    assert "closed by hand" in watched.stdout
    kept = json.loads((folder / "run.json").read_bytes())
    assert (kept["status"], (folder / ".reserve").exists()) == ("abandoned", False)
    assert kept["finished_at"]
    assert doctor._open_runs() == []


def test_a_run_that_never_began_has_no_place_on_the_board(
    campaign: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that was refused: its folder says why, and the board is for runs."""
    monkeypatch.setenv("SPEEDRUN_RUNS", str(campaign.parent))
    folder, done = begin(campaign, campaign.parent)
    for sandbox, shown in ((None, False), ("process", True)):
        refused = done.model_copy(update={"status": Status.SOURCE_TOO_BIG, "sandbox": sandbox, "score": None})
        (folder / "run.json").write_bytes(encode_run(refused))
        rows = json.loads(call(leaderboard, "--track", "tiny", "--json").stdout)["standings"]
        assert ("source_too_big" in {row["status"] for row in rows}) == shown


def test_only_a_run_whose_referee_may_be_gone_is_closed(campaign: Path, call: Call) -> None:
    folder, done = begin(campaign, campaign.parent)
    with pytest.raises(UserError, match=r"found it at work: process \d+"):
        call(close, str(folder), "--yes")
    (folder / "run.json").write_bytes(encode_run(done))
    with pytest.raises(UserError, match="ended as complete"):
        call(close, str(folder), "--yes")
    with pytest.raises(UserError, match="found a campaign"):
        call(close, str(campaign))
    for gone in ({}, {"pid_namespace": 1}):  # of this pid namespace; of another of this machine, its lock given back
        shutil.rmtree(folder)
        folder = lost(campaign, **gone)
        told = json.loads(call(close, str(folder), "--json").stdout)
        assert (told["status"], "was killed" in told["sentence"]) == ("abandoned", True)


@pytest.mark.slow
def test_a_real_run_is_watched_from_outside(
    speedrun: Any, write_submission: Callable[..., Path], tmp_path: Path, until: Callable[..., Any]
) -> None:
    seen = tmp_path / "seen"  # PREPARE lasts until the watcher has told of it
    wait = f"while not os.path.exists({str(seen)!r}):\n    time.sleep(0.02)"
    process = speedrun.begin(write_submission(tmp_path, prepare=wait), "--nproc", "1", "--require-sandbox", "process")
    until(lambda: list(speedrun.runs.glob("*/run.json")), "a run")
    watcher = speedrun.start(sys.executable, "-m", "harness", "watch")
    assert watcher.stdout is not None
    told = [watcher.stdout.readline()]
    while told[-1] and not told[-1].startswith("PREPARE"):
        told.append(watcher.stdout.readline())
    seen.touch()
    rest, stderr = watcher.communicate(timeout=600)
    outcome, stdout = speedrun.end(process), "".join(told) + rest
    assert (watcher.returncode, stderr) == (outcome.code, ""), (stdout, outcome.stderr, outcome.log)
    assert re.search(r"^PREPARE", stdout, re.MULTILINE), stdout
    assert outcome.record["sentence"] in stdout


def test_it_learns_from_no_other_source(campaign: Path) -> None:
    assert steps_taken("0" * 64, "0" * 64) is None
    assert watching.LEARNED_FROM > 0
