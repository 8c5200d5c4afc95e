"""Reported results on a board: shown behind the records, with no place, and never on their own word."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import Result

from harness.formats import layout
from harness.formats.run import Owner, TrackRef
from harness.formats.track import Track, load_track
from harness.selftimed.record import Measured, Observed, SelfTimedClaim, SelfTimedRecord, SelfTimedScript, encode
from harness.status import Status
from leaderboard.board.board import read_board
from leaderboard.board.reported import reported_standings
from leaderboard.cli.leaderboard import leaderboard


@pytest.fixture
def contest(tmp_path: Path, bundles: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Track:
    folder = tmp_path / "records" / "tiny"
    (folder / layout.REPORTED_DIR).mkdir(parents=True)
    (folder / layout.TRACK_FILE).write_bytes(bundles.TINY.read_bytes())
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(folder.parent))
    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    return load_track("tiny")


def place(track: Track, name: str) -> Path:
    return layout.track_file(track.name).parent / layout.REPORTED_DIR / f"{name}.json"


def a_result(track: Track, bundles: ModuleType, loss: float) -> SelfTimedRecord:
    """A script that claims to be perfect, measured at `loss`."""
    return SelfTimedRecord(
        run_id="2026-01-02T03-04-05Z-abcdef", status=Status.COMPLETE, sentence="ended", track=TrackRef.of(track),
        device="cpu", started_at=datetime(2026, 1, 2, tzinfo=UTC),
        script=SelfTimedScript(
            entry="train.py", sha256="0" * 64, checkout="nanoGPT", checkout_sha256="1" * 64, launcher="python",
            world_size=1,
        ),
        owner=Owner(pid=1, start_ticks=1, boot_id="x"), environment=bundles.ENVIRONMENT, sandbox="namespaces",
        claim=SelfTimedClaim(
            grammar="nanogpt", runs=1, step=2000, total=None, val_loss=0.0, validations=9, training_lines=200,
        ),
        observed=Observed(wall_ns=125 * 10**9, peak_memory_bytes=1, cpu_ns=1, busy_cores=1.9),
        measured=Measured(
            adapter="nanogpt", checkpoint="out/ckpt.pt", checkpoint_sha256="2" * 64,
            score=bundles.a_score(track, loss, random.Random(0)),
        ),
    )  # fmt: skip


def test_a_reported_result_stands_on_the_board_without_a_place(contest: Track, bundles: ModuleType) -> None:
    place(contest, "2026-01-02_nanoGPT").write_bytes(encode(a_result(contest, bundles, 9.0)))
    (row,) = read_board(contest).rows
    assert (row.place, row.tier, row.name, row.reached_target) == (None, "reported", "2026-01-02_nanoGPT", False)
    assert row.val_loss == pytest.approx(9.0)  # the judge's, not the 0.0 it printed
    assert (row.train_time_s, row.hardware, row.steps) == (125.0, "2x CPU core", 2000)
    assert read_board(contest).held == []


def test_without_a_measured_loss_there_is_no_row(contest: Track, bundles: ModuleType) -> None:
    record = json.loads(encode(a_result(contest, bundles, 9.0)))
    place(contest, "a").write_text(json.dumps({**record, "measured": None}))
    place(contest, "b").write_text(json.dumps({**record, "tier": "refereed"}))
    place(contest, "c").write_text("{")
    rows, broken = reported_standings(contest)
    assert (rows, len(broken)) == ([], 3)
    assert len(read_board(contest).broken) == 3


def leave_local(runs: Path, record: SelfTimedRecord) -> None:
    (runs / record.run_id).mkdir(parents=True)
    (runs / record.run_id / layout.LEGACY_FILE).write_bytes(encode(record))


def test_local_self_timed_runs_stand_among_the_refereed_ones_and_are_not_taken_for_them(
    contest: Track, bundles: ModuleType, tmp_path: Path
) -> None:
    record = a_result(contest, bundles, 9.0)
    place(contest, "2026-01-02_nanoGPT").write_bytes(encode(record))
    campaign = bundles.make_bundle(tmp_path / "runs" / "campaign", candidate_times=(2.0, 2.1))
    first, last = sorted(run.name for run in (campaign / "runs").iterdir())
    middle = record.model_copy(update={"run_id": f"{first[:-6]}zzzzzz", "measured": None})
    newest = record.model_copy(update={"run_id": "2026-12-31T00-00-00Z-abcdef"})
    other = record.model_copy(update={"run_id": "2027-01-01T00-00-00Z-abcdef", "track": None})
    for one in (middle, newest, other):
        leave_local(tmp_path / "runs", one)

    found = read_board(contest, local=None)
    assert [row.name for row in found.rows] == ["2026-01-02_nanoGPT", first, middle.run_id, last, newest.run_id]
    assert [row.tier for row in found.local] == ["local", "reported", "local", "reported"]
    unmeasured, measured = found.local[1], found.local[3]
    assert (unmeasured.train_time_s, unmeasured.val_loss, unmeasured.status) == (None, None, "not measured")
    assert (measured.train_time_s, measured.val_loss) == (125.0, pytest.approx(9.0))
    assert measured.title == "nanoGPT/train.py, unmodified (local)"
    assert (found.held, found.broken) == ([], ())
    assert [row.name for row in read_board(contest, local=1).rows] == ["2026-01-02_nanoGPT", newest.run_id]


def test_a_local_self_timed_run_that_cannot_be_read_is_named(contest: Track, tmp_path: Path) -> None:
    (tmp_path / "runs" / "2026-12-31T00-00-00Z-abcdef").mkdir(parents=True)
    (tmp_path / "runs" / "2026-12-31T00-00-00Z-abcdef" / layout.LEGACY_FILE).write_text("{}")
    found = read_board(contest, local=None)
    assert found.rows == ()
    assert "legacy.json" in found.broken[0]


def test_all_lists_them_and_records_does_not(
    contest: Track, bundles: ModuleType, tmp_path: Path, call: Callable[..., Result]
) -> None:
    leave_local(tmp_path / "runs", a_result(contest, bundles, 9.0))
    for argv in (("--all",), ()):
        text = call(leaderboard, "--track", "tiny", *argv, width=160).stdout
        assert "nanoGPT/train.py, unmodified (local), 2026-01-02T03-04-05Z-abcdef" in " ".join(text.split())
        assert "reported: timed by the script itself" in " ".join(text.split())
    assert "nanoGPT" not in call(leaderboard, "--track", "tiny", "--records").stdout
