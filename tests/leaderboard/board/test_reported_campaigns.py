"""Reported campaigns on every face of a board: a badge and no place, their words words, and none that does not hold."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import Result

from harness.errors import UserError
from harness.formats import layout
from harness.formats.track import load_track
from harness.records.reported import ReportedCampaign, ReportedWords
from harness.records.reporting import draft_reported, write_reported
from leaderboard.board import index
from leaderboard.board import reported as board_reported
from leaderboard.board.board import read_board
from leaderboard.board.record_names import ReportedFolder, find_record
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.cli.plot import app as plot
from leaderboard.cli.readme import section
from leaderboard.cli.reproduce import reproduce
from leaderboard.cli.show import show
from leaderboard.site import addresses
from leaderboard.site.building import build
from leaderboard.text.plots import scatter

HOSTILE = "<script>alert(1)</script> [x](https://x.y) =1+1"


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory, bundles: ModuleType) -> Path:
    """A campaign of two settings, handed in with words that would like to be more than words."""
    root = tmp_path_factory.mktemp("handed in")
    campaign = bundles.make_stated_bundle(root / "campaign", baseline_times=(5.0, 5.05))
    (root / "records" / "tiny").mkdir(parents=True)
    shutil.copy(campaign / layout.TRACK_FILE, root / "records" / "tiny")
    words = ReportedWords(title=HOSTILE, authors=("Ada",), date=date(2026, 1, 3), techniques=("muon",), note=HOSTILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEEDRUN_RECORDS", str(root / "records"))
        drafted = draft_reported(campaign, words)
        write_reported(drafted)
    return drafted.folder


@pytest.fixture
def reported(handed_in: Path, contest: Path) -> Path:
    shutil.copytree(handed_in, contest / layout.REPORTED_DIR / handed_in.name)
    return contest / layout.REPORTED_DIR / handed_in.name


def test_every_form_of_the_board_has_its_row_and_badge(
    reported: Path, call: Callable[..., Result], meets_schema: Callable[[str, Any], None]
) -> None:
    text = " ".join(call(leaderboard, "--track", "tiny", width=200).stdout.split())
    assert "reported (campaign) 4.05" in text
    assert "campaign: n, order and environment were fixed before the first run" in text
    found = json.loads(call(leaderboard, "--track", "tiny", "--json").stdout)
    meets_schema("leaderboard-output", found)
    (row,) = found["standings"]
    assert (row["place"], row["tier"], row["badge"], row["title"]) == (None, "reported", "campaign", HOSTILE)
    (line,) = csv.DictReader(call(leaderboard, "--track", "tiny", "--format", "csv").stdout.splitlines())
    assert (line["place"], line["tier"], line["badge"], line["runs"]) == ("", "reported", "campaign", "2")
    markdown = call(leaderboard, "--track", "tiny", "--format", "md").stdout
    assert "| reported (campaign) |" in markdown
    assert "<script>" not in markdown
    assert HOSTILE not in "\n".join(section("tiny"))  # a README's table holds records
    for asked, count in (("refereed", 0), ("reported", 1)):
        chosen = json.loads(call(leaderboard, "--track", "tiny", "--json", "--tier", asked).stdout)
        assert len(chosen["standings"]) == count


def test_a_row_of_it_changes_no_place(reported: Path, two_records: list[Path]) -> None:
    board = read_board(load_track("tiny"))
    assert [(row.place, row.name) for row in board.held] == [(1, two_records[0].name), (2, two_records[1].name)]
    assert [row.name for row in board.rows if row.place is None] == [reported.name]


def test_what_is_remembered_is_forgotten_with_any_change(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track, reads = load_track("tiny"), []
    real = board_reported.read_all_reported
    monkeypatch.setattr(index, "RACY_NS", 0)

    def counted(folder: Path) -> list[ReportedCampaign]:
        reads.append(1)
        return real(folder)

    monkeypatch.setattr(board_reported, "read_all_reported", counted)

    def rows(**how: bool) -> tuple[int, int, int]:
        board = read_board(track, **how)
        return len(board.rows), len(board.broken), len(reads)

    first = read_board(track)
    assert rows() == (1, 0, 1)
    assert read_board(track).rows == first.rows
    assert rows(fresh=True) == (1, 0, 2)
    log = sorted(reported.glob("runs/*/log.txt"))[0]
    content, status = log.read_bytes(), log.stat()
    log.write_bytes(content.replace(b"val_loss:5.0", b"val_loss:4.0"))
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert rows() == rows() == (0, 1, 3)
    log.write_bytes(content)
    assert rows() == (1, 0, 4)
    (reported.parent.parent / layout.SIGNERS_FILE).write_text("")
    assert rows() == (0, 1, 5)  # this track wants signatures now
    place = layout.index_file()
    place.write_bytes(place.read_bytes().replace(b"expected", b"expectes"))
    assert rows() == (0, 1, 6)
    monkeypatch.setattr(index, "RACY_NS", 10**15)
    place.unlink()
    assert [rows()[2], rows()[2]] == [7, 8]


def test_show_reads_it_again_and_other_commands_say_what_it_is(
    reported: Path, call: Callable[..., Result], meets_schema: Callable[[str, Any], None]
) -> None:
    for name in (reported.name, f"tiny/{reported.name}", str(reported), reported.name[-6:]):
        assert isinstance(find_record(name), ReportedFolder)
    text = call(show, reported.name, width=200).stdout
    for said in (
        "standing            no place",
        "tier                reported (campaign)",
        "6.050 s",
        "it holds",
        "Ada, 2026-01-03",
        "speedrun export upstream",
    ):
        assert said in text, said
    found = json.loads(call(show, reported.name, "--json").stdout)
    meets_schema("show-output", found)
    assert (found["kind"], found["holds"], len(found["runs"])) == ("campaign", True, 4)
    assert found["statement"]["numbers"]["val_loss"] == pytest.approx(5.015)
    assert scatter(find_record(reported.name)).times_s == (4.0, 4.1)
    with pytest.raises(UserError, match="a campaign of self-timed scripts"):
        call(plot, "curves", reported.name)
    with pytest.raises(UserError, match="a campaign of self-timed scripts"):
        call(reproduce, reported.name)

    log = sorted(reported.glob("runs/*/log.txt"))[0]
    log.write_bytes(log.read_bytes().replace(b"val_loss:5.0", b"val_loss:4.0"))
    found = json.loads(call(show, reported.name, "--json").stdout)
    assert (found["holds"], found["standing"]) == (False, None)
    assert {"run_digest", "claim_not_in_log"} <= {finding["id"] for finding in found["findings"]}
    text = call(show, reported.name, width=200).stdout
    assert "no row: it does not hold" in text


def test_the_site_has_its_page_row_and_runs_and_names_what_does_not_hold(reported: Path, tmp_path: Path) -> None:
    odd = reported.parent / os.fsdecode(b"<b>\xff")
    odd.mkdir()
    site = tmp_path / "site"
    built = build(site)
    assert len(built.broken) == 1
    page = (site / addresses.reported("tiny", reported.name)).read_text()
    table = (site / addresses.track("tiny")).read_text()
    for text in (page, table):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "campaign" in text
    assert "Holds no place." in page
    assert "&lt;b&gt;" in table
    (row,) = json.loads((site / addresses.standings("tiny", "json")).read_text())["standings"]
    assert (row["place"], row["badge"], row["official"]) == (None, "campaign", False)
    runs = list(csv.DictReader((site / addresses.runs("tiny")).read_text().splitlines()))
    assert [run["val_loss"] for run in runs] == ["5.01", "5.01", "5.02", "5.02"]
    log = (site / addresses.stated_run("tiny", reported.name, 0, "txt")).read_bytes()
    assert log == next(reported.glob("runs/*-000000/log.txt")).read_bytes()
    assert HOSTILE not in (site / addresses.FEED).read_text()  # of new records
    assert build(site).written == ()
