"""Who races: a script, a folder, or a record by its name or its folder; always exactly the files that ran."""

import shutil
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.formats import layout
from harness.formats.submission import read_submission, take_copy
from harness.formats.track import Track, load_track
from harness.records.lookup import NamedSubmission, find_baseline, find_submission, standing_record

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"


def under_rules(version: str) -> Track:
    return load_track("nano-2cpu").model_copy(update={"rules_version": version})


def test_a_script_is_no_record() -> None:
    assert find_submission(str(BIGRAM), "nano-2cpu") == NamedSubmission(read_submission(BIGRAM), None)


def test_a_record_by_name_or_by_folder_is_the_source_that_ran(tmp_path: Path) -> None:
    newest = layout.records_root() / "nano-2cpu" / "2026-11-22_Muon"
    by_name = find_submission(newest.name, "nano-2cpu")
    assert by_name.record == newest.name
    assert by_name == find_submission(str(newest), "nano-2cpu") == standing_record(under_rules("1.1"))
    take_copy(by_name.submission, tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(by_name.submission.files)
    assert "README.md" not in by_name.submission.files


def test_a_copy_of_a_record_elsewhere_is_no_record_of_this_checkout(tmp_path: Path) -> None:
    newest = layout.record_dirs("nano-2cpu")[-1]
    copy = shutil.copytree(newest, tmp_path / newest.name)
    found = find_submission(str(copy), "nano-2cpu")
    assert (found.record, found.submission.root) == (None, copy)
    assert found.submission.sha256 == find_submission(newest.name, "nano-2cpu").submission.sha256
    assert find_submission(str(newest), "another-track").record is None


@pytest.mark.parametrize("name", ["2020-01-01_Nobody", "no/such/file.py"])
def test_what_is_nothing_of_the_kind_is_said(name: str) -> None:
    with pytest.raises(UserError, match="expected"):
        find_submission(name, "nano-2cpu")


def test_a_track_without_records_has_no_standing_one() -> None:
    assert standing_record(load_track("gpt2-small-10min")) is None


def test_nobody_races_a_record_of_older_rules() -> None:
    """Under new major rules it is a source like any other, that a race may still be run against."""
    assert standing_record(under_rules("9.0")) is None
    newest = layout.records_root() / "nano-2cpu" / "2026-11-22_Muon"
    assert find_baseline(newest.name, under_rules("1.7")).record == newest.name
    source = find_baseline(newest.name, under_rules("9.0"))
    assert source == NamedSubmission(find_submission(newest.name, "nano-2cpu").submission, None)
