"""Who races: a script, a folder, or a record by its name or its folder; always exactly the files that ran."""

import shutil
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.formats import layout
from harness.formats.submission import read_submission, take_copy
from harness.records.lookup import NamedSubmission, find_submission, standing_record

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"


def test_a_script_is_no_record() -> None:
    assert find_submission(str(BIGRAM), "nano-2cpu") == NamedSubmission(read_submission(BIGRAM), None)


def test_a_record_by_name_or_by_folder_is_the_source_that_ran(tmp_path: Path) -> None:
    newest = layout.record_dirs("nano-2cpu")[-1]
    by_name = find_submission(newest.name, "nano-2cpu")
    assert by_name.record == newest.name
    assert by_name == find_submission(str(newest), "nano-2cpu") == standing_record("nano-2cpu")
    take_copy(by_name.submission, tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(by_name.submission.files)
    assert "README.md" not in by_name.submission.files


def test_a_copy_of_a_record_elsewhere_is_no_record_of_this_checkout(tmp_path: Path) -> None:
    newest = layout.record_dirs("nano-2cpu")[-1]
    copy = shutil.copytree(newest, tmp_path / newest.name)
    found = find_submission(str(copy), "nano-2cpu")
    assert (found.record, found.submission.root) == (None, copy)
    assert found.submission.sha256 == standing_record("nano-2cpu").submission.sha256
    assert find_submission(str(newest), "another-track").record is None


@pytest.mark.parametrize("name", ["2020-01-01_Nobody", "no/such/file.py"])
def test_what_is_nothing_of_the_kind_is_said(name: str) -> None:
    with pytest.raises(UserError, match="expected"):
        find_submission(name, "nano-2cpu")


def test_a_track_without_records_has_no_standing_one() -> None:
    with pytest.raises(UserError, match="name a BASELINE"):
        standing_record("no-such-track")
