"""Reports of a run: whole lines count, anything else is left out."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.progress import TAIL_BYTES, TrainingReport, parse_report, read_last_report, read_progress

LINE = b'{"step": 10, "elapsed_ns": 1500000000, "train_loss": 2.5, "tokens": 100}'


def test_a_line_is_a_report() -> None:
    assert parse_report(LINE) == TrainingReport(10, 1.5, 2.5, 100)


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b"3", LINE[:-3], b'{"step": 1}', b'{"step": "1", "elapsed_ns": 1}', b"[" * 10_000,
     b'{"step": true, "elapsed_ns": 1}', b'{"step": -1, "elapsed_ns": 1}', b'{"step": 1e99, "elapsed_ns": 1}', b"\xff"],
)  # fmt: skip
def test_what_is_no_report_is_left_out(line: bytes) -> None:
    assert parse_report(line) is None


@pytest.mark.parametrize("loss", ["NaN", "Infinity", "-Infinity", "true", '"2"', "null", "1" + "0" * 400])
def test_a_loss_that_is_no_number_is_none(loss: str) -> None:
    found = parse_report(f'{{"step": 1, "elapsed_ns": 5, "train_loss": {loss}}}'.encode())
    assert found == TrainingReport(1, 5e-9, None, None)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_line_breaks_the_reader(line: bytes) -> None:
    assert parse_report(line) is None or b"step" in line


def test_a_torn_last_line_leaves_the_whole_one_before(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(LINE + b"\n" + LINE.replace(b"10,", b"20,")[:30])
    found = read_last_report(tmp_path)
    assert found is not None
    assert found[0].step == 10
    assert [report.step for report in read_progress(tmp_path)] == [10]


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    lines = [LINE.replace(b"10,", f"{step},".encode()) for step in range(3 * TAIL_BYTES // len(LINE))]
    (tmp_path / "progress.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    found = read_last_report(tmp_path)
    assert found is not None
    assert found[0].step == len(lines) - 1


def test_what_is_no_plain_file_is_none(tmp_path: Path) -> None:
    assert read_last_report(tmp_path) is None
    (tmp_path / "target").write_bytes(LINE)
    (tmp_path / "progress.jsonl").symlink_to(tmp_path / "target")
    assert (read_last_report(tmp_path), read_progress(tmp_path)) == (None, [])
