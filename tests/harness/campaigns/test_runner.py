"""Campaigns: killed, interrupted, let down by their machine, and taken up without repeating or hiding a run."""

import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.campaigns import executors, runner
from harness.campaigns.bundle import Bundle, read_bundle
from harness.campaigns.campaign import Plan, Slot, make_plan
from harness.campaigns.executors import Options
from harness.campaigns.languages import language_secret
from harness.campaigns.ledger import read_ledger
from harness.campaigns.runner import CampaignResult, begin, open_campaigns, run_campaign
from harness.errors import RunFailure, UserError
from harness.formats import environment, layout
from harness.formats.environment import Environment, collect
from harness.formats.observer import Observer
from harness.formats.run import Owner, RunRecord, encode_run, owner
from harness.formats.run_folder import close_abandoned
from harness.formats.submission import Submission, read_submission
from harness.formats.track import load_track
from harness.referee import machine, spoken
from harness.referee.run_state import Request, first_record
from harness.status import Status
from harness.system import clock, scratch
from harness.system.clock import utc_now
from harness.system.interrupts import Interrupts

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
NOBODY = Owner(pid=1, start_ticks=1, boot_id="00000000-0000-0000-0000-000000000000")
SEEDED = """
if weights:
    weights["table"] = torch.randn(run.vocab_size, generator=torch.Generator().manual_seed(run.seed)) / 9
"""


class Killed(BaseException):
    """What SIGKILL does to a process, as far as its own code can tell: nothing after it runs."""


class Watch:
    """Writes down what it is shown."""

    def __init__(self) -> None:
        self.ended_runs: list[tuple[int, str]] = []

    def begins(self, slot: Slot, plan: Plan) -> Observer:
        return Observer()

    def ended(self, slot: Slot, run: RunRecord) -> None:
        self.ended_runs.append((slot.index, run.run_id))


class Stand:
    """A campaign whose runs are invented: `endings` says what becomes of each, in order; complete by default."""

    def __init__(self, tmp_path: Path, data_root: Path, bundles: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundles, self.options = bundles, Options(data_root=data_root)
        self.endings: Iterator[Status | Callable[[Path, RunRecord], None]] = iter(())
        self.requests: list[Request] = []
        self.now, self.owner = utc_now(), NOBODY
        monkeypatch.setattr(clock, "wall_now", lambda: self.now)  # invented runs take as long as they say
        self.source = tmp_path / "mine" / "train_gpt.py"
        self.source.parent.mkdir()
        self.source.write_bytes(BIGRAM.read_bytes())
        self.track = load_track(str(TRACK))
        self.arms: list[Submission] = [read_submission(self.source), read_submission(BIGRAM)]
        self.folder = begin(self.plan(), TRACK, self.arms, tmp_path / "runs")
        monkeypatch.setattr(executors, "execute", self.execute)
        monkeypatch.setattr(environment, "collect", this_machine)

    def plan(self, runs: int = 2) -> Plan:
        return make_plan(
            track=self.track, candidate=self.arms[0], baseline=self.arms[1], runs=runs, world_size=2, device="cpu",
            sandbox="process", created_at=clock.utc_now(),
        )  # fmt: skip

    def execute(self, request: Request, _: Observer) -> tuple[RunRecord, Path]:
        """The attempt must be on disk by now; then the run ends as it is told to."""
        entry = read_ledger(self.folder / "ledger.jsonl").entries[-1]
        assert (entry.kind, entry.run_id, entry.slot) == ("attempt", request.run_id, request.campaign.slot)  # type: ignore[union-attr]
        self.requests.append(request)
        ending = next(self.endings, Status.COMPLETE)
        folder = request.runs_root / str(request.run_id)
        record = first_record(request, folder.name).model_copy(update={"owner": self.owner})
        assert request.language is not None
        reached = self.bundles.speaking(record, self.track, request.language).model_copy(update={"sandbox": "process"})
        told = random.Random(len(self.requests))
        whole: RunRecord = self.bundles.scored(reached, self.track, 2 + len(self.requests) / 9, 5.0, told)
        assert whole.finished_at is not None
        self.now += whole.finished_at - record.started_at + timedelta(seconds=1)
        if callable(ending):
            ending(folder, whole)
            raise AssertionError("should have been killed")
        run = whole if ending == Status.COMPLETE else reached.model_copy(update={"status": ending, "sentence": "so"})
        write(folder, run)
        return run, folder

    def go(self, *endings: Status | Callable[[Path, RunRecord], None], resumed: bool = False) -> CampaignResult:
        self.endings = iter(endings)
        return run_campaign(self.folder, self.options, Watch(), resumed)

    def bundle(self) -> Bundle:
        return read_bundle(self.folder)


@cache
def this_machine(python: Path | None = None) -> Environment:
    """Asked once: it takes a tenth of a second or more."""
    return collect(python)


def write(folder: Path, run: RunRecord) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_bytes(encode_run(run))


@pytest.fixture
def stand(tmp_path: Path, data_root: Path, bundles: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path, data_root, bundles, monkeypatch)


def test_slots_are_filled_in_their_order_and_every_attempt_is_logged_before_it_starts(stand: Stand) -> None:
    assert stand.go() == CampaignResult(stand.folder, None)
    bundle = stand.bundle()
    assert (bundle.findings, bundle.closed, len(bundle.attempts)) == ((), True, 4)
    assert [request.seed for request in stand.requests] == [slot.seed for slot in bundle.plan.slots]
    assert [request.submission.root.name for request in stand.requests] == [slot.arm for slot in bundle.plan.slots]
    assert {request.require_sandbox for request in stand.requests} == {"process"}


def test_what_the_submission_did_fills_its_slot(stand: Stand) -> None:
    assert stand.go(Status.TRAIN_TIMEOUT, Status.RANK_DIED).stopped_by is None
    bundle = stand.bundle()
    assert (bundle.closed, len(bundle.attempts)) == (True, 4)
    assert [run.status for run in bundle.runs("candidate")] == [Status.TRAIN_TIMEOUT, Status.COMPLETE]


@pytest.mark.parametrize("status", [Status.DISK_FULL, Status.MACHINE_BUSY, Status.JUDGE_FAILED, Status.INTERRUPTED])
def test_what_the_machine_did_ends_the_sitting_and_is_repeated_with_its_seed(stand: Stand, status: Status) -> None:
    campaign_result = stand.go(Status.COMPLETE, status)
    assert campaign_result.stopped_by is not None
    assert campaign_result.stopped_by.status == status
    assert {finding.id for finding in stand.bundle().findings} == {"not_closed"}
    assert stand.go(resumed=True).stopped_by is None
    bundle = stand.bundle()
    assert (bundle.findings, bundle.closed) == ((), True)
    assert [(attempt.slot.index, attempt.counted) for attempt in bundle.attempts] == [
        (0, True), (1, False), (1, True), (2, True), (3, True)
    ]  # fmt: skip
    assert stand.requests[1].seed == stand.requests[2].seed


ELSEWHERE = Owner(pid=1, start_ticks=1, boot_id="1" * 8, host="rented", machine_id="ab" * 8, pid_namespace=1)


def test_an_open_pair_starts_anew_on_another_machine(stand: Stand) -> None:
    stand.owner = ELSEWHERE
    assert stand.go(Status.COMPLETE, Status.COMPLETE, Status.COMPLETE, Status.DISK_FULL).stopped_by is not None
    stand.owner = owner()
    assert stand.go(resumed=True).stopped_by is None
    bundle = stand.bundle()
    assert (bundle.findings, bundle.closed) == ((), True)
    tried = [(attempt.slot.index, attempt.counted) for attempt in bundle.attempts]
    assert tried == [(0, True), (1, True), (2, False), (3, False), (2, True), (3, True)]


def test_a_run_that_is_done_again_on_its_own_machine_is_found(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.owner = owner()
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    monkeypatch.setattr(runner, "same_machine", lambda a, b: False)
    stand.go(resumed=True)
    assert {finding.id for finding in stand.bundle().findings} == {"reopened_without_cause"}


def killed_at_once(folder: Path, run: RunRecord) -> None:
    raise Killed


def killed_with_an_empty_folder(folder: Path, run: RunRecord) -> None:
    folder.mkdir()
    raise Killed


def killed_in_the_middle(folder: Path, run: RunRecord) -> None:
    started = {"status": Status.STARTED, "score": None, "finished_at": None}
    write(folder, run.model_copy(update=started))
    (folder / ".reserve").touch()
    raise Killed


def killed_after_the_end(folder: Path, run: RunRecord) -> None:
    write(folder, run)
    raise Killed


KILLS = [killed_at_once, killed_with_an_empty_folder, killed_in_the_middle, killed_after_the_end]


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("before", [0, 2, 3])
def test_a_killed_campaign_goes_on_where_it_was(stand: Stand, before: int, kill: Any) -> None:
    with pytest.raises(Killed):
        stand.go(*[Status.COMPLETE] * before, kill)
    assert stand.go(resumed=True).stopped_by is None
    bundle = stand.bundle()
    assert (bundle.findings, bundle.closed) == ((), True)
    finished = kill is killed_after_the_end
    assert len(stand.requests) == (4 if finished else 5), "what was over is not repeated, and all else is"
    assert len(bundle.attempts) + bundle.lost == len(stand.requests), "and nothing is hidden"
    assert len(bundle.runs("candidate")) == len(bundle.runs("baseline")) == 2
    statuses = [attempt.run.status for attempt in bundle.attempts if not attempt.counted]
    assert statuses == ([Status.ABANDONED] if kill is killed_in_the_middle else [])


def test_killed_again_and_again(stand: Stand) -> None:
    for kill in (*KILLS[:3], KILLS[0]):
        with pytest.raises(Killed):
            stand.go(kill, resumed=True)
    assert stand.go(resumed=True).stopped_by is None
    bundle = stand.bundle()
    assert (bundle.findings, bundle.closed, bundle.lost) == ((), True, 3)
    assert len(stand.requests) == 8


def test_a_line_torn_by_a_crash_is_no_obstacle(stand: Stand) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    with (stand.folder / "ledger.jsonl").open("ab") as file:
        file.write(b'{"at":"2026')
    assert "ledger_truncated" in {finding.id for finding in stand.bundle().findings}
    assert stand.go(resumed=True).stopped_by is None
    assert stand.bundle().findings == ()


def test_a_campaign_whose_ledger_was_edited_is_not_continued(stand: Stand) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    path = stand.folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"disk_full"', b'"abandoned"'))
    path.write_bytes(path.read_bytes().replace(b'"complete"', b'"rank_died"'))
    with pytest.raises(UserError, match="does not continue"):
        stand.go(resumed=True)


def test_a_closed_campaign_stays_closed(stand: Stand) -> None:
    stand.go()
    before = (stand.folder / "ledger.jsonl").read_bytes()
    assert stand.go(resumed=True) == CampaignResult(stand.folder, None)
    assert (stand.folder / "ledger.jsonl").read_bytes() == before
    assert len(stand.requests) == 4


def test_runs_on_another_machine_do_not_join(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    other = this_machine().model_copy(update={"torch": "1.0.0"})
    monkeypatch.setattr(environment, "collect", lambda _: other)
    before = sorted((stand.folder / "runs").iterdir())
    with pytest.raises(UserError) as refused:
        stand.go(resumed=True)
    sentence = str(refused.value)
    assert f"torch {this_machine().torch} before and 1.0.0 now" in sentence
    assert sorted((stand.folder / "runs").iterdir()) == before, "nothing was started"


def test_other_data_does_not_join(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    monkeypatch.setattr(spoken, "RECIPE", 99)
    with pytest.raises(UserError, match=r"data text embedded-tiny, recipe 1, .* before and .*, recipe 99, .* now"):
        stand.go(resumed=True)


def test_runs_of_a_pair_share_a_language_and_no_other_run_has_it(stand: Stand) -> None:
    """Slots: 0 and 1 are one pair, 2 and 3 the other; what is repeated gets a new one, for the rest of its pair too."""
    assert stand.go(Status.DISK_FULL).stopped_by is not None
    assert stand.go(Status.COMPLETE, Status.COMPLETE, Status.COMPLETE, Status.DISK_FULL, resumed=True).stopped_by
    assert stand.go(resumed=True).stopped_by is None
    vain, *pair, third, in_vain, last = [request.language for request in stand.requests]
    assert pair[0] == pair[1] != vain
    assert third == in_vain != last
    assert len({vain, *pair, third, last}) == 4
    bundle = stand.bundle()
    assert bundle.findings == ()
    assert [attempt.run.language for attempt in bundle.attempts] == [
        request.language.hex() for request in stand.requests
    ]  # type: ignore[union-attr]


def test_the_secret_is_fixed_before_the_first_run_and_told_after_the_last(stand: Stand) -> None:
    path, ledger = stand.folder / layout.LANGUAGES_FILE, stand.folder / layout.LEDGER_FILE
    secret = bytes.fromhex(path.read_text().strip())
    assert path.stat().st_mode & 0o777 == 0o600
    plan = read_ledger(ledger).plan
    assert plan is not None
    assert plan.languages_sha256 == hashlib.sha256(secret).hexdigest()
    stand.go()
    assert read_ledger(ledger).languages == secret.hex()
    assert not path.exists()
    assert [request.language for request in stand.requests] == [
        language_secret(secret, slot, repeats=0) for slot in plan.slots
    ]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("00" * 32)])
def test_without_its_secret_a_campaign_does_not_go_on(stand: Stand, damage: Callable[[Path], object]) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    damage(stand.folder / layout.LANGUAGES_FILE)
    with pytest.raises(UserError, match=r"languages\.secret"):
        stand.go(resumed=True)
    assert len(stand.requests) == 2


def test_what_runs_is_the_campaigns_own_copy(stand: Stand) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    stand.source.write_text("import os  # changed its mind\n")
    assert stand.go(resumed=True).stopped_by is None
    assert len({request.submission.sha256 for request in stand.requests}) == 2
    assert stand.bundle().findings == ()


@pytest.mark.parametrize("name", ["candidate/bigram.py", "baseline/bigram.py", "track.toml"])
def test_a_campaign_whose_own_copy_was_touched_refuses(stand: Stand, name: str) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    path = stand.folder / name.replace("candidate/bigram.py", "candidate/train_gpt.py")
    path.write_bytes(path.read_bytes() + b"\n# faster\n")
    with pytest.raises(UserError, match="own"):
        stand.go(resumed=True)
    assert len(stand.requests) == 2, "nothing was started"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_between_two_runs_ends_the_sitting(stand: Stand, number: signal.Signals) -> None:
    def signalled(self: Any, slot: Slot, run: RunRecord) -> None:
        if slot.index == 1:
            os.kill(os.getpid(), number)

    stand.endings = iter(())
    watch = type("Signalled", (Watch,), {"ended": signalled})()
    with pytest.raises(RunFailure) as stopped:
        run_campaign(stand.folder, stand.options, watch)
    assert stopped.value.status == {signal.SIGINT: Status.INTERRUPTED}.get(number, Status.TERMINATED)
    assert len(stand.requests) == 2
    assert len(stand.bundle().attempts) == 2, "the run that was over is in the ledger"
    assert stand.go(resumed=True).stopped_by is None
    assert stand.bundle().findings == ()


def test_a_signal_that_comes_while_a_run_is_recorded_is_heard_by_its_campaign() -> None:
    with Interrupts() as campaign:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(RunFailure, match="SIGTERM"), campaign.raised():
            pass


def test_a_signal_that_comes_before_a_run_is_heard_by_the_run() -> None:
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with Interrupts() as run, pytest.raises(RunFailure, match="SIGINT"), run.raised():
            pass


@pytest.mark.parametrize("kill", [Status.DISK_FULL, killed_in_the_middle])
def test_a_clock_that_was_set_back_is_told_and_the_ledger_stays_in_order(stand: Stand, kill: Any) -> None:
    """Twice, and once forward: times go on from what is entered, and whatever was begun before has ended by then."""
    for days in (-2, 1, -400):
        with pytest.raises(Killed) if kill in KILLS else nullcontext():
            stand.go(kill, resumed=True)
        stand.now += timedelta(days=days)
    told: list[str] = []
    stand.options = replace(stand.options, on_notice=told.append)
    assert stand.go(resumed=True).stopped_by is None
    ledger = read_ledger(stand.folder / "ledger.jsonl")
    assert {finding.id for finding in stand.bundle().findings} == {"ledger_goes_back_in_time"}, (
        "as long as it is behind"
    )
    stand.now += timedelta(days=401)
    assert stand.bundle().findings == ()
    assert len(told) == 1
    assert re.match("the machine's clock was 4.. days, .* behind", told[0]), told
    sentences = [entry.sentence for entry in ledger.entries if entry.kind == "resumed"]
    assert ["the machine's clock was" in sentence for sentence in sentences] == [False, True, True, True]
    names = [entry.run_id for entry, _ in ledger.attempts]
    assert names == sorted(names), "later runs sort later"
    before = read_ledger(stand.folder / "ledger.jsonl")
    assert (stand.go(resumed=True).stopped_by, read_ledger(stand.folder / "ledger.jsonl")) == (None, before)


def test_what_the_raw_clock_counted_has_passed_on_the_campaigns_clock(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sitting of the same boot, an hour of it later, the wall clock set back to the plan."""
    stand.owner, start = owner(), stand.now
    stand.go(Status.COMPLETE, Status.COMPLETE, Status.DISK_FULL)
    stamps = [run.stamps for arm in ("candidate", "baseline") for run in stand.bundle().runs(arm)]
    last_ns = max(each.start_ns for each in stamps if each is not None)
    stand.now = start
    monkeypatch.setattr(clock, "now_ns", lambda: last_ns + 3600 * clock.NS)
    assert stand.go(resumed=True).stopped_by is None
    runs = [attempt.run for attempt in stand.bundle().attempts]
    assert (runs[-1].started_at - runs[1].started_at).total_seconds() >= 3600 * 0.999 - 2


def test_open_campaigns_are_not_forgotten(stand: Stand, tmp_path: Path) -> None:
    stand.go(Status.COMPLETE, Status.DISK_FULL)
    ((folder, plan, filled),) = open_campaigns(tmp_path / "runs")
    assert (folder, plan.runs_per_arm, filled) == (stand.folder, 2, 1)
    stand.go(resumed=True)
    assert open_campaigns(tmp_path / "runs") == []


def test_a_file_that_changed_while_it_was_planned_is_refused(stand: Stand, tmp_path: Path) -> None:
    plan = stand.plan()
    stand.source.write_text("import os\n")
    with pytest.raises(UserError, match="changed"):
        begin(plan, TRACK, stand.arms, tmp_path / "runs")
    assert open_campaigns(tmp_path / "runs") == open_campaigns(stand.folder.parent)
    other = tmp_path / "track.toml"
    other.write_bytes(TRACK.read_bytes() + b"\n")
    with pytest.raises(UserError, match="changed"):
        begin(stand.plan(), other, stand.arms, tmp_path / "elsewhere")


# --- the real thing ---


def start(speedrun: Any, command: str, *arguments: str | Path) -> Any:
    return speedrun.start(sys.executable, "-m", "harness", command, *arguments)


def attempts(speedrun: Any) -> list[Path]:
    return sorted(path.parent for path in speedrun.runs.glob("*/runs/*/log.txt"))


KILLED_AT_THE_SECOND_GO = """
import os, signal
from harness.referee.referee import Referee
fire, gone = Referee._fire, []
def killed(self):
    fire(self)
    gone.append(self)
    if len(gone) == 2: os.kill(os.getpid(), signal.SIGKILL)
Referee._fire = killed
"""


SET_BACK = """
import time
right = time.time_ns
time.time_ns = lambda: right() - 2 * 24 * 3600 * 10**9
from harness.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_comparison_killed_and_taken_up(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any, with_seeds: Any
) -> None:
    """Four runs and one that was killed; through torchrun, sandbox and judge; the clock set back in between."""
    track = write_track(tmp_path, target_val_loss=7.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    candidate = write_submission(tmp_path / "a", prepare=SEEDED, train="time.sleep(0.05)")
    baseline = write_submission(tmp_path / "b", prepare=SEEDED, train="time.sleep(0.5)")
    python, dash_c, seeded = with_seeds(1, 2)
    argv: tuple[str | Path, ...] = ("compare", candidate, baseline, "--runs", "2", "--track", track, "--anyway")
    killed = speedrun.end(speedrun.start(python, dash_c, KILLED_AT_THE_SECOND_GO + seeded, *argv))
    assert (killed.code, len(attempts(speedrun))) == (-signal.SIGKILL, 2), killed.stderr
    (folder,) = speedrun.runs.glob("*")
    candidate.write_text("the campaign does not look at it again")
    done = speedrun.end(speedrun.start(python, dash_c, SET_BACK, "run", "--resume", folder, "--json"))
    assert done.code == 0, done.stderr
    assert re.search(r"the machine's clock was (2 days|1 day, 23:).* behind what is entered", done.stderr)
    summary = json.loads(done.stdout)
    assert (summary["closed"], summary["stopped_by"]) == (True, None)
    assert "track_unknown" in {finding["id"] for finding in summary["findings"]}, "what submit would say"
    assert (summary["evidence"]["attempts"], summary["evidence"]["uncounted"]) == (5, 1)
    times = {arm: summary["evidence"][arm]["times_s"] for arm in ("candidate", "baseline")}
    assert min(times["baseline"]) > 0.49, "it sleeps for half a second"
    expected = sum(times["candidate"]) / sum(times["baseline"])
    assert summary["evidence"]["comparison"]["ratio"] == pytest.approx(expected)
    ours, theirs = (summary["evidence"][arm]["losses"] for arm in ("candidate", "baseline"))
    assert ours[1] == theirs[1], "pairs share seed and language"
    assert ours[0] != theirs[0], "but for a run that was tried again: its language is new"
    assert len(set(ours)) == 2
    bundle = read_bundle(folder)
    assert bundle.findings == (), "on a clock that was set back by two days"
    assert len({attempt.run.language for attempt in bundle.attempts if attempt.counted}) == 3
    assert [attempt.run.status for attempt in bundle.attempts if not attempt.counted] == [Status.ABANDONED]
    assert len(list((folder / "runs").iterdir())) == 5
    assert list(folder.glob("runs/*/.reserve")) == []
    assert speedrun.leftovers() == []
    assert "4 of 4" in done.stderr


def test_ctrl_c_ends_a_campaign_that_can_go_on(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any, until: Any
) -> None:
    script = write_submission(tmp_path, train="print('now waiting', flush=True)\ntime.sleep(600)")
    process = start(speedrun, "run", script, "--runs", "2", "--anyway", "--track", write_track(tmp_path, train_s=600))
    until(lambda: any("now waiting" in (run / "log.txt").read_text() for run in attempts(speedrun)), "the first run")
    process.send_signal(signal.SIGINT)
    stopped = speedrun.end(process)
    assert stopped.code == 130, stopped.stdout + stopped.stderr
    assert "speedrun run --resume" in stopped.stdout + stopped.stderr  # by whoever the signal met
    (folder,) = speedrun.runs.glob("*")
    bundle = read_bundle(folder)
    assert [attempt.run.status for attempt in bundle.attempts] == [Status.INTERRUPTED]
    assert {finding.id for finding in bundle.findings} == {"not_closed"}
    assert speedrun.leftovers() == []


WRONG: dict[str, tuple[list[str], str]] = {
    "nothing to run": (["run"], "expected a SCRIPT"),
    "a script twice": (["run", str(BIGRAM), "--resume", "x"], "found SCRIPT too"),
    "another n": (["run", "--resume", "x", "--runs", "3"], "found --runs too"),
    "a dry run of a rest": (["run", "--resume", "x", "--dry-run"], "found --dry-run too"),
    "no campaign": (["run", "--resume", str(ROOT / "docs")], "ledger.jsonl"),
    "a seed": (["run", str(BIGRAM), "--runs", "3", "--seed", "1", "--track", str(TRACK)], "no --seed with --runs"),
    "practice": (["run", str(BIGRAM), "--runs", "3", "--practice", "--track", str(TRACK)], "no --practice with --runs"),
    "no runs": (["run", str(BIGRAM), "--runs", "0", "--track", str(TRACK)], "expected 1 to 1000 runs"),
    "one pair": (["compare", str(BIGRAM), str(BIGRAM), "--runs", "1", "--track", str(TRACK)], "at least 2 pairs"),
    "an unknown record": (["compare", str(BIGRAM), "2020-01-01_No", "--track", str(TRACK)], "found '2020-01-01_No'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.__main__ import main

    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    argv, expected = WRONG[case]
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_starts_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.__main__ import main

    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(BIGRAM), str(BIGRAM), "--runs", "3", "--track", str(TRACK), "--dry-run", "--json"])
    assert left.value.code == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["order"], shown["runs_per_arm"], shown["purpose"]) == ("ABBAAB", 3, "compare")
    assert shown["total_s"] == pytest.approx(6 * shown["run_s"]["value"], rel=0.01)
    assert [finding["id"] for finding in shown["findings"]] == ["track_unknown"]  # a track by path is nobody's contest
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_whose_source_breaks_the_rules(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, write_submission: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.__main__ import main

    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    broken = str(write_submission(tmp_path, top="exec('print(1)')"))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(BIGRAM), broken, "--runs", "3", "--track", str(TRACK), "--dry-run"])
    assert left.value.code == 1
    assert "error   dynamic_code: baseline: submission.py: code that is not" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_campaign_on_the_nano_track_killed_at_three_random_points(speedrun: Any, tmp_path: Path, until: Any) -> None:
    """2 arms x 4 runs of the reigning script, SIGKILL at three random points, taken up each time, closed."""
    rng = random.Random(13)  # points of the wall clock: where in a run they fall differs all the same
    script = tmp_path / "train_gpt.py"
    script.write_text((ROOT / "train_gpt.py").read_text() + "\n# the same, by another name\n")
    speedrun.data = ROOT / "data"
    same = ROOT / "train_gpt.py"  # and no record's: it chooses the numbers that this machine is quick with
    process = start(speedrun, "compare", script, same, "--runs", "4", "--track", "nano-2cpu", "--anyway")
    for kill in range(3):
        until(lambda seen=2 * kill: len(attempts(speedrun)) > seen, "another attempt", seconds=600)
        time.sleep(rng.uniform(0, 10))
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        (folder,) = speedrun.runs.glob("*")
        process = start(speedrun, "run", "--resume", folder, "--json")
    stdout, stderr = process.communicate(timeout=1800)
    summary = json.loads(stdout)
    assert summary["closed"], stderr
    bundle = read_bundle(folder)
    assert bundle.findings == ()
    assert len(bundle.runs("candidate")) == len(bundle.runs("baseline")) == 4
    assert len(bundle.attempts) + bundle.lost <= 8 + 3
    assert summary["evidence"]["comparison"]["pairs"] == 4


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_slower_script_is_found_and_two_equal_ones_are_not_told_apart(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any
) -> None:
    """For real: much slower is called slower, and what is said of times is what follows from them, also of one script
    against itself. What 2 % are called, and how seldom equal ones are told apart, test_comparison.py simulates."""
    track = write_track(tmp_path, target_val_loss=7.0, train_s=300)
    scripts = {}
    for name, seconds in (("plain", 0.5), ("slow", 10)):
        (tmp_path / name).mkdir()
        scripts[name] = write_submission(tmp_path / name, prepare=SEEDED, train=f"time.sleep({seconds})")
    found = {}
    for name, script in scripts.items():
        process = start(
            speedrun, "compare", script, scripts["plain"], "--runs", "5", "--track", track, "--anyway", "--json"
        )
        stdout, stderr = process.communicate(timeout=900)
        assert process.returncode == 0, stderr
        evidence = json.loads(stdout)["evidence"]
        times = [evidence[arm]["times_s"] for arm in ("candidate", "baseline")]
        assert [len(arm) for arm in times] == [5, 5]
        found[name] = evidence["comparison"]
        assert found[name]["ratio"] == pytest.approx(sum(times[0]) / sum(times[1]))
        expected = stats.ttest_rel(*(np.log(arm) for arm in times), alternative="less").pvalue
        assert found[name]["p_faster"] == pytest.approx(expected, rel=1e-3)
        assert found[name]["p_slower"] == pytest.approx(1 - expected, rel=1e-3)
        verdict = "faster" if expected < 0.01 else "slower" if 1 - expected < 0.01 else "undecided"
        assert found[name]["verdict"] == verdict, times
    assert found["slow"]["verdict"] == "slower", times


def test_a_busy_machine_leaves_no_line_in_the_ledger(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lock comes first. Who does not want to wait is told, and the campaign is as it was."""
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    before = (stand.folder / "ledger.jsonl").read_bytes()
    with machine.exclusive(wait=False), pytest.raises(RunFailure, match="another run holds this machine"):
        run_campaign(stand.folder, replace(stand.options, wait=False), Watch())
    assert (stand.folder / "ledger.jsonl").read_bytes() == before
    assert stand.go().stopped_by is None


def test_a_campaign_waits_for_a_busy_machine(stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default, and it says for whom; then all of its attempts count."""
    monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
    told: list[str] = []
    with ExitStack() as held:
        held.enter_context(machine.exclusive(wait=False))

        def hear(holder: str) -> None:
            told.append(holder)
            held.close()  # the other run is over

        result = run_campaign(stand.folder, replace(stand.options, on_wait=hear), Watch())
    assert result.stopped_by is None
    assert told == [f"process {os.getpid()}"]
    assert all(attempt.counted for attempt in stand.bundle().attempts)


def test_a_campaign_that_was_killed_while_it_was_made_leaves_nothing_for_good(tmp_path: Path, stand: Stand) -> None:
    dead = tmp_path / "runs" / f".begun-{scratch.here()}-4194305-1-x" / "half"
    dead.mkdir(parents=True)
    close_abandoned(tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [stand.folder.name]


def test_a_campaign_is_taken_up_in_another_container(stand: Stand) -> None:
    """Its last attempt was started where nobody can look from here; but we hold the ledger which that one must hold."""
    elsewhere = owner().model_copy(update={"pid_namespace": 1})

    def stop(folder: Path, record: RunRecord) -> None:
        write(folder, record.model_copy(update={"status": Status.STARTED, "owner": elsewhere, "score": None}))
        (folder / ".reserve").touch()
        begun.mkdir()
        raise Killed

    begun = stand.folder / "runs" / ".begun-00000000-7-1-x"  # another run in the making, of a maker there
    with pytest.raises(Killed):
        stand.go(stop)
    assert "run_extra" not in {finding.id for finding in stand.bundle().findings}
    assert stand.go(resumed=True).stopped_by is None
    statuses = [outcome.status for _, outcome in read_ledger(stand.folder / "ledger.jsonl").attempts if outcome]
    assert statuses[0] == Status.ABANDONED
    assert not list(stand.folder.glob("runs/*/.reserve"))
    assert not begun.exists()
    begun.mkdir()
    assert "run_extra" in {finding.id for finding in stand.bundle().findings}
