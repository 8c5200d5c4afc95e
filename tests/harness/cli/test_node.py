"""speedrun doctor --race: what it would race, what it finds without a race, what it keeps, and one real race."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.campaigns.bundle import read_bundle
from harness.campaigns.runner import begin
from harness.cli import campaigns, node
from harness.formats import environment, layout
from harness.formats.node_check import read_node_check
from harness.formats.submission import read_submission
from harness.records.lookup import NamedSubmission
from harness.sandbox import levels
from harness.system.load import Counters
from harness.system.quotas import CpuQuota, read_quotas

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = (ROOT / "tests" / "submissions" / "bigram.py").read_text()
REPORTS = """        import time
        for step in range(1, 16):
            time.sleep(0.15)  # a step; a rank reports ten times a second at most
            run.log(step=step, steps=15, train_loss=5.0)
"""
SOURCE = BIGRAM.replace("        run.log(step=1, steps=1, train_loss=5.0, tokens=100_000)\n", REPORTS)


@pytest.fixture(autouse=True)
def _own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "local"))


@pytest.fixture
def record(
    contest: Path, make_bundle: Callable[..., Path], make_record: Callable[..., Path], tmp_path: Path
) -> Callable[..., Path]:
    """record(times): a record of the tiny track, made on a machine like this one."""

    def make(times: tuple[float, ...], **changes: Any) -> Path:
        here = environment.collect().model_copy(update={"gpus": (), **changes})
        bundle = make_bundle(
            tmp_path / "bundle", contest / layout.TRACK_FILE, times, tuple(2.7 + n / 100 for n in range(len(times))),
            sources={"candidate": {"train_gpt.py": SOURCE}}, environment=here, sandbox=levels.choose(None),
        )  # fmt: skip
        return make_record(bundle, "Counts pairs")

    return make


def doctor(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["doctor", *argv])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_a_record_is_raced_against_its_own_runs_and_a_quota_needs_no_race(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reigning record of the track, in a dry run; then with a folder that looks like half a machine's quota."""
    name = record((25.0, 25.2, 24.9, 25.1)).name
    monkeypatch.setattr(node, "read_quotas", lambda: ())
    code, out, _ = doctor(capsys, "--race", "--track", "tiny", "--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["record"], told["record_runs"], told["verdict"], told["unlike"]) == (0, name, 4, None, {})
    assert told["expected"]["low_s"] < 25 < told["expected"]["high_s"]
    code, out, _ = doctor(capsys, "--race", f"tiny/{name}", "--dry-run")
    assert (code, f"2 runs of tiny/{name}, which has 4 runs of its own" in out) == (0, True)
    assert "nothing was started" in out
    assert not layout.runs_root().exists()

    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpu")
    (tmp_path / "cgroup" / "cpu.max").write_text("100000 100000")
    (tmp_path / "membership").write_text("0::/\n")
    quotas = read_quotas(tmp_path / "cgroup", tmp_path / "membership")
    monkeypatch.setattr(node, "read_quotas", lambda: quotas)
    code, out, err = doctor(capsys, "--race", "--track", "tiny", "--json")
    check = read_node_check(layout.runs_root())
    assert check is not None
    assert (code, check.verdict, check.campaign_id, check.runs) == (1, "slow", None, ())
    assert json.loads(out) == json.loads(check.model_dump_json())
    assert f"found a CPU quota of 1.00 cores (50% of them) in {tmp_path / 'cgroup' / 'cpu.max'}" in check.reasons[0]
    assert check.reasons[0] in err.replace("\n", " ")
    assert [path.name for path in layout.runs_root().iterdir()] == [layout.NODE_CHECK_FILE]

    _stated_by_campaigns(capsys, tmp_path)


def _stated_by_campaigns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The plan of every kind of campaign states the newest verdict, and the ledger of one that begins keeps it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train_gpt.py").write_text(SOURCE + "\n# mine\n")
    tiny = ("--track", "tiny", "--dry-run", "--json")
    for argv in (
        ["run", str(mine), "--runs", "2", *tiny],
        ["compare", str(mine), *tiny],
        ["run", "--legacy", str(mine / "train_gpt.py"), "--runs", "2", *tiny],
        ["compare", "--legacy", str(mine / "train_gpt.py"), "--baseline-env", "A=1", "--runs", "2", *tiny],
    ):
        with pytest.raises(SystemExit):
            main(argv)
        kept = json.loads(capsys.readouterr().out)["node_check"]
        assert (kept["verdict"], kept["track"]) == ("slow", "tiny"), argv
    with pytest.raises(SystemExit):
        main(["run", str(mine), "--runs", "2", "--track", "tiny", "--dry-run"])
    assert re.search(r"node_check     slow, \d+ s ago, by tiny/", capsys.readouterr().out)
    drafted = campaigns.draft("tiny", (NamedSubmission(read_submission(mine), None),), 2, None, None, None)
    folder = begin(drafted.plan, drafted.track_file, [drafted.submissions[0].submission], tmp_path / "begun")
    line = read_bundle(folder).plan.node_check
    assert line is not None
    assert (line.verdict, line.host) == ("slow", os.uname().nodename)


def test_a_record_of_another_machine_decides_nothing_and_is_told_before(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record((25.0, 25.2), cpu_model="A Faster CPU")
    monkeypatch.setattr(node, "read_quotas", lambda: ())
    code, out, _ = doctor(capsys, "--race", "--track", "tiny", "--dry-run")
    assert (code, "unlike     CPU model: A Faster CPU there, " in out) == (0, True)


@pytest.mark.parametrize("argv", [["x"], ["--dry-run"], ["--track", "tiny"], ["--anyway"], ["--race", "/no/such.py"]])
def test_what_makes_no_sense_is_one_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = doctor(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected" in err


def test_throttling_is_what_was_counted_in_between() -> None:
    def counted(periods: int | None, time_ns: int | None) -> tuple[CpuQuota, ...]:
        return (CpuQuota(Path("a"), None, periods, time_ns), CpuQuota(Path("b"), 1.0, None, None))

    assert node._throttled(counted(3, 50), counted(5, 90)) == {"throttled_periods": 2, "throttled_ns": 40}
    assert node._throttled(counted(None, 50), counted(5, 20)) == {"throttled_ns": 0}


def test_what_others_had_is_what_was_busy_and_not_our_own() -> None:
    def counted(at_ns: int, busy_ns: int) -> Counters:
        return Counters(at_ns, frozenset({0, 1}), busy_ns, 0, 0, 0, None, None)

    assert node._others_share(counted(100, 50), counted(200, 200), own_ns=50) == 0.5  # 150 of 200 busy, 50 ours
    assert node._others_share(counted(100, 50), counted(200, 60), own_ns=50) == 0.0
    assert node._others_share(counted(100, 0), counted(100, 10), own_ns=0) == 1.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_race_ends_with_a_verdict_that_is_kept(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str], data_root: Path, evaluators_files: None,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """Against a record that took 25 s nothing is slow; the same two runs against one of a microsecond would be."""
    monkeypatch.setenv("SPEEDRUN_DATA", str(data_root))
    name = record((25.0, 25.2, 24.9, 25.1)).name
    monkeypatch.setattr(node, "read_quotas", lambda: ())
    code, out, err = doctor(capsys, "--race", "--track", "tiny")
    check = read_node_check(layout.runs_root())
    assert check is not None, err
    assert (code, check.verdict, check.record, len(check.runs)) == (0, "fit", name, 2), (out, err)
    assert [times.phase for times in check.runs[0].steps] == ["begin", "middle", "end"]
    assert check.expected is not None
    assert check.expected.runs == 4
    assert check.campaign_id is not None
    bundle = read_bundle(layout.runs_root() / check.campaign_id)
    assert [run.run_id for run in bundle.runs("candidate")] == [run.run_id for run in check.runs]
    assert [finding for finding in bundle.findings if finding.severity == "error"] == []
    assert out.startswith("fit: no run, ")
    assert "  begin   here " in out
    assert "1 of 2  candidate" in err
