"""The index: it saves reading, and it is never believed against the files."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import layout
from harness.entry import entry_of
from harness.record import Record, read_records
from leaderboard import index
from leaderboard.index import fingerprint, read_entries

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made before a look are old enough to be remembered."""
    monkeypatch.setattr(index, "RACY_NS", 0)


def entries(**more: bool) -> tuple[list[object], list[str]]:
    found, broken = read_entries("tiny", min_records=1, **more)
    return list(found), broken


def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> Record:
        raise AssertionError(f"{folder} was read again")

    monkeypatch.setattr(index, "read_record", fail)


def test_what_is_remembered_is_what_the_records_say(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = read_records("tiny")
    expected = [entry_of(record) for record in records]
    assert entries() == (expected, [])
    nothing_is_read(monkeypatch)
    assert entries() == (expected, [])
    with pytest.raises(AssertionError, match="read again"):
        entries(fresh=True)


def test_a_short_board_needs_no_index(two_records: list[Path]) -> None:
    assert len(read_entries("tiny")[0]) == 2
    assert not layout.index_file("tiny").exists()


def edit_in_place(path: Path) -> None:
    """One byte, with the size and the modification time it had."""
    at = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


@pytest.mark.parametrize("name", ["ledger.jsonl", "run.json", "record.json", "manifest.json", "train_gpt.py"])
def test_no_edit_is_hidden_by_an_index(two_records: list[Path], name: str) -> None:
    entries()
    edit_in_place(next(iter(sorted(two_records[1].rglob(name)))))
    assert entries() == entries(fresh=True)


def test_what_comes_and_goes_is_seen(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    entries()
    (two_records[1] / "runs" / "stranger").mkdir()
    found, broken = entries()
    assert (len(found), len(broken)) == (1, 1)
    assert "stranger" in broken[0]
    nothing_is_read(monkeypatch)  # what is wrong with a record is remembered too
    assert entries() == (found, broken)
    time.sleep(0.05)
    (two_records[1] / "runs" / "stranger").rmdir()
    with pytest.raises(AssertionError, match="FasterOne was read again"):
        entries()


def test_a_record_that_is_gone_leaves_no_entry(two_records: list[Path]) -> None:
    entries()
    two_records[1].rename(two_records[1].with_name("put-aside"))
    assert [entry.name for entry in read_entries("tiny", min_records=1)[0]] == [two_records[0].name]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_index_is_none(two_records: list[Path], share: float, cut: bool) -> None:
    expected = entries()
    place = layout.index_file("tiny")
    content = bytearray(place.read_bytes())
    at = int(share * len(content))
    content[at] ^= 1
    place.write_bytes(content[:at] if cut else content)
    assert entries() == expected
    assert entries() == expected


def test_a_foreign_index_is_none(two_records: list[Path]) -> None:
    expected = entries()
    place = layout.index_file("tiny")
    body = place.read_bytes().partition(b"\n")[2].replace(b"A faster one", b"A better one")
    for forged in (b"", b"\n", b"[" * 100_000, b"null", b"speedrun index 1 x y\n[]", body):
        place.write_bytes(forged)
        assert entries() == expected


def test_other_signers_or_other_code_make_another_index(two_records: list[Path]) -> None:
    before = index._context("tiny")
    (two_records[0].parent / layout.SIGNERS_FILE).write_text("")
    assert index._context("tiny") != before


def test_a_place_that_cannot_be_written_costs_only_time(
    two_records: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = entries()
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("SPEEDRUN_CACHE", str(tmp_path / "blocked"))
    assert entries() == expected


def test_a_record_that_was_just_written_is_read_again(two_records: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "RACY_NS", 3_600 * 10**9)
    entries()
    nothing_is_read(monkeypatch)
    with pytest.raises(AssertionError, match="read again"):
        entries()


def test_a_fingerprint_follows_no_link_and_needs_no_order(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "a").write_text("a")
    (tmp_path / "record" / "loop").symlink_to(tmp_path / "record")
    once = fingerprint(tmp_path / "record")
    assert fingerprint(tmp_path / "record") == once
    time.sleep(0.05)  # change times have the grain of the kernel's tick
    (tmp_path / "record" / "a").write_text("b")
    assert fingerprint(tmp_path / "record") != once
    assert fingerprint(tmp_path / "nowhere") == fingerprint(tmp_path / "nowhere")


def test_the_index_is_kept_outside_the_records(two_records: list[Path]) -> None:
    entries()
    place = layout.index_file("tiny")
    assert place.exists()
    assert not place.is_relative_to(layout.records_root())
    rows = json.loads(place.read_bytes().partition(b"\n")[2])
    assert [row[0] for row in rows] == sorted(folder.name for folder in two_records)
