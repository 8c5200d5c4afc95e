"""Untrusted text on disk stays within bounds."""

import json
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import logfile
from harness.formats.logfile import CUT_MARK, Curve, LogFile
from harness.formats.messages import Log


@settings(max_examples=60)
@given(chunks=st.lists(st.binary(max_size=40), max_size=10), limit=st.integers(1, 100))
def test_the_log_is_cut_at_its_limit(tmp_path: Path, chunks: list[bytes], limit: int) -> None:
    log = LogFile(tmp_path / "log.txt", limit)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    everything, written = b"".join(chunks), (tmp_path / "log.txt").read_bytes()
    if len(everything) <= limit:
        assert (written, log.truncated) == (everything, False)
        return
    head, mark, tail = written.partition(CUT_MARK)
    assert mark
    assert log.truncated
    assert everything.startswith(head)
    assert everything.endswith(tail)
    assert len(head) + len(tail) <= limit


def test_the_head_and_the_tail_of_a_long_log_are_kept_as_whole_lines(tmp_path: Path) -> None:
    lines = [b"line %05d\n" % number for number in range(5_000)]
    log = LogFile(tmp_path / "log.txt", 2_000)
    for line in lines:
        log.write(line)
        assert (tmp_path / "log.txt").stat().st_size <= 2_000 + len(CUT_MARK)
    log.close()
    head, mark, tail = (tmp_path / "log.txt").read_bytes().partition(CUT_MARK)
    first, last = head.splitlines(keepends=True), tail.splitlines(keepends=True)
    assert mark
    assert (first, last) == (lines[: len(first)], lines[-len(last) :])
    assert min(len(first), len(last)) > 80


def test_a_log_whose_writer_dies_has_a_tail_that_is_not_old(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.txt", 2_000)
    for number in range(10_000):
        log.write(b"line %05d\n" % number)
    tail = (tmp_path / "log.txt").read_bytes().partition(CUT_MARK)[2]  # never closed
    assert int(tail.split()[-1]) > 9_800
    log.close()


def test_a_log_that_just_fits_is_not_cut(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.txt", 4)
    log.write(b"12")
    log.write(b"34")
    log.write(b"")
    log.close()
    assert (tmp_path / "log.txt").read_bytes() == b"1234"
    assert not log.truncated


def test_the_curve_is_json_whatever_a_rank_reports(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "progress.jsonl")
    for loss in (1.5, float("nan"), float("inf"), None):
        curve.write(Log(kind="log", step=1, train_loss=loss, tokens=2**61), 5)
    curve.close()
    points = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [point["train_loss"] for point in points] == [1.5, None, None, None]


def test_the_curve_ends_after_so_many_points(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "progress.jsonl")
    for step in range(20):
        curve._points += logfile.MAX_CURVE_POINTS // 10
        curve.write(Log(kind="log", step=step), 0)
    curve.close()
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 9


@settings(max_examples=40)
@given(points=st.integers(0, 700))
def test_a_closed_curve_is_thin_and_keeps_its_ends(tmp_path: Path, points: int) -> None:
    curve = Curve(tmp_path / "progress.jsonl")
    for step in range(points):
        curve.write(Log(kind="log", step=step), step)
    curve.close()
    steps = [json.loads(line)["step"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert len(steps) == min(points, logfile.KEPT_CURVE_POINTS)
    if points:
        assert (steps[0], steps[-1]) == (0, points - 1)
        gaps = {later - earlier for earlier, later in pairwise(steps)}
        assert not gaps or max(gaps) - min(gaps) <= 1
