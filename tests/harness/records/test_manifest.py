"""Manifests: closed, canonical, and blind to nothing."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import RecordError
from harness.formats import layout
from harness.records.manifest import (
    Manifest,
    ManifestFile,
    check_manifest,
    manifest_bytes,
    read_manifest,
    write_manifest,
)

NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "runs" / "one").mkdir(parents=True)
    (folder / "runs" / "one" / "run.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    (folder / "train.py").write_text("x = 1\n")
    (folder / "README.md").write_text("prose")
    write_manifest(folder, exempt=frozenset({"README.md"}))
    return folder


def problems(folder: Path) -> list[str]:
    return [finding.id for finding in check_manifest(folder, frozenset({"README.md"}))[1]]


def test_a_manifest_names_every_file_sorted_with_its_size_and_digest(folder: Path) -> None:
    files = json.loads((folder / layout.MANIFEST_FILE).read_bytes())["files"]
    assert list(files) == ["empty", "runs/one/run.json", "train.py"]
    assert files["empty"] == {"sha256": NOTHING, "bytes": 0}
    assert problems(folder) == []


def test_prose_may_change(folder: Path) -> None:
    (folder / "README.md").write_text("other prose")
    assert problems(folder) == []


def test_what_is_exempt_is_exempt_at_the_top_only(folder: Path) -> None:
    (folder / "runs" / "README.md").write_text("hidden")
    assert problems(folder) == ["manifest_extra"]


def damage_missing(folder: Path) -> None:
    (folder / "train.py").unlink()


def damage_altered(folder: Path) -> None:
    (folder / "train.py").write_text("x = 2\n")


def damage_longer(folder: Path) -> None:
    (folder / "empty").write_bytes(b"1")


def damage_extra(folder: Path) -> None:
    (folder / ".hidden").write_text("")


def damage_empty_folder(folder: Path) -> None:
    (folder / "runs" / "two").mkdir()


def damage_link(folder: Path) -> None:
    (folder / "train.py").rename(folder.parent / "elsewhere.py")
    (folder / "train.py").symlink_to(folder.parent / "elsewhere.py")


def damage_link_to_folder(folder: Path) -> None:
    (folder / "runs").rename(folder.parent / "elsewhere")
    (folder / "runs").symlink_to(folder.parent / "elsewhere")


def damage_pipe(folder: Path) -> None:
    (folder / "empty").unlink()
    os.mkfifo(folder / "empty")


def damage_no_manifest(folder: Path) -> None:
    (folder / layout.MANIFEST_FILE).unlink()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (damage_missing, "manifest_missing"),
        (damage_altered, "manifest_altered"),
        (damage_longer, "manifest_altered"),
        (damage_extra, "manifest_extra"),
        (damage_empty_folder, "folder_empty"),
        (damage_link, "not_plain"),
        (damage_link_to_folder, "not_plain"),
        (damage_pipe, "not_plain"),
        (damage_no_manifest, "manifest_unreadable"),
    ],
)  # fmt: skip
def test_every_difference_is_found(folder: Path, damage: object, expected: str) -> None:
    assert callable(damage)
    damage(folder)
    assert expected in problems(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../b", "./a", "a//b", "", "a\nb", "a\\b", "a/."])
def test_names_that_leave_the_folder_or_have_another_spelling_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Manifest(files={name: ManifestFile(sha256=NOTHING, bytes=0)})


def test_there_is_one_form_of_a_manifest(folder: Path) -> None:
    path = folder / layout.MANIFEST_FILE
    manifest = read_manifest(folder)
    path.write_text(json.dumps(manifest.model_dump(mode="json")))
    with pytest.raises(RecordError, match="canonical"):
        read_manifest(folder)


def test_a_folder_with_a_link_gets_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(RecordError, match="not a plain file"):
        write_manifest(tmp_path)


def test_a_name_no_text_can_hold_is_a_finding_not_a_crash(folder: Path) -> None:
    with open(os.path.join(os.fsencode(folder), b"bad\xff"), "wb"):
        pass
    assert problems(folder) == ["manifest_extra"]


@settings(max_examples=150)
@given(data=st.data())
def test_no_single_byte_of_a_manifest_is_without_meaning(folder: Path, data: st.DataObject) -> None:
    path = folder / layout.MANIFEST_FILE
    kept = path.read_bytes()
    at = data.draw(st.integers(0, len(kept) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != kept[at]))
    path.write_bytes(kept[:at] + bytes([byte]) + kept[at + 1 :])
    found = problems(folder)
    path.write_bytes(kept)
    assert found


def test_the_bytes_are_read_back_as_they_were_written(folder: Path) -> None:
    assert manifest_bytes(read_manifest(folder)) == (folder / layout.MANIFEST_FILE).read_bytes()
