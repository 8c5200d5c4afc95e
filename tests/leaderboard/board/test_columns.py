"""One board: every face takes its columns, digits, signs and order from the same place."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from html import unescape
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

from harness.formats.track import load_track
from harness.records.standings import Standing
from leaderboard.board.board import read_board
from leaderboard.board.columns import COLUMNS, KEYS, newest_first
from leaderboard.cli.show import show
from leaderboard.site.rows import BoardRow, standings_table
from leaderboard.text.exports import export
from leaderboard.text.tables import terminal_table
from leaderboard.upstream.imported import UNDATED

Call = Callable[..., Result]
ROW = Standing(
    place=2, name="2026-11-23_Second", title="A second record", authors=("Ada", "Grace"), date=date(2026, 11, 23),
    tier="refereed", runs=1234, train_time_s=3.66123, train_time_sd_s=0.2, val_loss=1.585267, saving=-0.0321,
    hardware="2x CPU core", sandbox="namespaces", status="complete", reached_target=True, train_time_low_s=3.44,
    train_time_high_s=3.8824, p_value=8.123e-5, placed_by="ratio", refutations=1, challenges=1,
    techniques=("muon", "n-gram"), flags=("time-differs",), source_lines=1811, source_lines_change=-23,
    source_files=1, source_bytes=1, rules_version="2.1",
)  # fmt: skip
WRITTEN = {
    "place": "2", "train_time_s": "3.661 ± 0.221 s", "saving": "−3.2 %", "val_loss": "1.5853", "runs": "1,234",
    "p_value": "8.1e-05", "tier": "refereed", "date": "2026-11-23", "title": "A second record",
}  # fmt: skip
FIRST = replace(ROW, place=1, name="2026-11-22_First", title="A first record", saving=None, placed_by="time")
OLDER = replace(FIRST, name="2026-01-01_Old", title="An old record", rules_version="1.1", older_rules=True)
LOCAL = replace(FIRST, place=None, name="2026-11-24T00-00-00Z-abcdef", title="train_gpt.py", tier="local")
BOARD = [OLDER, FIRST, ROW, LOCAL]  # oldest first, as boards are read
NAMES = [ROW.name, FIRST.name, OLDER.name, LOCAL.name]


def terminal(rows: list[Standing], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(terminal_table(rows, "tiny", width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def markdown(rows: list[Standing]) -> list[str]:
    return unescape(export(rows, load_track("nano-2cpu"), "md").decode()).splitlines()


def html(rows: list[Standing]) -> list[dict[str, list[str]]]:
    """Of each row of the site's table, by header: the texts and notes of its cell."""
    table = standings_table("x", "x", [BoardRow(track="tiny", address="a.html", standing=row) for row in rows])
    return [
        {one.title: [p.text for p in (*cell.parts, *cell.notes)] for one, cell in zip(table.columns, row, strict=True)}
        for row in table.rows
    ]


@pytest.mark.parametrize("key", WRITTEN)
def test_a_row_reads_alike_on_every_face(key: str) -> None:
    (column,) = (one for one in COLUMNS if one.key == key)
    assert column.text(ROW) == WRITTEN[key]
    assert column.shown(ROW) in " ".join(terminal([ROW], 240).split())
    header, _, line = ([cell.strip() for cell in one.strip("|").split("|")] for one in markdown([ROW])[:3])
    assert line[header.index(column.header)] == column.shown(ROW)
    found = html([ROW])[0][column.header]
    assert found[0] == column.text(ROW)
    assert set(column.notes(ROW)) <= set(found)


def test_notes_stand_in_brackets_or_below() -> None:
    wide, narrow = terminal([ROW], 240), terminal([ROW], 80)
    for noted in ("−3.2 % (by ratio)", "refereed (refuted)", "1,811 (-23)", "1 (time-differs)"):
        assert noted in wide
    assert "(by ratio)" not in narrow
    assert "by ratio" in narrow
    assert "time-differs" not in narrow


def test_every_face_begins_with_the_newest() -> None:
    assert [row.name for row in newest_first(BOARD)] == NAMES
    track = load_track("nano-2cpu")
    as_csv = csv.DictReader(export(BOARD, track, "csv").decode().splitlines())
    assert [row["name"] for row in as_csv] == NAMES
    assert [row["name"] for row in json.loads(export(BOARD, track, "json"))["standings"]] == NAMES
    titles = ["A second record", "A first record", "An old record (rules 1)", f"train_gpt.py, {LOCAL.name}"]
    for lines in (terminal(BOARD, 240).splitlines(), markdown(BOARD)):
        assert [title for line in lines for title in titles if title in line] == titles


def test_the_headers_stand_in_one_order() -> None:
    shown = [one.header for one in COLUMNS if one.header]
    drawn = next(line for line in terminal([ROW], 240).splitlines() if "val_loss" in line).split()
    written = [cell.strip() for cell in markdown([ROW])[0].strip("|").split("|")]
    for headers in (drawn, written, list(html([ROW])[0])):
        assert headers == [header for header in shown if header in headers]


def test_machines_get_every_field_of_a_standing() -> None:
    assert sorted(KEYS) == sorted(field.name for field in fields(Standing))
    (found,) = csv.DictReader(export([ROW], load_track("nano-2cpu"), "csv").decode().splitlines())
    assert list(found) == list(KEYS)
    assert (found["place"], found["train_time_s"], found["authors"]) == ("2", "3.66123", "Ada; Grace")
    (undated,) = csv.DictReader(
        export([replace(ROW, date=UNDATED)], load_track("nano-2cpu"), "csv").decode().splitlines()
    )
    assert undated["date"] == ""


def test_show_writes_what_the_board_writes(two_records: list[Path], call: Call) -> None:
    told = call(show, "faster", width=200).stdout
    row = read_board(load_track("tiny")).rows[-1]
    for column in COLUMNS:
        if column.header in ("tier", "time", "saved", "val_loss", "n", "p", "hardware"):
            assert f"  {column.header:<20}{column.shown(row)}\n" in told
