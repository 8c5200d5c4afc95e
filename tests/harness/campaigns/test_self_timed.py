"""Campaigns of scripts that time themselves: real processes, every ending recorded, claims held to logs and clock."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.__main__ import main
from harness.campaigns import stated
from harness.campaigns.bundle import Bundle, read_bundle, read_refereed_bundle
from harness.campaigns.campaign import ARMS, Plan, Slot, make_plan
from harness.campaigns.executors import Options
from harness.campaigns.forecast import Group, Wishes, forecast
from harness.campaigns.ledger import read_ledger
from harness.campaigns.runner import begin, run_campaign
from harness.campaigns.scripts import ArmScript, SelfTimedPlan, gather
from harness.campaigns.summary import summarise
from harness.errors import RecordError, UserError
from harness.formats.observer import Observer
from harness.formats.track import load_track
from harness.selftimed.grammars import BY_NAME
from harness.selftimed.logs import read_log
from harness.selftimed.observed_log import claim_of
from harness.selftimed.record import SelfTimedRecord
from harness.selftimed.surroundings import ERASED, LEAST_SECRET, Eraser, parse_environment
from harness.selftimed.workcopy import find_checkout
from harness.status import Status
from harness.system import clock
from harness.system.clock import NS
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.claim_rows import claim_rows
from leaderboard.upstream.importing import import_all
from leaderboard.upstream.pull_requests import import_claims
from tests.leaderboard.upstream.made_checkouts import SMALL, Commit, a_log, base, make_checkout

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
SCRIPT = """
import json, os, signal, subprocess, sys, time
told = json.load(open("told.json"))
kind = told.get(os.environ["SEED"], "well")
def say(step, loss, ms, what="val"):
    time = "" if kind == "no time" else f" train_time:{ms:.0f}ms step_avg:1.00ms"
    print(f"step:{step}/6 {what}_loss:{loss}{time}", flush=True)
began, share = time.monotonic(), float(os.environ.get("SHARE", "1"))
for step in range(7):
    ms = 1000 * share * (time.monotonic() - began)
    say(step, 3 - step / 10 + int(os.environ["SEED"]) % 97 / 1e4, ms, "train")
    time.sleep(float(os.environ.get("PACE_S", "0.1")))
    if kind == "hangs" and step == 2:
        time.sleep(1000)
    if kind == "dies" and step == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
ms = 1000 * share * (time.monotonic() - began)
loss = 2.4 + int(os.environ["SEED"]) % 97 / 1e4
if kind == "two losses":
    say(6, loss, ms)
    print("val_loss: 2.1 (quantised)")
    print("final_int8_zlib_roundtrip val_loss:2.31 val_bpb:1.1", flush=True)
elif kind == "nan":
    say(6, float("nan"), ms)
elif kind == "floods":
    print("chatter " * 30 * 2**14, flush=True)
    say(6, loss, ms)
elif kind == "changes itself":
    open(__file__, "a").write("# changed")
    say(6, loss, ms)
elif kind == "leaves processes":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    say(6, loss, ms)
elif kind == "prints a secret":
    print("it is", os.environ["HUB_TOKEN"], flush=True)
    say(6, loss, ms)
else:
    say(6, loss, ms * float(os.environ.get("LAST_SHARE", "1")))
"""
KINDS = {
    "hangs": ("train_timeout", "run_failed"),
    "dies": ("train_failed", "run_failed"),
    "nan": ("complete", "no_result"),
    "no time": ("complete", "no_result"),
    "two losses": ("complete", "several_last_losses"),
    "floods": ("complete", "log_cut"),
    "changes itself": ("complete", "source_changed"),
    "leaves processes": ("complete", None),
    "prints a secret": ("complete", None),
}


class Killed(BaseException):
    """What SIGKILL does to a process, as far as its own code can tell."""


class Watch:
    """Counts what it is shown, and may end the campaign."""

    def __init__(self, at: dict[int, Callable[[], None]] | None = None) -> None:
        self.at = at or {}

    def begins(self, slot: Slot, plan: Plan) -> Observer:
        self.at.get(slot.index, lambda: None)()
        return Observer()

    def ended(self, slot: Slot, run: Any) -> None:
        pass


class Race:
    """A campaign of the script above in one or two settings, with its own checkout."""

    def __init__(self, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPEEDRUN_LOCKS", str(tmp_path))
        monkeypatch.setattr("harness.campaigns.campaign._draw_seeds", lambda runs: tuple(range(11, 11 + runs)))
        self.tmp_path, self.options, self.track = tmp_path, Options(data_root=data_root), load_track(str(TRACK))
        self.checkout = tmp_path / "theirs"
        self.checkout.mkdir()
        (self.checkout / "train.py").write_text(SCRIPT)
        (self.checkout / "told.json").write_text("{}")

    def plan(self, runs: int, *settings: dict[str, str], secrets: tuple[str, ...] = (), budget_s: float = 60) -> Plan:
        checkout = find_checkout(self.checkout / "train.py", self.checkout)
        self.submission, linked = gather(checkout)
        scripts = tuple(
            ArmScript(
                checkout=checkout.name, checkout_sha256=checkout.sha256, launcher="python", environment=setting,
                secrets=secrets, linked=linked,
            )
            for setting in settings
        )  # fmt: skip
        return make_plan(
            track=self.track, candidate=self.submission, baseline=self.submission if len(settings) == 2 else None,
            scripts=scripts, self_timed=SelfTimedPlan(seed_variable="SEED", budget_s=budget_s, grammars=GRAMMARS),
            runs=runs, world_size=1, device="cpu", sandbox="process", created_at=clock.utc_now(),
        )  # fmt: skip

    def begin(self, plan: Plan) -> Path:
        arms = [self.submission] * len(plan.arms)
        self.folder = begin(plan, TRACK, arms, self.tmp_path / "runs")
        return self.folder

    def go(self, watch: Watch | None = None, *, resumed: bool = False) -> Bundle:
        run_campaign(self.folder, self.options, watch or Watch(), resumed)
        return read_bundle(self.folder)


GRAMMARS = tuple(BY_NAME)


@pytest.fixture
def race(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Race:
    return Race(tmp_path, data_root, monkeypatch)


@pytest.mark.slow
def test_two_settings_of_one_tree_race_and_everything_is_derived_again(race: Race) -> None:
    race.begin(race.plan(2, {}, {"PACE_S": "0.15"}))
    bundle = race.go()
    assert [f for f in bundle.findings if f.severity == "error"] == []
    assert [attempt.slot.arm for attempt in bundle.stated] == ["candidate", "baseline", "baseline", "candidate"]
    assert [attempt.run.seed for attempt in bundle.stated] == [slot.seed for slot in bundle.plan.slots]
    assert bundle.attempts == ()
    summary = summarise(bundle, race.track, None)
    assert (summary.tier, summary.closed, summary.evidence.candidate.n) == ("reported", True, 2)
    assert summary.evidence.candidate.losses == summary.evidence.baseline.losses  # type: ignore[union-attr]
    with pytest.raises(RecordError, match="timed themselves"):
        read_refereed_bundle(race.folder)
    _is_exported(race, bundle)
    groups: list[Group] = [bundle.counted("candidate"), bundle.counted("baseline")]
    planned = forecast(race.track, groups, groups[1], Wishes(effect=0.05))
    walls = [run.observed.wall_ns / 1e9 for run in groups[1] if isinstance(run, SelfTimedRecord) and run.observed]
    assert planned.run_s.value == pytest.approx(sum(walls) / 2)
    assert planned.run_s.source == "that campaign, mean of 2 runs"

    first = race.folder / "runs" / bundle.stated[0].run.run_id
    for name, edit in {
        "log.txt": lambda text: text.replace(b"val_loss:2.4", b"val_loss:1.4"),
        "legacy.json": lambda text: text.replace(b'"val_loss": 2.4', b'"val_loss": 1.4'),
    }.items():
        before = (first / name).read_bytes()
        assert edit(before) != before
        (first / name).write_bytes(edit(before))
        assert {"run_digest", "claim_not_in_log"} <= {f.id for f in read_bundle(race.folder).findings}
        (first / name).write_bytes(before)
    assert read_bundle(race.folder).findings == bundle.findings


def _is_exported(race: Race, bundle: Bundle) -> None:
    """Logs that say the same numbers as the campaign, the scripts, and the digest of each file."""
    out = race.tmp_path / "for review"
    with pytest.raises(SystemExit) as ended:
        main(["export", "upstream", str(race.folder), str(out)])
    assert ended.value.code in (0, None)
    stated = {"this_pr": bundle.counted("candidate"), "baseline": bundle.counted("baseline")}
    for name, runs in stated.items():
        assert (out / name / "train.py").read_text() == SCRIPT
        logs = [read_log([path.read_bytes()]) for path in (out / name).glob("*.txt")]
        assert {claim_of(log) for log in logs} == {run.claim for run in runs if isinstance(run, SelfTimedRecord)}
        assert {log.source.strip() for log in logs} == {SCRIPT.encode().strip()}
    statistics = (out / "statistics.md").read_text()
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            assert hashlib.sha256(path.read_bytes()).hexdigest() in statistics
    with pytest.raises(SystemExit):
        main(["export", "upstream", str(race.folder), str(out)])
    _is_imported(race.tmp_path / "upstream", out, bundle)


def _is_imported(root: Path, exported: Path, bundle: Bundle) -> None:
    """What `speedrun import` reads of a pull request that adds the exported folder."""
    place = f"{SMALL}/2026-08-10_Mine"
    ours = {f"{place}/{path.relative_to(exported)}": path.read_text() for path in exported.rglob("*.*")}
    master, table = "refs/heads/master", f"| 7 | 1.2 minutes | x | 07/17/26 | [l]({SMALL}/2026-07-17_X/a.txt) | @a |"
    theirs = base(table, {"train_gpt.py": "old", f"{SMALL}/2026-07-17_X/a.txt": a_log(3.2784, 72_000, script="old")})
    make_checkout(root, [Commit(master, theirs), Commit("refs/pull/500/head", ours, on=master)])
    imported = import_all(Checkout(root))
    board = import_claims(Checkout(root), imported)[0]
    row = next(row for row in claim_rows(board, load_track(board.track), imported.histories[0]) if row.key == "500")
    means = [
        [fmean(numbers) for numbers in zip(*(run.result for run in bundle.counted(arm) if run.result), strict=True)]
        for arm in ARMS
    ]
    assert (row.runs, row.baseline_runs) == (2, 2)
    assert [row.time_s, row.val_loss] == pytest.approx(means[0])
    assert row.baseline_time_s == pytest.approx(means[1][0])


@pytest.mark.slow
def test_a_second_copy_verifies_at_every_moment_and_can_be_taken_up(race: Race) -> None:
    race.begin(race.plan(2, {}))
    other = race.tmp_path / "other disk"
    copy, told = other / race.folder.name, []

    def look() -> None:
        shown = read_bundle(copy)
        told.append((len(shown.stated), {f.id for f in shown.findings if f.severity == "error"}))

    def stop() -> None:
        look()
        raise Killed

    race.options = replace(race.options, copy_to=other)
    with pytest.raises(Killed):
        race.go(Watch({0: look, 1: stop}))
    assert told == [(0, {"not_closed"}), (1, {"not_closed"})]
    first, race.folder = race.folder, copy
    race.options = replace(race.options, copy_to=None)
    bundle = race.go(resumed=True)
    assert (bundle.closed, [attempt.counted for attempt in bundle.stated]) == (True, [True, True])
    race.folder, race.options = first, replace(race.options, copy_to=other)
    with pytest.raises(UserError, match="went on by itself"):
        race.go(resumed=True)


@pytest.mark.slow
@pytest.mark.parametrize("lie", [{"SHARE": "0.9"}, {"LAST_SHARE": "0.8"}])  # the last line alone: its clock goes back
def test_an_arm_that_claims_a_tenth_less_than_it_took_is_found(race: Race, lie: dict[str, str]) -> None:
    race.begin(race.plan(2, {**lie, "PACE_S": "1"}, {"PACE_S": "1"}))
    found = [f for f in race.go().findings if f.severity == "error"]
    assert [f.id for f in found] == ["claims_less_than_passed"]
    assert "candidate" in found[0].sentence


@pytest.mark.parametrize(
    ("candidate", "baseline", "ids"),
    [
        ([(0.4, 0.008), (0.4, 0.007)], [(0.5, 0.001), (0.5, 0.0008)], []),  # invented times, told within milliseconds
        ([(8.0, 8.2), (8.0, 8.2)], [(8.0, 8.0), (8.0, 8.0)], []),  # a line that came late
        ([(7.2, 8.0), (7.2, 8.0)], [(8.0, 8.0), (8.0, 8.0)], ["claims_less_than_passed"]),
        ([(4.6, 5.0), (4.6, 5.0)], [(5.0, 5.0), (6.0, 6.0)], ["claims_less_than_passed"]),
        ([(8.0, 8.0), (8.0, 8.0)], [(12.0, 8.0), (12.0, 8.0)], ["claims_less_than_passed"]),  # the other one is slowed
    ],
)
def test_a_late_line_is_no_lie(
    monkeypatch: pytest.MonkeyPatch,
    candidate: list[tuple[float, float]],
    baseline: list[tuple[float, float]],
    ids: list[str],
) -> None:
    """Seconds stated and passed in each run; a busy machine may hand a line on a quarter of a second late."""
    spans = {
        arm: [tuple(round(seconds * NS) for seconds in span) for span in runs]
        for arm, runs in (("candidate", candidate), ("baseline", baseline))
    }
    monkeypatch.setattr(stated, "clock_span", lambda span: span)
    assert [finding.id for finding in stated._shares_differ(cast(Any, spans))] == ids


@pytest.mark.slow
def test_whatever_a_script_does_ends_as_a_recorded_attempt_with_a_finding(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "hf_abcdefghijk")
    kinds = list(KINDS)
    plan = race.plan(len(kinds), {}, secrets=("HUB_TOKEN",), budget_s=10)
    (race.checkout / "told.json").write_text(
        json.dumps({str(seed): kind for seed, kind in zip(plan.seeds, kinds, strict=True)})
    )
    kept = race.plan(len(kinds), {}, secrets=("HUB_TOKEN",), budget_s=10)
    race.begin(kept.model_copy(update={"slots": plan.slots}))
    bundle = race.go()
    assert bundle.closed
    assert [attempt.run.status for attempt in bundle.stated] == [status for status, _ in KINDS.values()]
    for attempt, kind in zip(bundle.stated, kinds, strict=True):
        run, id = attempt.run, KINDS[kind][1]
        about = [f for f in bundle.findings if f.id == id and (run.run_id in f.sentence or f in run.findings)]
        own = [f for f in run.findings if f.id == id]
        assert id is None or about or own, (kind, [f.id for f in bundle.findings])
    assert [f.id for f in bundle.findings if f.severity == "error"] == []
    evidence = summarise(bundle, race.track, None).evidence
    assert (evidence.candidate.n, evidence.candidate.failed, evidence.candidate.valid) == (5, 4, False)
    everything = b"".join(path.read_bytes() for path in race.folder.rglob("*") if path.is_file())
    assert b"hf_abcdefghijk" not in everything
    assert ERASED in everything


@pytest.mark.slow
def test_a_campaign_killed_anywhere_goes_on_and_repeats_nothing_that_counts(race: Race, speedrun: Any) -> None:
    race.begin(race.plan(3, {}))
    program = [sys.executable, "-m", "harness", "run", "--resume", str(race.folder), "--json"]
    for lines in (2, 4, 5):  # the ledger's: an attempt has begun, the next one, its outcome
        process = subprocess.Popen(
            program, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "SPEEDRUN_LOCKS": str(race.tmp_path)},
        )  # fmt: skip
        while process.poll() is None and (race.folder / "ledger.jsonl").read_bytes().count(b"\n") < lines:
            os.sched_yield()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    bundle = race.go(resumed=True)
    assert bundle.closed
    assert [f for f in bundle.findings if f.severity == "error"] == []
    counted = [attempt.slot.index for attempt in bundle.stated if attempt.counted]
    assert counted == [0, 1, 2]
    assert len(read_ledger(race.folder / "ledger.jsonl").attempts) == len(bundle.stated) + bundle.lost


def test_a_killed_run_whose_log_nobody_has_read_states_nothing_and_holds(tmp_path: Path, bundles: ModuleType) -> None:
    """The referee was killed while the script ran, or just after it: the log is there, a claim is not."""

    def killed(run: SelfTimedRecord, slot: Slot) -> SelfTimedRecord:
        nothing = {"status": status, "claim": None, "observed": None, "points": (), "findings": ()}
        return run.model_copy(update=nothing) if slot.index == 1 else run

    for status, errors in ((Status.ABANDONED, {"not_closed"}), (Status.COMPLETE, {"not_closed", "claim_not_in_log"})):
        folder = bundles.make_stated_bundle(tmp_path / str(status), closed=False, change=killed)
        assert {finding.id for finding in read_bundle(folder).findings if finding.severity == "error"} == errors


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_killed_at_twenty_moments_campaign_and_copy_verify_as_far_as_they_go(race: Race, speedrun: Any) -> None:
    race.begin(race.plan(60, {"PACE_S": "0.02"}))  # as many as will not be done before the last kill
    moments, other = random.Random(22), race.tmp_path / "other disk"
    program = [sys.executable, "-m", "harness", "run", "--resume", str(race.folder), "--copy-to", str(other), "--json"]
    for _ in range(20):
        process = subprocess.Popen(
            program, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "SPEEDRUN_LOCKS": str(race.tmp_path)},
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, 5))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for folder in (race.folder, other / race.folder.name):
            if folder.exists():
                assert {f.id for f in read_bundle(folder).findings if f.severity == "error"} <= {"not_closed"}
    race.options = replace(race.options, copy_to=other)
    bundle, copy = race.go(resumed=True), read_bundle(other / race.folder.name)
    assert [attempt.slot.index for attempt in bundle.stated if attempt.counted] == list(range(60))
    assert [f for f in bundle.findings if f.severity == "error"] == []
    assert (copy.closed, copy.findings) == (True, bundle.findings)
    assert [attempt.run for attempt in copy.stated] == [attempt.run for attempt in bundle.stated]
    assert not [path for path in other.iterdir() if path.name != race.folder.name]


def test_what_runs_is_the_campaigns_copy_and_linked_data_is_held_to_its_digest(race: Race) -> None:
    data = race.tmp_path / "elsewhere" / "shard.bin"
    data.parent.mkdir()
    data.write_bytes(b"tokens")
    (race.checkout / "shards").symlink_to(data.parent)
    (race.checkout / "big.txt").write_bytes(b"x" * (2**20 + 1))
    plan = race.plan(1, {})
    script = plan.arms[0].script
    assert script is not None
    assert set(script.linked) == {"shards", "big.txt"}
    assert set(plan.arms[0].submission.files) == {"train.py", "told.json"}
    race.begin(plan)
    data.write_bytes(b"others")
    with pytest.raises(UserError, match="expected shards of theirs as it was planned"):
        race.go()
    assert read_ledger(race.folder / "ledger.jsonl").attempts == ()
    data.write_bytes(b"tokens")
    (race.folder / "candidate" / "train.py").write_text("print(1)")
    with pytest.raises(UserError, match="is not what was planned"):
        race.go()


def test_a_repository_with_years_of_logs_is_raced_without_a_copy_of_them(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """modded-nanogpt's has 1,900 files of 260 MB under records/; and any clone has files that git obeys."""
    monkeypatch.setattr("harness.campaigns.scripts.KEPT_BYTES", 40_000)
    for name, size in {"records/a/log.txt": 30_000, "records/b.py": 9_000, "data/get.py": 5_000, "k.py": 9_000}.items():
        (race.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (race.checkout / name).write_bytes(b"#" * size)
    (race.checkout / "records" / "shards").symlink_to(race.checkout / "data")
    (race.checkout / ".gitattributes").write_text("* text")
    (race.checkout / ".github").mkdir()
    (race.checkout / ".github" / "ci.yml").write_text("on: push")
    plan = race.plan(1, {})
    script = plan.arms[0].script
    assert script is not None
    assert set(script.linked) == {"records"}
    assert set(plan.arms[0].submission.files) == {"train.py", "told.json", "data/get.py", "k.py"}
    race.begin(plan)
    (race.checkout / "records" / "b.py").write_text("other")
    with pytest.raises(UserError, match="expected records of theirs as it was planned"):
        race.go()
    (race.checkout / "k.py").write_bytes(b"#" * 40_000)
    with pytest.raises(UserError, match="name a smaller folder with --checkout"):
        race.plan(1, {})


def test_the_arms_identity_holds_source_and_settings(race: Race) -> None:
    a, b = race.plan(2, {"X": "1"}, {"X": "2"}).arms
    assert a.submission == b.submission
    assert len({a.sha256, b.sha256, a.submission.sha256}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"linked": {"../x": {"target": "/", "bytes": 0, "sha256": "0" * 64}}},
        {"linked": {"/x": {"target": "/", "bytes": 0, "sha256": "0" * 64}}},
        {"linked": {name: {"target": "/", "bytes": 0, "sha256": "0" * 64} for name in ("a", "a/b")}},
        {"environment": {"A=B": "1"}},
        {"environment": {"A": "1\0"}},
        {"arguments": ["\0"]},
    ],
)
def test_a_plan_of_somebody_else_leads_nowhere_outside(change: dict[str, Any]) -> None:
    whole = {"checkout": "x", "checkout_sha256": "0" * 64, "launcher": "python"}
    ArmScript.model_validate_json(json.dumps(whole))
    with pytest.raises(ValidationError):
        ArmScript.model_validate_json(json.dumps(whole | change))


def test_plans_of_refereed_runs_keep_their_bytes(race: Race) -> None:
    plan = make_plan(
        track=race.track, candidate=gather(find_checkout(race.checkout / "train.py"))[0], runs=1, world_size=1,
        device="cpu", sandbox="process", created_at=clock.utc_now(),
    )  # fmt: skip
    written = plan.model_dump(mode="json")
    assert not {"self_timed", "languages_sha256"} & written.keys()
    assert "script" not in written["arms"][0]
    mixed = written | {"self_timed": {"budget_s": 1.0, "grammars": ["modded-nanogpt"]}}
    with pytest.raises(ValidationError, match="scripts of both arms"):
        Plan.model_validate_json(json.dumps(mixed))


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "db_password", "MY_SECRET_X"])
def test_a_secret_is_named_twice_or_refused_and_never_given_on_a_command_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "abcdefgh")
    with pytest.raises(UserError, match="named twice"):
        parse_environment([name])
    with pytest.raises(UserError, match="on a command line"):
        parse_environment([f"{name}=abcdefgh"])
    found = parse_environment(["A=1"], [name, name])
    assert (found.values, found.secrets) == ((("A", "1"),), ((name, "abcdefgh"),))


SECRETS = st.lists(st.binary(min_size=LEAST_SECRET, max_size=9).map(lambda b: b.hex()), min_size=1, max_size=3)


@given(SECRETS, st.data())
def test_no_secret_passes_however_its_text_is_cut(secrets: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.one_of(st.sampled_from(secrets), st.text("abc019 \n", max_size=9)), max_size=9))
    text, eraser = "".join(parts).encode(), Eraser(tuple(("X", secret) for secret in secrets))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = b"".join(map(eraser.feed, pieces)) + eraser.end()
    assert not any(secret.encode() in out for secret in secrets)
    if not any(secret.encode() in text for secret in secrets):
        assert out == text
