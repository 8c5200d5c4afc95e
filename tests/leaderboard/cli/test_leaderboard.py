"""The leaderboard: narrow and wide, piped, hostile, broken."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

from data.printing import printable
from harness.errors import UserError
from harness.formats.track import load_track
from harness.records.standings import Standing
from leaderboard.board.columns import KEYS, time_text
from leaderboard.board.filters import parse_filters
from leaderboard.cli import leaderboard as cli
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.text.exports import frame
from leaderboard.text.tables import legend, progress_line, terminal_table

Call = Callable[..., Result]
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:[34]\d|9[0-7]|10[0-7])[;m]")

ROOT = Path(__file__).resolve().parents[3]
ROW = Standing(
    place=1, name="2026-11-22_First", title="A first record", authors=("Ada", "Grace"), date=date(2026, 11, 22),
    tier="refereed", runs=3, train_time_s=91.25, train_time_sd_s=0.5, val_loss=2.51234, saving=None,
    hardware="2x CPU core", sandbox="namespaces", status="complete", reached_target=True,
    train_time_low_s=90.01, train_time_high_s=92.49, p_value=0.0004,
)  # fmt: skip
LOCAL = replace(
    ROW, place=None, name="2026-11-22T10-00-00Z-abcdef", title="train_gpt.py", authors=(), tier="local", runs=1,
    train_time_s=None, train_time_sd_s=None, val_loss=None, status="train_failed", reached_target=None,
    train_time_low_s=None, train_time_high_s=None, p_value=None,
)  # fmt: skip


def render(rows: list[Standing], width: int, **terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=width, **{"force_terminal": False, **terminal})
    console.print(terminal_table(rows, "nano-2cpu", width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_and_keeps_what_matters(width: int) -> None:
    text = render([ROW, replace(ROW, place=2, train_time_s=18.25, saving=0.8), LOCAL], width)
    assert max(map(len, text.splitlines())) <= width
    assert "91.25 ± 1.24 s" in text
    assert "+80.0 %" in text
    assert "2.5123" in text
    assert ("0.0004" in text) == (width >= 78)
    assert (" date " in text) == (width >= 94)
    assert ("2x CPU core" in text) == (width >= 124)
    assert ("Ada, Grace" in text) == (width >= 150)


def test_a_failed_local_run_says_what_became_of_it() -> None:
    assert "train_failed" in render([LOCAL], 120)


def test_a_missed_target_is_visible_without_colour() -> None:
    assert "2.5123 (missed)" in render([replace(ROW, reached_target=False)], 120)


def test_eighty_columns_leave_a_title_its_words() -> None:
    title = "The same transformer with orthogonalised momentum"
    text = render([replace(ROW, title=title, reached_target=False)], 80)
    assert all(word in text for word in [*title.split(), "91.25 ± 1.24 s", "0.0004", "2.5123", "missed"])


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
    assert list(table.columns) == list(KEYS)
    assert table.loc[0, "authors"] == "Ada; Grace"
    assert table["train_time_s"].tolist()[0] == 91.25
    assert frame([]).empty


def test_nothing_is_said_by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one is told nothing, in 80 columns
    rows = [ROW, replace(ROW, place=2, refutations=1), replace(LOCAL, reached_target=False)]
    shown = render(rows, 100, force_terminal=True)
    assert re.search(r"\x1b\[[0-9;]*m", shown)  # bold and dim
    assert not COLOUR.search(shown)
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == render(rows, 100)
    assert "refuted" in shown


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["a", "b", "c"]),
        ({"tier": "refereed"}, ["a", "b"]),
        ({"tier": "reproduced"}, ["b"]),
        ({"tier": "local"}, ["c"]),
        ({"author": "GRACE"}, ["a", "b"]),
        ({"author": "Lin"}, ["b"]),
        ({"technique": "muon"}, ["b"]),
        ({"since": "2026-11-23"}, ["b"]),
        ({"since": "2026-11-22", "tier": "reported"}, ["a", "b"]),
    ],
)
def test_filters_keep_what_was_asked_for(wanted: dict[str, str], names: list[str]) -> None:
    reproduced = replace(
        ROW, name="b", tier="reproduced", authors=("Grace", "Lin"), techniques=("nor-muon",), date=date(2026, 11, 23)
    )
    rows = [replace(ROW, name="a"), reproduced, replace(LOCAL, name="c")]
    filters = parse_filters(**{"tier": None, "author": None, "technique": None, "since": None, **wanted})
    assert [row.name for row in rows if filters.keep(row)] == names
    assert bool(filters.sentence) == bool(wanted)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [({"tier": "gold"}, "found 'gold'"), ({"since": "soon"}, "found 'soon'"), ({"author": " "}, "--author")],
)
def test_a_filter_that_means_nothing_is_refused(wanted: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_filters(**{"tier": None, "author": None, "technique": None, "since": None, **wanted})


def test_the_legend_explains_the_tiers_that_are_there_and_no_other() -> None:
    track = load_track("nano-2cpu")
    text = legend([ROW, LOCAL], track)
    assert "refereed: our clock" in text
    assert "local: refereed here" in text
    assert "reported:" not in text
    assert f"t-test of the losses against {track.target_val_loss:g}" in text
    assert "\n" not in text
    imported = legend([replace(ROW, tier="reported")], track)
    assert "referee's clock" not in imported
    assert "imported rows show the claim of their table" in imported


def test_steps_are_shown_only_where_they_decide() -> None:
    timed = replace(ROW, steps=2000)
    assert time_text(timed) == "91.25 ± 1.24 s"
    counted = replace(timed, train_time_s=None, train_time_low_s=None, train_time_high_s=None)
    assert time_text(counted) == "2,000 steps"


def test_progress_is_one_line_from_the_first_record_to_the_last() -> None:
    rows = [replace(ROW, place=i + 1, train_time_s=t) for i, t in enumerate([100.0, 50.0, 12.5])]
    assert progress_line(rows) == "100.00 s █▆▁ 12.50 s, 8 times in 3 records"
    assert progress_line(rows[:1]) == progress_line([]) == ""
    steps = [replace(row, steps=100 - 10 * i, train_time_s=None) for i, row in enumerate(rows)]
    assert progress_line(steps).startswith("100 steps ")


# --- the command ---


def test_every_format_holds_the_same_rows(two_records: list[Path], call: Call, tmp_path: Path) -> None:
    import pandas as pd

    rows = json.loads(call(leaderboard, "--track", "tiny", "--json").stdout)["standings"]
    assert [row["name"] for row in rows] == [folder.name for folder in two_records[::-1]]
    assert rows[0]["saving"] == pytest.approx(0.25, abs=0.01)
    assert rows[0]["train_time_low_s"] < rows[0]["train_time_s"] < rows[0]["train_time_high_s"]
    lines = call(leaderboard, "--track", "tiny", "--format", "csv").stdout.splitlines()
    assert lines[0].split(",") == list(KEYS)
    assert len(lines) == 3
    markdown = call(leaderboard, "--track", "tiny", "--format", "md").stdout
    assert markdown.splitlines()[2].startswith("| 2 | A faster one | refereed | 1.505 ± ")
    done = call(leaderboard, "--track", "tiny", "--format", "parquet", "--out", str(tmp_path / "board.parquet"))
    assert done.stdout == ""
    table = pd.read_parquet(tmp_path / "board.parquet")
    assert list(table.columns) == list(KEYS)
    assert table["train_time_s"].tolist() == [row["train_time_s"] for row in rows]
    assert str(table["date"].iloc[0].date()) == "2026-01-03"


def drawn(text: str) -> list[str]:
    """The lines of title and table; the sentences below it are not wrapped where no terminal is."""
    return text.partition("\ntime: ")[0].partition("\n120.5 s")[0].splitlines()


@pytest.mark.parametrize("width", [80, 200])
def test_the_board_fits_and_explains_itself(two_records: list[Path], call: Call, width: int) -> None:
    shown = call(leaderboard, "--track", "tiny", width=width).stdout
    assert max(map(len, drawn(shown))) <= width
    text = " ".join(shown.split())
    assert "2.005 s █▁ 1.505 s, 1.33 times in 2 records" in text
    assert "refereed: our clock, data and judge, on a machine whose owner could still forge it" in text
    assert "+24.9 %" in text


def test_a_long_table_shows_the_newest_and_says_so(
    two_records: list[Path], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "RECORD_ROWS", 1)
    shown = call(leaderboard, "--track", "tiny").stdout
    assert "A faster one" in shown
    assert "A first one" not in shown
    assert "the newest 1 of 2 records; --all shows every one" in shown
    assert "A first one" in call(leaderboard, "--track", "tiny", "--all").stdout
    assert len(json.loads(call(leaderboard, "--track", "tiny", "--json").stdout)["standings"]) == 2


def test_a_filter_without_rows_says_what_there_is(two_records: list[Path], call: Call) -> None:
    assert "A faster one" in call(leaderboard, "--track", "tiny", "--technique", "muon").stdout
    shown = call(leaderboard, "--track", "tiny", "--technique", "lion", width=200).stdout
    assert "no row with technique 'lion'; techniques here: adamw, muon" in shown


def test_a_broken_record_is_left_out_and_named(two_records: list[Path], call: Call) -> None:
    (two_records[1] / "record.json").write_text("{}")
    done = call(leaderboard, "--track", "tiny")
    assert "A first one" in done.stdout
    assert "A faster one" not in done.stdout
    assert "left out" in done.stderr
    assert two_records[1].name in done.stderr


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--format", "parquet"], "--out FILE"),
        (["--out", "x.csv"], "with --out, found table"),
        (["--format", "csv", "--out", "/nowhere/x.csv"], "found: No such file"),
    ],
)
def test_where_to_write_is_said_first(contest: Path, call: Call, argv: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call(leaderboard, "--track", "tiny", *argv)


def piped(*argv: str, runs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "leaderboard", "--track", "nano-2cpu", *argv]
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PY_COLORS")}
    world = plain | {"SPEEDRUN_RUNS": str(runs), "COLUMNS": "80", "TERM": "xterm"} | environment
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=world, timeout=600)


def test_piped_output_has_no_escapes_and_fits(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01T00-00-00Z-000000").mkdir()
    (tmp_path / "2026-01-01T00-00-00Z-000000" / "run.json").write_text('{"status": "complete"}')
    shown = piped(runs=tmp_path, PYTHONIOENCODING="utf-8")
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert max(map(len, drawn(shown.stdout))) <= 80
    assert "left out" in shown.stderr  # a broken run is named
    assert "run.json" in shown.stderr


@pytest.mark.parametrize("width", ["80", "200"])
def test_no_color_is_respected_where_somebody_insists_on_a_terminal(tmp_path: Path, width: str) -> None:
    shown = piped(runs=tmp_path, FORCE_COLOR="1", NO_COLOR="1", COLUMNS=width, PYTHONIOENCODING="utf-8")
    assert "\x1b[1m" in shown.stdout  # the reigning record is bold
    assert not COLOUR.search(shown.stdout)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout)
    assert max(map(len, plain.splitlines())) <= int(width)
