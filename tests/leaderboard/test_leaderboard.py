"""The leaderboard: narrow and wide, piped, hostile, broken."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from harness.standings import Standing
from leaderboard.tables import COLUMNS, frame, printable, terminal_table

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = Standing(
    place=1, name="2026-11-22_First", title="A first record", authors=("Ada", "Grace"), date=date(2026, 11, 22),
    tier="refereed", runs=3, train_time_s=91.25, train_time_sd_s=0.5, val_loss=2.51234, saving=None,
    hardware="2x CPU core", sandbox="namespaces", status="complete", reached_target=True,
)  # fmt: skip
LOCAL = replace(
    ROW, place=None, name="2026-11-22T10-00-00Z-abcdef", title="train_gpt.py", authors=(), tier="local", runs=1,
    train_time_s=None, train_time_sd_s=None, val_loss=None, status="train_failed", reached_target=None,
)  # fmt: skip


def render(rows: list[Standing], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(terminal_table(rows, "nano-2cpu", width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_and_keeps_what_matters(width: int) -> None:
    text = render([ROW, replace(ROW, place=2, train_time_s=18.25, saving=0.8), LOCAL], width)
    assert max(map(len, text.splitlines())) <= width
    assert "91.25 ±0.50 s" in text
    assert "+80.0%" in text
    assert "2.5123" in text
    assert ("2x CPU core" in text) == (width >= 130)


def test_a_failed_local_run_says_what_became_of_it() -> None:
    assert "train_failed" in render([LOCAL], 120)


def test_a_missed_target_is_visible_without_colour() -> None:
    assert "2.5123 missed" in render([replace(ROW, reached_target=False)], 120)


@pytest.mark.parametrize(
    "title", ["\x1b[31mred\x1b[0m", "a\rb", "\x9b2J", "bell\a", "[bold]markup[/bold]", "\u202eright"]
)
def test_titles_can_neither_move_the_cursor_nor_style_the_table(title: str) -> None:
    text = render([replace(ROW, title=title)], 200)
    assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in text)
    if "bold" in title:
        assert "[bold]markup[/bold]" in text


def test_printable_keeps_ordinary_text() -> None:
    assert printable("Größe 12 µs, 中文") == "Größe 12 µs, 中文"


def test_the_frame_has_one_row_per_standing_and_every_column() -> None:
    table = frame([ROW, LOCAL])
    assert list(table.columns) == list(COLUMNS)
    assert table.loc[0, "authors"] == "Ada, Grace"
    assert table["train_time_s"].tolist()[0] == 91.25
    assert frame([]).empty


def leaderboard(*argv: str, runs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "leaderboard", "--track", "nano-2cpu", *argv]
    environment = os.environ | {"SPEEDRUN_RUNS": str(runs), "COLUMNS": "80"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)


def test_piped_output_has_no_escapes_and_fits(tmp_path: Path) -> None:
    shown = leaderboard(runs=tmp_path)
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_json_and_csv_hold_the_same_standings(tmp_path: Path) -> None:
    rows = json.loads(leaderboard("--json", runs=tmp_path).stdout)["standings"]
    lines = leaderboard("--format", "csv", runs=tmp_path).stdout.splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert len(lines) - 1 == len(rows) >= 2
    assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))


def test_a_broken_run_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01T00-00-00Z-000000").mkdir()
    (tmp_path / "2026-01-01T00-00-00Z-000000" / "run.json").write_text('{"status": "complete"}')
    shown = leaderboard(runs=tmp_path)
    assert shown.returncode == 0
    assert "left out" in shown.stderr
    assert "run.json" in shown.stderr
