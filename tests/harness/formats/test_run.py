"""run.json: what is written is what is read, and anything else is one sentence."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import RecordError, UserError
from harness.formats import run
from harness.formats.environment import Environment
from harness.formats.run import (
    Owner,
    RunRecord,
    SubmissionRef,
    TrackRef,
    new_run_id,
    owner,
    read_run,
    read_runs,
)
from harness.formats.run_folder import RESERVE_BYTES, RunFolder, close_abandoned, is_unjudged, unjudged_runs
from harness.status import Status
from harness.system import clock, whereabouts

DIGEST = "0123456789abcdef" * 4
ENVIRONMENT = Environment(
    python="3.12", torch=None, cuda=None, gpus=(), cpu_model="", cpu_cores=2, memory_bytes=1, kernel="", commit=None,
    packages={},
)  # fmt: skip


def a_record(**changes: Any) -> RunRecord:
    values = {
        "run_id": "2026-01-02T03-04-05Z-abcdef",
        "status": Status.COMPLETE,
        "sentence": "fine",
        "practice": False,
        "track": TrackRef(name="t", rules_version="1.0", sha256=DIGEST, dataset="d", target_val_loss=3.0),
        "submission": SubmissionRef(entry="a.py", sha256=DIGEST, bytes=1, files={"a.py": DIGEST}),
        "seed": 1,
        "seed_source": "harness",
        "world_size": 2,
        "device": "cpu",
        "sandbox": "process",
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "owner": owner(),
        "environment": ENVIRONMENT,
    }
    return RunRecord(**(values | changes))


def a_folder(parent: Path, record: RunRecord) -> RunFolder:
    folder = RunFolder(parent, new_run_id(clock.utc_now()))
    folder.save(record)
    return folder


@settings(max_examples=50)
@given(
    status=st.sampled_from(Status),
    sentence=st.text(st.characters(codec="utf-8")),
    seed=st.integers(0, 2**63),
    losses=st.lists(st.floats(0, 1e9), min_size=1, max_size=9),
    train_ns=st.none() | st.integers(0, 2**62),
    files=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), st.just(DIGEST), max_size=3),
)
def test_round_trip(
    status: Status, sentence: str, seed: int, losses: list[float], train_ns: int | None, files: dict[str, str]
) -> None:
    score = run.Score(
        val_loss=sum(losses), loss_sum=sum(losses), count=len(losses), eval_batch=1,
        windows=run.Windows(tokens=1, loss_sums=losses, counts=[1] * len(losses)),
        probes=run.Probes(pairs=1, max_abs_difference=0.0, mean_abs_difference=0.0),
    )  # fmt: skip
    record = a_record(
        status=status, sentence=sentence, seed=seed, score=score, phases=run.Phases(train_ns=train_ns), data=files,
        finished_at=clock.utc_now(), curve=(run.CurvePoint(step=1, elapsed_ns=2, val_loss=losses[0], count=1),),
    )  # fmt: skip
    assert RunRecord.model_validate_json(run.encode_run(record)) == record


def test_what_was_charged_is_part_of_the_time() -> None:
    charges = (run.Charge.of("first_answer", 50_000_000, 20_000_000), run.Charge.of("prepare", 10**9, 2 * 10**9))
    assert [charge.charged_ns for charge in charges] == [30_000_000, 0]
    record = a_record(phases=run.Phases(train_ns=3 * 10**9), charges=charges)
    assert record.time_ns == 3_030_000_000
    assert a_record(charges=charges).time_ns is None


def damage(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw))


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (lambda raw: raw.update(surprise=1), "surprise"),
    "unknown key further in": (lambda raw: raw["track"].update(surprise=1), "track.surprise"),
    "missing key": (lambda raw: raw.pop("seed"), "seed"),
    "number as text": (lambda raw: raw.update(seed="5"), "seed"),
    "truth as number": (lambda raw: raw.update(practice=1), "practice"),
    "unknown status": (lambda raw: raw.update(status="won"), "status"),
    "no digest": (lambda raw: raw["submission"].update(sha256="abc"), "submission.sha256"),
    "another schema": (lambda raw: raw.update(schema_version=4), "schema_version"),
    "negative time": (lambda raw: raw["phases"].update(train_ns=-1), "phases.train_ns"),
    "a loss of NaN": (lambda raw: raw["track"].update(target_val_loss=float("nan")), "track.target_val_loss"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_names_its_key(tmp_path: Path, name: str) -> None:
    change, key = DAMAGES[name]
    folder = a_folder(tmp_path, a_record())
    damage(folder.path / "run.json", change)
    with pytest.raises(RecordError, match=f"key '{key}'") as raised:
        read_run(folder.path)
    assert "\n" not in str(raised.value)
    runs, broken = read_runs(tmp_path)
    assert runs == []
    assert broken == [str(raised.value)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, bytes(1000)])
def test_no_record_at_all(tmp_path: Path, content: bytes) -> None:
    folder = a_folder(tmp_path, a_record())
    (folder.path / "run.json").write_bytes(content)
    with pytest.raises(RecordError) as raised:
        read_run(folder.path)
    assert "\n" not in str(raised.value)


def test_a_huge_record_is_not_read(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a_record())
    os.truncate(folder.path / "run.json", run.MAX_RUN_BYTES + 1)
    with pytest.raises(RecordError, match="at most"):
        read_run(folder.path)


def test_special_files_are_no_records(tmp_path: Path) -> None:
    for make in (lambda path: path.mkdir(), os.mkfifo):
        folder = a_folder(tmp_path, a_record())
        (folder.path / "run.json").unlink()
        make(folder.path / "run.json")
        with pytest.raises(RecordError):
            read_run(folder.path)
    with pytest.raises(RecordError, match="No such file"):
        read_run(tmp_path / "nothing")


def test_started_without_its_referee_reads_abandoned(tmp_path: Path) -> None:
    mine = owner()
    strangers = [
        Owner(pid=mine.pid, start_ticks=mine.start_ticks + 1, boot_id=mine.boot_id),  # a later process, the same pid
        Owner(pid=mine.pid, start_ticks=mine.start_ticks, boot_id="another boot"),
        Owner(pid=2**22 + 1, start_ticks=mine.start_ticks, boot_id=mine.boot_id),
    ]
    alive = a_folder(tmp_path, a_record(status=Status.STARTED))
    dead = [a_folder(tmp_path, a_record(status=Status.STARTED, owner=stranger)) for stranger in strangers]
    done = a_folder(tmp_path, a_record(owner=strangers[0]))
    assert read_run(alive.path).status == Status.STARTED
    assert [read_run(folder.path).status for folder in dead] == [Status.ABANDONED] * 3
    assert read_run(done.path).status == Status.COMPLETE

    close_abandoned(tmp_path)
    for folder in dead:
        assert json.loads((folder.path / "run.json").read_bytes())["status"] == "abandoned"
        assert not (folder.path / ".reserve").exists()
        assert read_run(folder.path).finished_at is not None
    assert (alive.path / ".reserve").exists()
    assert read_run(alive.path).status == Status.STARTED


ROOT = Path(__file__).resolve().parents[3]
LIVES_AND_DIES = """
import os, sys
from pathlib import Path
from harness.formats import run, run_folder
record = run.RunRecord.model_validate_json(sys.argv[2])
folder = run_folder.RunFolder(Path(sys.argv[1]), record.run_id)
folder.save(record)
print("saved", flush=True)
sys.stdin.readline()
os._exit(9)
"""


def test_a_run_of_another_container_on_this_machine_is_judged_by_its_lock(tmp_path: Path) -> None:
    """Its pid says nothing here, and its whole pid namespace may be gone: the kernel knows whether its lock is held."""
    elsewhere = owner().model_copy(update={"pid_namespace": 1, "pid": 1})
    record = a_record(status=Status.STARTED, owner=elsewhere)
    argv = [sys.executable, "-c", LIVES_AND_DIES, str(tmp_path), record.model_dump_json()]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        folder = tmp_path / record.run_id
        close_abandoned(tmp_path)
        seen = read_run(folder)
        assert (seen.status, is_unjudged(folder, seen)) == (Status.STARTED, False)
        assert "is in progress" in seen.sentence
        assert (folder / ".reserve").exists()
        process.communicate("die\n")
    assert read_run(folder).status == Status.ABANDONED
    close_abandoned(tmp_path)
    assert json.loads((folder / "run.json").read_bytes())["status"] == "abandoned"
    assert not (folder / ".reserve").exists()


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"pid_namespace": 1},  # another container of this boot
        {"boot_id": "another boot", "host": "another", "machine_id": "0" * 16},  # another host on a shared folder
        {"boot_id": "another boot", "host": "the same name", "machine_id": None},  # a container without a number
        {"boot_id": "another boot", "machine_id": "0" * 16},  # a host of the same name
    ],
)
def test_a_run_that_cannot_be_judged_from_here_is_left_alone(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    """Its pid means nothing here; only who holds what that referee would have to hold may end it."""
    stranger = owner().model_copy(update={"pid": 2**22 + 1, **elsewhere})
    folder = a_folder(tmp_path, a_record(status=Status.STARTED, owner=stranger))
    close_abandoned(tmp_path)
    assert json.loads((folder.path / "run.json").read_bytes())["status"] == "started"
    assert (folder.path / ".reserve").exists()
    assert str(stranger.host) in read_run(folder.path).sentence
    unjudged = [] if "pid_namespace" in elsewhere else [folder.path]  # of this boot, by the lock that it holds
    assert [place for place, _ in unjudged_runs(tmp_path)] == unjudged
    close_abandoned(tmp_path, alone=True)
    assert read_run(folder.path).status == Status.ABANDONED
    assert not (folder.path / ".reserve").exists()


def test_a_run_of_this_machine_before_it_was_restarted_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "machine_id", lambda: "1" * 16)
    before = owner().model_copy(update={"boot_id": "the boot before"})
    assert read_run(a_folder(tmp_path, a_record(status=Status.STARTED, owner=before)).path).status == Status.ABANDONED
    # another machine of the same name and number: copies of one image
    now = a_record(status=Status.STARTED, owner=before, started_at=clock.utc_now())
    folder = a_folder(tmp_path, now).path
    assert (read_run(folder).status, is_unjudged(folder, now)) == (Status.STARTED, True)


@pytest.mark.parametrize("part", ["folder", "first record", "half a record"])
def test_what_was_killed_before_its_first_record_is_swept(tmp_path: Path, part: str) -> None:
    """A process that makes a run's folder and dies there, as by SIGKILL."""
    steps = {
        "folder": "pass",
        "first record": "folder.save(record)",
        "half a record": "folder.save(record); (folder.path / '.run.json.abcdef.tmp').write_text('{')",
    }
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom harness.formats import run, run_folder\n"
        "here = Path(sys.argv[1]); record = run.RunRecord.model_validate_json(sys.argv[2])\n"
        "record = record.model_copy(update={'owner': run.owner()})\n"
        f"folder = run_folder.RunFolder(here, record.run_id); {steps[part]}\nos._exit(9)"
    )
    record = a_record(status=Status.STARTED)
    argv = [sys.executable, "-c", program, str(tmp_path), record.model_dump_json()]
    done = subprocess.run(argv, cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert list(tmp_path.iterdir()) != []
    close_abandoned(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ([] if part == "folder" else [f"{record.run_id}/run.json"])
    assert list(tmp_path.glob(".*")) == []


def test_the_closing_record_takes_the_reserved_place(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a_record(status=Status.STARTED))
    reserved = (folder.path / ".reserve").stat()
    assert reserved.st_blocks * 512 >= RESERVE_BYTES
    folder.close(a_record(sentence="over"))
    assert read_run(folder.path).sentence == "over"
    assert (folder.path / "run.json").stat().st_ino == reserved.st_ino  # the very blocks
    assert (folder.path / "run.json").stat().st_size < 10_000
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json"]


def test_the_closing_record_is_written_even_if_somebody_removed_the_reserve(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a_record(status=Status.STARTED))
    (folder.path / ".reserve").unlink()
    folder.close(a_record())
    assert read_run(folder.path).status == Status.COMPLETE


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="expected a folder for runs"):
        RunFolder(tmp_path / "file", new_run_id(clock.utc_now()))


def test_a_record_is_frozen() -> None:
    with pytest.raises(ValidationError):
        a_record().seed = 2


@pytest.mark.parametrize(
    ("changes", "valid", "code"),
    [
        ({}, True, 0),
        ({"practice": True}, False, 0),
        ({"status": Status.TRAIN_FAILED}, False, 3),
        ({"status": Status.INTERRUPTED}, False, 130),
        ({"findings": (run.Finding(id="x", severity="warning", sentence="", expected="", found=""),)}, True, 0),
        ({"findings": (run.Finding(id="x", severity="error", sentence="", expected="", found=""),)}, False, 1),
    ],
)
def test_validity_and_exit_code(changes: dict[str, Any], valid: bool, code: int) -> None:
    record = a_record(**changes)
    assert (record.is_valid, record.exit_code) == (valid, code)


def test_every_status_has_a_documented_exit_code() -> None:
    from harness.__main__ import EXIT_CODES

    for status in Status:
        assert str(int(status.exit_code)) in EXIT_CODES.replace(",", " ").split()
