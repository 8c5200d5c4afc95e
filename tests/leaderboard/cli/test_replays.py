"""Imported records raced against each other: from a checkout, interleaved, told beside what is published."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.campaigns.bundle import read_bundle
from harness.formats import layout
from harness.formats.track import load_track
from leaderboard.board.record_names import find_record
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.history import (
    Claim,
    EmbeddedScript,
    History,
    ImportedRecord,
    ImportedRow,
    ImportedRun,
    Machine,
    Source,
    write_history,
)
from leaderboard.upstream.recover import RecoveredRun, digest, recover_run
from tests.leaderboard.upstream.made_checkouts import RULE, Commit, make_checkout

TINY = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
SCRIPT = """import os, time
took = {ms} + time.time_ns() // 1000 % 3
for step, loss, ms in ((0, 9.0, 0), (10, {loss} + time.time_ns() // 1000 % 7 / 1e5, took)):
    if os.environ.get("RANK") == "0":
        print(f"step:{{step}}/10 val_loss:{{loss:.5f}} train_time:{{ms}}ms step_avg:4.00ms", flush=True)
"""
SLOW, FAST = SCRIPT.format(ms=500, loss=3.0), SCRIPT.format(ms=400, loss=3.0)
ABSENT = "0123456789" * 4


def a_log(script: str, ms: int) -> str:
    head = f"{script}{RULE}" if script else ""
    return f"{head}Running PyTorch 2.9.0 compiled for CUDA 12.8\n{RULE}step:10/10 val_loss:3.0000 train_time:{ms}ms\n"


@pytest.fixture
def world(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LOCKS", "RUNS", "RECORDS"):
        monkeypatch.setenv(f"SPEEDRUN_{name}", str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    monkeypatch.setenv("SPEEDRUN_DATA", str(data_root))
    monkeypatch.delenv("MODDED_NANOGPT", raising=False)
    return tmp_path


def a_checkout(world: Path, commits: list[Commit], scripts: list[str], heads: list[int | str | None]) -> Path:
    """A repository, and a history of one record for each script ("": its log embeds none). Returns the repository.

    heads: of each record its own commit, as a number of `commits` or a name; None: it has none.
    """
    theirs = make_checkout(world / "theirs", commits)
    named = {n: Checkout(theirs, commit.ref).commit for n, commit in enumerate(commits)}
    shas = [named.get(head, head) if isinstance(head, int) else head for head in heads]
    (world / "records" / "tiny").mkdir()
    shutil.copy(TINY, world / "records" / "tiny" / layout.TRACK_FILE)
    folders = [f"records/r{n}" for n in range(len(scripts))]
    runs = [
        ImportedRun(n, f"{name}.txt", 0, loss, 500 - 100 * n, 10, 10, 1, 0, n, None)
        for n in range(len(scripts))
        for name, loss in (("a", 3.0), ("b", 3.0001), ("c", 2.9999))
    ]
    history = History(
        track="tiny",
        source=Source(repository="https://example.org/theirs", commit=named[0]),
        folders=tuple(folders),
        machines=(Machine("", None, "2.9.0", "12.8", "", "", ""),),
        scripts=tuple(EmbeddedScript(digest(script.encode()), None) for script in scripts),
        runs=tuple(runs),
        records=tuple(
            ImportedRecord(
                number=n + 1, official=True, date=date(2026, 1, 1), title=f"number {n}", authors=("ada",),
                claim=Claim(train_time_s=0.5 - 0.1 * n), pull_request=40 + n, folder=folders[n], group="folder",
                runs=(3 * n, 3 * n + 1, 3 * n + 2),
            )
            for n in range(len(scripts))
        ),
        heads={folder: sha for folder, sha in zip(folders, shas, strict=True) if isinstance(sha, str)},
    )  # fmt: skip
    write_history(world / "records" / "tiny" / layout.HISTORY_FILE, history)
    return theirs


def master(scripts: list[str], **more: str) -> Commit:
    """The checkout's head: logs of every record that embed its script, and somebody else's script at the top."""
    logs = {f"records/r{n}/a.txt": a_log(script, 500 - 100 * n) for n, script in enumerate(scripts)}
    return Commit("refs/heads/master", {"train_gpt.py": "print('of today')\n", **logs, **more})


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_two_records_race_and_are_told_beside_what_is_published(
    world: Path, capsys: pytest.CaptureFixture[str], meets_schema: Callable[[str, Any], None]
) -> None:
    scripts = [SLOW, FAST]
    theirs = a_checkout(world, [master(scripts)], scripts, [None, None])
    race = ("reproduce", "tiny/2", "--against", "tiny/1")
    wanted = (*race, "--checkout", theirs, "--here", "--runs", "3", "--require-sandbox", "process", "--json")
    assert call(*wanted, "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    meets_schema("reproduction-plan-output", plan)
    assert (plan["order"], plan["record"]["record"], plan["against"]["runs"]) == ("ABBAAB", "tiny/2", 3)
    assert not list((world / "runs").iterdir())
    code = call(*wanted)
    found = json.loads(capsys.readouterr().out)
    meets_schema("replay-output", found)
    assert (found["pairs"], found["published_ratio"]) == (3, pytest.approx(0.8))
    assert found["ratio"] == pytest.approx(0.8, rel=0.01)
    assert found["ratio_interval"]["low"] < found["ratio"] < found["ratio_interval"]["high"]
    assert (found["record"]["published_time_s"], found["against"]["published_time_s"]) == (pytest.approx(0.4), 0.5)
    assert found["record"]["time_s"] == pytest.approx(0.401, abs=0.002)
    assert found["verdict"] in ("reproduced", "undecided")  # five equal losses in three runs have no spread
    assert code == (found["verdict"] != "reproduced")
    bundle = read_bundle(Path(found["campaign"]))
    assert [arm.record for arm in bundle.plan.arms] == ["tiny/2", "tiny/1"]
    assert [attempt.slot.arm for attempt in bundle.stated[:4]] == ["candidate", "baseline", "baseline", "candidate"]
    assert [finding for finding in bundle.findings if finding.severity == "error"] == []
    for arm, script in (("candidate", FAST), ("baseline", SLOW)):
        assert (bundle.folder / arm / "train_gpt.py").read_text().strip() == script.strip()

    assert call(*race, "--campaign", bundle.folder) == code
    told = capsys.readouterr().out
    assert "Ratio? time of tiny/2 / time of tiny/1: published 0.8000; here 0." in told
    assert "3 pairs); the published one lies " in told
    assert "tiny/1: Time? By the script's own clock: published 0.500 s, mean 0.500 s in 3 logs; here 0.50" in told
    assert call(*race, "--here", "--resume", bundle.folder) == code
    capsys.readouterr()
    assert call("run", "--resume", bundle.folder) in (0, 1)
    assert "speedrun reproduce tiny/2 --against tiny/1 --campaign" in capsys.readouterr().out.replace("\n", " ")
    for other in (("tiny/1", "--against", "tiny/2"), ("tiny/2",)):
        assert call("reproduce", *other, "--campaign", bundle.folder) == 2
        assert "expected a campaign of" in capsys.readouterr().err
    assert call(*race, "--resume", bundle.folder, "--runs", "9") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tiny/1",), "for want of a checkout of its repository"),
        (("tiny/1", "--against", "tiny/2"), "for want of a checkout of its repository"),
        (("tiny/1", "--against", "tiny/1"), "expected two records of one track"),
        (("tiny/2", "--checkout", "THEIRS"), "for want of the source: this log embeds none"),
        (("tiny/3", "--checkout", "THEIRS"), "for want of the commit 012345678901 that has it, which this checkout"),
        (("tiny/1", "--against", "tiny/3", "--checkout", "THEIRS"), "`git fetch origin pull/42/head` there"),
        (("tiny/4", "--checkout", "THEIRS"), "for want of the log records/r3/a.txt, which this checkout does not have"),
        (("tiny/1", "--checkout", "/nowhere"), "expected a work tree"),
        (("tiny/1", "--against", "tiny/5", "--checkout", "THEIRS", "--runs", "1", "--anyway", "--here"), "2 pairs"),
        (("tiny/1", "--campaign", "/nowhere"), "expected a"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    scripts = [SLOW, "", "", FAST, FAST]
    head = master(scripts)
    head.files.pop("records/r3/a.txt")
    theirs = a_checkout(world, [head], scripts, [None, None, ABSENT, None, None])
    assert call("reproduce", *(str(theirs) if word == "THEIRS" else word for word in words)) == 2
    err = capsys.readouterr().err
    assert sentence in err, err
    assert (err.count("\n"), "Traceback" in err) == (1, False)
    assert not list((world / "runs").iterdir())


# --------------------------------------------------------------------------------------------- sources


def recovered(name: str, checkout: Path) -> RecoveredRun:
    row = find_record(name)
    assert isinstance(row, ImportedRow)
    return recover_run(row, load_track("tiny"), checkout, (), Path("/nowhere"))


def pull(script: str) -> Commit:
    more = {"kernels.py": "K = 1\n", "run.sh": "torchrun train_gpt.py\n", "records/r0/a.txt": "a log\n"}
    return Commit("refs/pull/40/head", {"train_gpt.py": script, **more}, on="refs/heads/master")


def test_a_record_of_its_own_commit_is_that_commits_tree(world: Path) -> None:
    theirs = a_checkout(world, [master([SLOW]), pull(SLOW)], [SLOW], [1])
    (theirs / "train_gpt.py").write_text("print('not committed')\n")
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    found = recovered("tiny/1", theirs)
    assert set(found.files) == {"train_gpt.py", "kernels.py", "run.sh"}
    assert (found.files["train_gpt.py"].decode(), found.entry) == (SLOW, "train_gpt.py")
    assert found.commit == Checkout(theirs, "refs/pull/40/head").commit
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before


def test_what_ran_is_what_the_log_embeds_whatever_the_commit_has(world: Path) -> None:
    theirs = a_checkout(world, [master([SLOW]), pull(FAST)], [SLOW], [1])
    found = recovered("tiny/1", theirs)
    assert {name: text.decode().strip() for name, text in found.files.items()} == {"train_gpt.py": SLOW.strip()}
    assert any("embeds another train_gpt.py than commit" in sentence for sentence in found.differences)


def test_where_no_log_embeds_it_the_commit_alone_says_what_it_was(world: Path) -> None:
    theirs = a_checkout(world, [master([""]), pull(FAST)], [""], [1])
    found = recovered("tiny/1", theirs)
    assert (found.files["train_gpt.py"].decode(), found.no_source) == (FAST, "")
    assert any("no log embeds its source; it is that of commit" in sentence for sentence in found.differences)


def test_without_the_commit_the_log_is_enough(world: Path) -> None:
    theirs = a_checkout(world, [master([SLOW])], [SLOW], [ABSENT])
    assert set(recovered("tiny/1", theirs).files) == {"train_gpt.py"}


def test_large_files_and_names_of_git_stay_behind(world: Path) -> None:
    more = {"shard.bin": "x" * (2**20 + 1), "sub/.gitattributes": "* filter=x\n", "data/cached.py": "print(1)\n"}
    commit = Commit("refs/pull/40/head", {"train_gpt.py": SLOW, **more}, on="refs/heads/master")
    found = recovered("tiny/1", a_checkout(world, [master([""]), commit], [""], [1]))
    assert set(found.files) == {"train_gpt.py", "data/cached.py"}
    assert any("without records/ and 2 others" in sentence for sentence in found.differences)
