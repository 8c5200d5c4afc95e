"""Every record of this checkout holds: it reads, it is its own bytes, it did what its place says."""

import difflib
from pathlib import Path

import pytest

from harness.formats import layout
from harness.formats.track import list_tracks, load_track
from harness.records.readme import BLANK
from harness.records.record import read_record, read_records
from harness.records.standings import newest_standing, standings
from harness.records.verification import verify_each

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [folder for track in list_tracks() for folder in layout.record_dirs(track.name)]


def test_every_byte_of_every_record_is_accounted_for() -> None:
    """What `speedrun verify records/` does: chain, digests, manifest, evidence, rules, size, order, challenges."""
    reports = list(verify_each([layout.records_root()]))
    broken = {f"{report.path}: {finding.id}: {finding.sentence}" for report in reports for finding in report.errors}
    assert broken == set()
    assert {report.path for report in reports if report.kind == "record"} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_record_reached_its_target(folder: Path) -> None:
    record = read_record(folder)
    target = load_track(record.statement.track).target_val_loss
    assert all(run.is_valid and run.seed_source == "harness" for run in record.runs)
    assert len({run.seed for run in record.runs}) == len(record.runs)
    losses = [run.score.val_loss for run in record.runs if run.score is not None]
    assert target is None or sum(losses) / len(losses) <= target


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_prose_of_a_record_is_written(folder: Path) -> None:
    text = (folder / layout.README_FILE).read_text()
    assert BLANK not in text
    assert len(text) > 200


def test_the_losses_of_the_windows_make_the_loss_of_the_run() -> None:
    for folder in FOLDERS:
        for run in read_record(folder).runs:
            assert run.score is not None
            windows = run.score.windows
            assert sum(windows.counts) == run.score.count == load_track(run.track.name).data.val_tokens
            assert sum(windows.loss_sums) == pytest.approx(run.score.loss_sum, rel=1e-12)
            assert run.score.val_loss == pytest.approx(run.score.loss_sum / run.score.count, abs=1e-7)


def test_train_gpt_is_the_reigning_record_of_the_nano_track() -> None:
    records, broken = read_records("nano-2cpu")
    assert broken == []
    rows = newest_standing(standings(records, []))
    assert min(rows, key=lambda row: row.train_time_s or 1e9) == rows[-1]
    reigning = layout.records_root() / "nano-2cpu" / records[-1].name / "train_gpt.py"
    ours, theirs = ((path).read_text().splitlines() for path in (ROOT / "train_gpt.py", reigning))
    changed = [line for line in difflib.ndiff(theirs, ours) if line[0] in "+-" and line[1:].strip()]
    assert len(changed) == 5, changed  # the dtype where a CPU has no products in bf16, with its comment, and one import
    told = ("dtype=torch.bfloat16", "     # ", "import varlen_attn")
    assert all(any(text in line for text in told) for line in changed), changed
