"""References: a person's words lead to one record, or to a sentence that helps."""

from pathlib import Path

import pytest

from harness.errors import UserError
from leaderboard.board.record_names import OwnRecord, find_record, references
from leaderboard.upstream.history import ImportedRow


def test_a_record_is_found_by_every_name_it_has(two_records: list[Path]) -> None:
    folder = two_records[1]
    names = (folder.name, f"tiny/{folder.name}", f"tiny/{folder.name}/", str(folder), f"{folder}/record.json",
             "AFasterOne", "faster", "FASTERONE")  # fmt: skip
    for name in names:
        found = find_record(name)
        assert isinstance(found, OwnRecord), name
        assert found.folder == folder
    assert find_record("first", "tiny").key == f"tiny/{two_records[0].name}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("2026-01-03", r"could be tiny/2026-01-03_AFasterOne, tiny/2026-01-03_AFirstOne"),
        ("2026-01-03_AFastreOne", "did you mean tiny/2026-01-03_AFasterOne, "),
        ("", "expected a record by name"),
        ("/", "expected a record by name"),
        ("x" * 5000, "expected a record by name"),
        ("a\0b/c", "expected a record by name"),
        ("../records/tiny", "expected a record by name"),
    ],
)
def test_what_means_no_record_or_several_is_told(two_records: list[Path], name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find_record(name)


def test_imported_records_have_their_numbers() -> None:
    found = find_record("gpt2-small-8xh100/88")
    assert isinstance(found, ImportedRow)
    assert found.record.number == 88
    assert find_record("modded-nanogpt 88", "gpt2-small-8xh100") == found
    assert find_record("optimizer-steps/1").track == "optimizer-steps"


def test_every_key_leads_back_to_its_record() -> None:
    known = [found for found in references() if isinstance(found, ImportedRow)]
    assert len(known) == 158
    assert len({found.key for found in known}) == len(known)
