"""The imported history that is committed: complete, equal to an independent reading of the logs, and closed."""

import hashlib
import io
import itertools
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import RecordError
from harness.formats import layout
from harness.formats.track import load_track
from leaderboard.text.tables import terminal_table
from leaderboard.upstream.claims import catalogue
from leaderboard.upstream.history import History, encode, read_history, write_history
from leaderboard.upstream.imported import below, imported_standings

TRACKS = ("gpt2-small-8xh100", "gpt2-medium-8xh100", "optimizer-steps")
# Of rows "path|run|last step|steps|loss|ms|validations|GPU|GPUs|torch", sorted, as another parser wrote them down.
READ_BY_ANOTHER_PARSER = {
    "gpt2-small-8xh100": (1110, "94c42066c5f25d9b2cbb23aa6a11ccda7fba8402d6d4904a79a461ebcee7b48e"),
    "gpt2-medium-8xh100": (19, "a12ed7b515cd0a390345a9a245cf7456fbf1aca6a77df2d33abad9b4b50690de"),
    "optimizer-steps": (612, "469a016ba8fb168ad39583b48c28bc12551f7ae2479bf76d367d141c23bcf16f"),
}
MAX_TOTAL_BYTES = 600_000


def history(track: str) -> History:
    found = read_history(track)
    assert found is not None
    return found


@pytest.mark.parametrize("track", TRACKS)
def test_every_run_is_what_another_parser_read(track: str) -> None:
    imported = history(track)
    rows = []
    for run in imported.runs:
        gpu = imported.machines[run.machine]
        total = run.step if run.total is None else run.total
        fields = (imported.path(run), run.position, run.step, total, run.val_loss, run.train_time_ms, run.validations)
        rows.append("|".join("" if x is None else str(x) for x in (*fields, gpu.gpu, gpu.gpu_count, gpu.torch)))
    count, digest = READ_BY_ANOTHER_PARSER[track]
    assert len(rows) == count
    assert hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest() == digest


def test_every_log_that_parses_is_there() -> None:
    logs = {(track, run.folder, run.file) for track in TRACKS for run in history(track).runs}
    assert len(logs) == 1549


def test_the_board_of_the_small_track_goes_from_45_minutes_to_73_8_seconds() -> None:
    rows = imported_standings(load_track("gpt2-small-8xh100"))
    assert len(rows) == 88
    assert (rows[0].train_time_s, rows[-1].train_time_s) == (2700.0, 73.8)
    times = [row.train_time_s for row in rows if row.train_time_s is not None]
    slower = [(before, after) for before, after in itertools.pairwise(times) if after > before]
    assert slower == [(175.98, 179.4)]  # the clock's rules changed between them
    assert all(row.saving is None or row.saving > 0 for row in rows)  # that record was re-timed before the next
    assert {row.tier for row in rows} == {"reported"}
    assert len({row.place for row in rows}) == 88
    assert sum(row.p_value is not None for row in rows) > 60
    assert all(row.flags for row in rows if not row.runs)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("track", TRACKS)
def test_a_board_of_imported_records_fits_and_shows_its_evidence(track: str, width: int) -> None:
    rows = imported_standings(load_track(track))
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(terminal_table(rows, track, width))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert ("2,690 steps" in text) == (track == "optimizer-steps")
    assert ("time-differs" in text) == (width >= 140 and track != "optimizer-steps")


def test_the_other_two_boards_are_whole() -> None:
    medium = imported_standings(load_track("gpt2-medium-8xh100"))
    steps = imported_standings(load_track("optimizer-steps"))
    assert (len(medium), medium[0].train_time_s, medium[-1].train_time_s) == (17, 20880.0, 1041.0)
    assert [row.steps for row in steps if row.steps] == sorted((row.steps or 0 for row in steps), reverse=True)
    assert (len(steps), steps[0].steps, steps[-1].steps) == (20, 3600, 2690)
    everything = imported_standings(load_track("optimizer-steps"), official_only=False)
    assert len(everything) == 46
    assert sum(row.place is None for row in everything) == 26


def test_our_own_records_stand_below_with_places_that_go_on() -> None:
    imported, own = (
        imported_standings(load_track("gpt2-medium-8xh100")),
        imported_standings(load_track("optimizer-steps")),
    )
    joined = below(imported, own)
    assert joined[: len(imported)] == imported
    assert joined[len(imported)].place == 18 + (own[0].place or 0)
    assert below([], own) == own


def test_the_files_are_compact_and_closed() -> None:
    files = [layout.history_file(track) for track in TRACKS]
    assert sum(file.stat().st_size for file in files) <= MAX_TOTAL_BYTES
    for track, file in zip(TRACKS, files, strict=True):
        assert encode(history(track)) == file.read_bytes()
        assert history(track).track == track


def test_every_row_has_words_of_ours() -> None:
    words = catalogue()
    for track in TRACKS:
        assert len(words[track]) == len(history(track).records)
        for record in history(track).records:
            assert record.title
            assert not record.title.startswith("row ")
            assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in record.techniques)


def test_copies_are_named_and_left_out() -> None:
    small = history("gpt2-small-8xh100")
    copies = [run for run in small.runs if run.copy_of is not None]
    assert len(copies) >= 20
    assert all(small.runs[run.copy_of or 0].val_loss == run.val_loss for run in copies)
    for track in TRACKS:
        imported = history(track)
        for record in imported.records:
            firsts = [imported.runs[i].copy_of or i for i in record.runs]
            assert len(set(firsts)) == len(firsts)


def test_what_breaks_the_schema_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "history_file", lambda track: tmp_path / "history.json")
    assert read_history("gpt2-medium-8xh100") is None
    good = json.loads((layout.records_root() / "gpt2-medium-8xh100" / layout.HISTORY_FILE).read_text())
    broken = {
        "surprise": {**good, "surprise": 1},
        "expected indices": {**good, "records": [{**good["records"][0], "runs": [10**6]}]},
        "run 0": {**good, "runs": [[*good["runs"][0][:8], 10**6, *good["runs"][0][9:]]]},
        "schema_version": {**good, "schema_version": 2},
        "Invalid JSON": "{",
    }
    for expected, value in broken.items():
        (tmp_path / "history.json").write_text(value if isinstance(value, str) else json.dumps(value))
        with pytest.raises(RecordError, match=expected):
            read_history("gpt2-medium-8xh100")


def test_written_and_read_is_the_same(tmp_path: Path) -> None:
    small = history("gpt2-medium-8xh100")
    write_history(tmp_path / "history.json", small)
    assert History.model_validate_json((tmp_path / "history.json").read_bytes()) == small
