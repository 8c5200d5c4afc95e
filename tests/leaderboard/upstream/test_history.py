"""The imported history that is committed: complete, equal to an independent reading of the logs, and closed."""

import hashlib
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import RecordError
from harness.formats import layout
from harness.formats.track import load_track
from leaderboard.text.tables import terminal_table
from leaderboard.upstream.audit import audit
from leaderboard.upstream.claims import catalogue
from leaderboard.upstream.history import History, encode, read_history, write_history
from leaderboard.upstream.imported import below, imported_standings

ADDED = ("merged", "baseline", "stated", "shown")
TRACKS = ("gpt2-small-8xh100", "gpt2-medium-8xh100", "optimizer-steps")
# Of rows "path|run|last step|steps|loss|ms|validations|GPU|GPUs|torch", sorted, as another parser wrote them down.
READ_BY_ANOTHER_PARSER = {
    "gpt2-small-8xh100": (1110, "94c42066c5f25d9b2cbb23aa6a11ccda7fba8402d6d4904a79a461ebcee7b48e"),
    "gpt2-medium-8xh100": (19, "a12ed7b515cd0a390345a9a245cf7456fbf1aca6a77df2d33abad9b4b50690de"),
    "optimizer-steps": (612, "469a016ba8fb168ad39583b48c28bc12551f7ae2479bf76d367d141c23bcf16f"),
}
VERSION_1 = {  # records and their digest; runs, and the digest of all tables
    "gpt2-small-8xh100": (
        91, "88998e38f5e85d1cc953823cd3eb217535f1e70d3d03fd69b2909c8635c5d207",
        1110, "131b495b1e6c036758a81d4c215650c7d66c30cc91f903c5f88cbee4d854b52e",
    ),
    "gpt2-medium-8xh100": (
        18, "f212e651fb7a2096b97fb174982ebae2a671c0fbcc8b3120a462fded91ccadd9",
        19, "7deba99165ac57904635e633ef1a8c8faa83956d2eb59b16b909c3892df7f4d3",
    ),
    "optimizer-steps": (
        46, "d996d808dbe8596492f59667acf68da874d5715e628ce0c8213c1fc5a0699d91",
        612, "abb5702eaf2d209c49fd40126811ec06b484f3eeaf8f451262493f09d602ff5f",
    ),
}  # fmt: skip
KNOWN = {
    "gpt2-small-8xh100": (131, 71, 150),
    "gpt2-medium-8xh100": (16, 14, 18),
    "optimizer-steps": (55, 33, 74),
}  # folders, machines, scripts
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
        if imported.commit_of(imported.path(run)) != imported.source.commit:
            continue  # of a row that came later
        gpu = imported.machines[run.machine]
        total = run.step if run.total is None else run.total
        fields = (imported.path(run), run.position, run.step, total, run.val_loss, run.train_time_ms, run.validations)
        rows.append("|".join("" if x is None else str(x) for x in (*fields, gpu.gpu, gpu.gpu_count, gpu.torch)))
    count, digest = READ_BY_ANOTHER_PARSER[track]
    assert len(rows) == count
    assert hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest() == digest


def test_every_log_that_parses_is_there() -> None:
    found = [(imported, imported.path(run)) for imported in map(history, TRACKS) for run in imported.runs]
    logs = {path for imported, path in found if imported.commit_of(path) == imported.source.commit}
    assert len(logs) == 1549
    assert len({path for _, path in found}) == 1549 + 13 + 20 + 26  # of rows 90, 91, 92


@pytest.mark.parametrize("track", TRACKS)
def test_the_155_rows_of_version_1_are_unchanged(track: str) -> None:
    """But for the fields that were added: digests of what stood in the files before."""
    rows, of_rows, runs, of_tables = VERSION_1[track]
    value = json.loads(layout.history_file(track).read_text())
    kept = [{key: row[key] for key in row if key not in ADDED} for row in value["records"]]
    assert digest(kept[:rows]) == of_rows
    folders, machines, scripts = KNOWN[track]
    tables = [
        value["runs"][:runs], value["folders"][:folders], value["machines"][:machines],
        [script[:2] for script in value["scripts"][:scripts]],
    ]  # fmt: skip
    assert digest(tables) == of_tables
    assert sum(count for count, *_ in VERSION_1.values()) == 155


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_board_of_the_small_track_goes_from_45_minutes_to_39_9_seconds() -> None:
    rows = imported_standings(load_track("gpt2-small-8xh100"))
    assert len(rows) == 91
    assert [row.train_time_s for row in (rows[0], *rows[-4:])] == [2700.0, 73.8, 67.8, 67.56, 39.9]
    times = [row.train_time_s for row in rows if row.train_time_s is not None]
    slower = [(before, after) for before, after in itertools.pairwise(times) if after > before]
    assert slower == [(175.98, 179.4)]  # the clock's rules changed between them
    assert all(row.saving is None or row.saving > 0 for row in rows)  # that record was re-timed before the next
    assert {row.tier for row in rows} == {"reported"}
    assert len({row.place for row in rows}) == 91
    assert rows[-1].place == 92
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
        "schema_version": {**good, "schema_version": 4},
        "version 1 has no merged": {**good, "schema_version": 1, "scripts": [s[:2] for s in good["scripts"]]},
        "version 2 has no shown": {**good, "schema_version": 2},
        "version 1 has no size": {**good, "schema_version": 1, "records": []},
        "Invalid JSON": "{",
    }
    for expected, value in broken.items():
        (tmp_path / "history.json").write_text(value if isinstance(value, str) else json.dumps(value))
        with pytest.raises(RecordError, match=expected):
            read_history("gpt2-medium-8xh100")


def test_a_file_of_version_1_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(layout.history_file("gpt2-medium-8xh100").read_text())
    old = value | {"schema_version": 1, "scripts": [script[:2] for script in value["scripts"]]}
    old["records"] = [{key: row[key] for key in row if key not in ("merged", "shown")} for row in value["records"]]
    monkeypatch.setattr(layout, "history_file", lambda track: tmp_path / "history.json")
    (tmp_path / "history.json").write_text(json.dumps(old))
    found = read_history("gpt2-medium-8xh100")
    assert found is not None
    assert {record.merged for record in found.records} == {None}
    assert {script.files for script in found.scripts} == {0}
    assert encode(found).startswith(b'{\n"schema_version": 3,')  # what is written is of the newest version


def test_merge_days_stand_beside_the_dates_of_the_tables() -> None:
    later = [
        (record.merged - record.date).days
        for track in TRACKS
        for record in history(track).records
        if record.merged and record.date
    ]
    assert len(later) == 154
    assert sum(days > 0 for days in later) == 136
    small = {record.number: record for record in history("gpt2-small-8xh100").records}
    assert [str(small[number].merged) for number in (27, 90, 91, 92)] == [
        "2025-10-15", "2026-09-18", "2026-09-18", "2026-09-28",
    ]  # fmt: skip


def test_the_new_rows_have_the_numbers_of_their_statistics() -> None:
    rows = {row.number: row for row in audit(history("gpt2-small-8xh100"), load_track("gpt2-small-8xh100"))}
    assert (rows[90].runs, rows[90].baseline_runs) == (4, 2)
    assert rows[90].val_loss == pytest.approx(3.274725)
    assert rows[90].p_value == pytest.approx(0.001585462, rel=1e-6)
    assert rows[90].time_s == pytest.approx(70.09375)
    assert (rows[91].runs, rows[91].timed_runs) == (5, 0)  # on one GPU
    assert (rows[92].runs, rows[92].baseline_runs) == (17, 9)
    assert rows[92].val_loss == pytest.approx(3.2773)
    assert rows[92].baseline_val_loss == pytest.approx(3.2782777778)
    assert rows[92].baseline_time_s == pytest.approx(73.889, abs=5e-4)
    assert {flag.id for flag in rows[92].flags} == {"runs-differ"}
    assert {"time-differs", "script-not-committed"} <= {flag.id for flag in rows[90].flags}


def test_written_and_read_is_the_same(tmp_path: Path) -> None:
    small = history("gpt2-medium-8xh100")
    write_history(tmp_path / "history.json", small)
    assert History.model_validate_json((tmp_path / "history.json").read_bytes()) == small
