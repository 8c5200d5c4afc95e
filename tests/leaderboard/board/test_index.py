"""The index: it saves reading, and it is never believed against the files."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.formats import layout
from harness.records import record
from harness.records.challenging import attach
from harness.records.entry import entry_of
from harness.records.record import Record, read_records
from leaderboard.board import index
from leaderboard.board.entries import looks, read_entries

Make = Callable[..., Path]
Tick = Callable[[], None]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made before a look are old enough to be remembered."""
    monkeypatch.setattr(index, "RACY_NS", 0)


@pytest.fixture
def tick(tmp_path: Path, until: Callable[..., Any]) -> Tick:
    """tick(): the clock of the file system has gone on: what changes now has another time than what changed before."""

    def now_ns() -> int:
        (tmp_path / "tick").write_text("")
        return (tmp_path / "tick").stat().st_ctime_ns

    def wait() -> None:
        before_ns = now_ns()
        until(lambda: now_ns() > before_ns, "a tick of the file system's clock")

    return wait


def entries(**more: bool) -> tuple[list[object], list[str]]:
    found, broken = read_entries("tiny", **more)
    return list(found), broken


def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> Record:
        raise AssertionError(f"{folder} was read again")

    monkeypatch.setattr(record, "read_record", fail)


def test_what_is_remembered_is_what_the_records_say(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = read_records("tiny")
    expected = [entry_of(record) for record in records]
    assert entries() == (expected, [])
    nothing_is_read(monkeypatch)
    assert entries() == (expected, [])
    with pytest.raises(AssertionError, match="read again"):
        entries(fresh=True)


def edit_in_place(path: Path) -> None:
    """One byte, with the size and the modification time it had."""
    at = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


@pytest.mark.parametrize("name", ["ledger.jsonl", "run.json", "record.json", "manifest.json", "train_gpt.py"])
def test_no_edit_is_hidden_by_an_index(two_records: list[Path], name: str, tick: Tick) -> None:
    entries()
    tick()
    edit_in_place(next(iter(sorted(two_records[1].rglob(name)))))
    assert entries() == entries(fresh=True)


def test_what_comes_and_goes_is_seen(two_records: list[Path], monkeypatch: pytest.MonkeyPatch, tick: Tick) -> None:
    entries()
    tick()
    (two_records[1] / "runs" / "stranger").mkdir()
    found, broken = entries()
    assert (len(found), len(broken)) == (1, 1)
    assert "stranger" in broken[0]
    nothing_is_read(monkeypatch)  # what is wrong with a record is remembered too
    assert entries() == (found, broken)
    tick()
    (two_records[1] / "runs" / "stranger").rmdir()
    with pytest.raises(AssertionError, match="FasterOne was read again"):
        entries()


def test_a_record_that_is_gone_leaves_no_entry(two_records: list[Path]) -> None:
    entries()
    two_records[1].rename(two_records[1].with_name("put-aside"))
    assert [entry.name for entry in read_entries("tiny")[0]] == [two_records[0].name]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_index_is_none(two_records: list[Path], share: float, cut: bool) -> None:
    expected = entries()
    place = layout.index_file()
    content = bytearray(place.read_bytes())
    at = int(share * len(content))
    content[at] ^= 1
    place.write_bytes(content[:at] if cut else content)
    assert entries() == expected
    assert entries() == expected


def test_a_foreign_index_is_none(two_records: list[Path]) -> None:
    expected = entries()
    place = layout.index_file()
    for forged in (b"", b"\n", b"null", b"SQLite format 3\0" + bytes(5_000)):
        place.write_bytes(forged)
        assert entries() == expected
    for change in (
        "UPDATE said SET answer = replace(answer, 'A faster one', 'A better one')",
        "UPDATE said SET answer = NULL",
        "UPDATE said SET seal = 3",
        "ALTER TABLE said RENAME COLUMN seal TO stamp",
    ):
        entries()
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute(change)
        assert entries() == expected


def test_an_index_that_was_damaged_is_made_again(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = entries()
    layout.index_file().write_bytes(b"no database")
    assert entries() == entries() == expected
    nothing_is_read(monkeypatch)
    assert entries() == expected


def test_an_index_that_another_process_writes_is_not_waited_for(
    two_records: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = entries()
    with closing(sqlite3.connect(layout.index_file())) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert entries() == expected
        other.rollback()
    nothing_is_read(monkeypatch)
    assert entries() == expected


def test_processes_that_write_at_once_lose_nothing(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from leaderboard.board import index, entries; index.RACY_NS = 0; print(entries.read_entries('tiny'))"
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, cwd=layout.ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in both}) == 1
    assert [process.returncode for process in both] == [0, 0, 0]
    nothing_is_read(monkeypatch)
    assert len(entries()[0]) == 2


def test_other_code_makes_another_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("harness", "data"):
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "module.py").write_text("")
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    found = [index.code_context()]
    for change in (
        lambda: (tmp_path / "harness" / "module.py").write_text("x = 1\n"),
        lambda: (tmp_path / "data" / "another.py").write_text(""),
        lambda: (tmp_path / "harness" / "inner" / "module.py").write_text(""),
        lambda: monkeypatch.setattr(index.pydantic, "__file__", str(tmp_path / "pydantic" / "__init__.py")),
    ):
        change()
        found.append(index.code_context())
    assert len(set(found)) == 5


def test_a_place_that_cannot_be_written_costs_only_time(
    two_records: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = entries()
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("SPEEDRUN_CACHE", str(tmp_path / "blocked"))
    assert entries() == expected
    monkeypatch.setenv("SPEEDRUN_CACHE", "/proc/self")  # a folder in which nobody can make a file
    assert entries() == expected


def test_a_record_that_was_just_written_is_read_again(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "RACY_NS", 3_600 * 10**9)
    entries()
    nothing_is_read(monkeypatch)
    with pytest.raises(AssertionError, match="read again"):
        entries()


def test_everything_a_record_is_read_from_is_looked_at(two_records: list[Path]) -> None:
    folder = two_records[1]
    for name in ("package/runs", "package/verdict.json"):  # names that mean something only at the top
        (folder / name).mkdir(parents=True)
        (folder / name / "README.md").write_text("")
    read = {Path(path).relative_to(folder).as_posix() for path, *_ in looks(folder)}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    evidence = {name for name in present if name.startswith("runs/") and name.count("/") == 2}
    assert read - {"."} == present - {"README.md", "requirements.lock", "verdict.json"}
    assert len(evidence) == 2 * 8
    (folder / next(iter(evidence))).with_name("log.txt").write_text("")  # no evidence
    assert read == {Path(path).relative_to(folder).as_posix() for path, *_ in looks(folder)}


@pytest.mark.parametrize("name", ["runs", "train_gpt.py", "baseline", "runs/2026-01-02T03-05-45Z-000000", "", "a/b"])
def test_what_is_reached_through_a_link_is_never_remembered(two_records: list[Path], tmp_path: Path, name: str) -> None:
    """Behind a link anything may change without a trace in the record's folder."""
    folder = two_records[1]
    assert list(looks(folder))
    (folder / "a").mkdir()
    place = folder / name if name else folder
    if place.exists() or name.startswith("runs/"):
        if not place.exists():
            place.mkdir()
        place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        list(looks(folder))


def test_a_link_to_changing_runs_shows_what_they_are(two_records: list[Path], tmp_path: Path) -> None:
    runs = two_records[1] / "runs"
    runs.rename(tmp_path / "elsewhere")
    runs.symlink_to(tmp_path / "elsewhere")
    assert len(entries()[0]) == 2
    edit_in_place(next(iter(sorted(runs.rglob("run.json")))))
    found, broken = entries()
    assert (len(found), len(broken)) == (1, 1)


def test_a_challenged_record_is_read_every_time(
    two_records: list[Path], tmp_path: Path, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tier hangs on keys, on the day, on the data sets known here, and on every file of the challenge."""
    old = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}
    bundle = make_bundle(tmp_path / "again", seed=3, sources={"candidate": old})
    attach(two_records[0], bundle, author="Lin", day=date(2026, 1, 4), key=None, expected=None, dry_run=False)
    (first, second), _ = entries()
    assert (first.challenges, second.challenges) == (1, 0)
    (next(two_records[0].glob("challenges/*/runs/*")) / "note").write_text("")  # in no manifest
    assert [entry.challenges for entry in entries()[0]] == [0, 0]
    nothing_is_read(monkeypatch)
    with pytest.raises(AssertionError, match="AFirstOne was read again"):
        entries()


def test_the_index_is_kept_outside_the_records(two_records: list[Path]) -> None:
    entries()
    place = layout.index_file()
    assert place.exists()
    assert not place.is_relative_to(layout.records_root())
    with closing(sqlite3.connect(place)) as connection:
        rows = connection.execute("SELECT folder FROM said ORDER BY folder").fetchall()
    assert [row[0] for row in rows] == sorted(os.fsencode(folder) for folder in two_records)
