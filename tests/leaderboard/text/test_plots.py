"""Plots: the points are the records' own, and every file is whole and needs no network."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from harness.errors import UserError
from harness.formats.track import load_track
from leaderboard.board.board import read_board
from leaderboard.board.record_names import find_record
from leaderboard.cli.plot import app
from leaderboard.text import plots

Call = Callable[..., Result]


def test_progress_goes_through_every_record_of_the_board() -> None:
    track = load_track("gpt2-small-8xh100")
    points = plots.progress_points(read_board(track).rows, track)
    assert (points[0].value, points[-1].place) == (2700.0, 92)
    chosen = plots.largest_steps(points)
    assert 3 <= len(chosen) <= plots.MOST_LABELS
    assert all(points[i].value < points[i - 1].value for i in chosen)
    assert plots.largest_steps(points[:1]) == []


def test_scatter_holds_every_run_and_the_intervals(two_records: list[Path]) -> None:
    found = plots.scatter(find_record("faster"))
    assert found.times_s == (1.5, 1.51, 1.49, 1.52)
    assert found.time_interval_s is not None
    low, high = found.time_interval_s
    assert low < 1.505 < high
    assert low + high == pytest.approx(2 * 1.505)


def test_scatter_of_imported_records_is_what_their_logs_hold() -> None:
    assert len(plots.scatter(find_record("gpt2-small-8xh100/88")).times_s) == 10
    assert plots.scatter(find_record("gpt2-small-8xh100/86")).time_interval_s is None


def test_curves_are_read_from_the_runs(two_records: list[Path]) -> None:
    points = plots.curve_points(find_record("faster"))
    assert len(points) == 4  # one report of each run of the candidate
    assert {(point.step, point.loss) for point in points} == {(1, 6.0)}


def test_curves_of_imported_records_are_in_their_logs() -> None:
    with pytest.raises(UserError, match="speedrun log FILE --plot"):
        plots.curve_points(find_record("gpt2-small-8xh100/88"))


@pytest.mark.parametrize("width", [80, 200])
def test_plots_are_drawn_in_the_terminal(two_records: list[Path], call: Call, width: int) -> None:
    progress = call(app, "progress", "--track", "tiny", width=width).stdout
    assert "2.005 to 1.505 s in 2 records" in progress
    assert "A    2      1.505 s  -24.9%  muon" in progress
    noise = call(app, "noise", "--track", "tiny", width=width).stdout
    assert "2026-01-03_AFasterOne" in noise
    assert "n=4" in noise
    assert "┃" in noise
    for text in (progress, noise):
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text


def test_curves_name_their_records_by_letters(two_records: list[Path], call: Call) -> None:
    shown = call(app, "curves", "--track", "tiny").stdout
    assert shown.count("over step,") == shown.count("over seconds since GO,") == 1
    assert "  A  2026-" in shown
    assert "  B  2026-" in shown


@pytest.mark.parametrize(
    ("kind", "suffix"), [("progress", ".svg"), ("noise", ".png"), ("curves", ".html"), ("curves", ".svg")]
)
def test_a_file_is_whole_and_needs_no_network(
    two_records: list[Path], call: Call, tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"plot{suffix}"
    assert call(app, kind, "--track", "tiny", "--out", str(path)).stdout == ""
    content = path.read_bytes()
    if suffix == ".svg":
        assert ET.fromstring(content).tag.endswith("svg")
    elif suffix == ".png":
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
    else:
        assert not re.search(rb"<script[^>]+src|<link|@import|cdn\.jsdelivr", content)


def test_a_hostile_title_stays_text_in_a_page(two_records: list[Path], call: Call, tmp_path: Path) -> None:
    record = two_records[1] / "record.json"
    for kind in ("svg", "html"):
        hostile = "</script><script>alert(1)</script>"
        record.write_text(record.read_text().replace("A faster one", hostile).replace('"muon"', ""))
        path = tmp_path / f"plot.{kind}"
        call(app, "progress", "--track", "tiny", "--out", str(path))
        assert b"<script>alert(1)" not in path.read_bytes()
        assert b"alert(1)" in path.read_bytes()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["progress", "--track", "tiny", "--out", "x.gif"], "found 'x.gif'"),
        (["progress", "--track", "tiny", "--out", "/nowhere/x.svg"], "a folder at /nowhere"),
        (["progress", "--track", "tiny"], "a track with records"),
        (["curves", "--track", "tiny"], "found none"),
        (["noise", "nobody"], "expected a record"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(
    contest: Path, call: Call, argv: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        call(app, *argv)
