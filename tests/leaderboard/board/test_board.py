"""A board: imported records, ours, then as many local runs as were asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from harness.formats.track import load_track
from leaderboard.board import local_runs as reading
from leaderboard.board.board import read_board
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.cli.show import show


@pytest.fixture
def local_runs(two_records: list[Path], tmp_path: Path, make_bundle: Callable[..., Path]) -> list[str]:
    """Names of four local runs of a campaign, oldest first, and a broken one after them."""
    folder = make_bundle(tmp_path / "runs" / "campaign")
    (tmp_path / "runs" / "2026-12-31T00-00-00Z-ffffff").mkdir()
    (tmp_path / "runs" / "2026-12-31T00-00-00Z-ffffff" / "run.json").write_text("{}")
    return sorted(run.name for run in (folder / "runs").iterdir())


def test_the_newest_local_runs_stand_below_the_records(local_runs: list[str]) -> None:
    found = read_board(load_track("tiny"), local=2)
    assert [row.name for row in found.rows[2:]] == local_runs[-2:]
    assert [row.place for row in found.rows] == [1, 2, None, None]
    assert [row.place for row in found.held] == [1, 2]
    assert len(found.broken) == 1
    assert len(read_board(load_track("tiny"), local=None).rows) == 6
    nothing_local = read_board(load_track("tiny"))
    assert (len(nothing_local.rows), nothing_local.broken) == (2, ())


def test_no_more_runs_are_read_than_shown(local_runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = reading.read_run
    monkeypatch.setattr(reading, "read_run", lambda folder: (read.append(folder.name), real(folder))[1])
    read_board(load_track("tiny"), local=1)
    assert read == ["2026-12-31T00-00-00Z-ffffff", local_runs[-1]]


def test_places_go_on_where_imported_ones_end() -> None:
    found = read_board(load_track("gpt2-small-8xh100"))
    assert found.rows[0].tier == "reported"
    assert found.held[-1].place == max(row.place or 0 for row in found.rows)


def test_source_and_its_change_stand_beside_the_time(two_records: list[Path], call: Callable[..., Result]) -> None:
    first, second = read_board(load_track("tiny")).rows
    assert (first.source_files, first.source_lines, first.source_lines_change) == (1, 2, None)
    assert (second.source_files, second.source_lines, second.source_lines_change) == (1, 3, 1)
    assert second.source_bytes_change == len("NEW = 1\n")
    assert "3 (+1)" in call(leaderboard, "--track", "tiny", width=130).stdout
    assert "+1 lines, +8 bytes against what it builds on" in call(show, "faster").stdout
    (second_file,) = two_records[1].glob("*.py")
    second_file.write_bytes(second_file.read_bytes() + b"\n\n# a comment\n")
    assert [row.source_lines for row in read_board(load_track("tiny")).rows] == [2]
