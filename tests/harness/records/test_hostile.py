"""Hostile folders: whatever one of them does to a reader, it is one sentence, and the others are verified."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data.datasets import read_manifest
from data.errors import DataError
from harness.errors import TrackError, UserError
from harness.formats.submission import read_submission
from harness.formats.track import load_track
from harness.records.manifest import check_manifest, write_manifest
from harness.records.record import read_records_of
from harness.records.verification import NOT_IN_MANIFEST, verify_each

Make = Callable[..., Path]
DEEP = "[" * 100_000
DIGITS = "9" * 5_000


@pytest.fixture
def two(tmp_path: Path, make_bundle: Make, make_record: Make) -> tuple[Path, Path]:
    """Two records that know nothing of each other, in two trees."""
    first = make_record(make_bundle(tmp_path / "a"), "First")
    second = Path(shutil.copytree(first.parent, tmp_path / "elsewhere" / "tiny")) / first.name
    return first, second


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "a track nested without end": lambda path: path.write_text(f"x = {DEEP}"),
    "a track of 5,000 digits": lambda path: path.write_text(f"schema_version = {DIGITS}"),
    "a track that is no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a track that is a pipe": pipe,
    "a track that is a loop": loop,
    "a file nested without end": lambda path: path.write_text(DEEP),
    "a file of 5,000 digits": lambda path: path.write_text(f'{{"schema_version": {DIGITS}}}'),
    "a file of objects without end": lambda path: path.write_text('{"a":' * 50_000),
    "a file that is no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a pipe": pipe,
    "a loop": loop,
}
FILES = ("record.json", "verdict.json", "manifest.json", "ledger.jsonl", "requirements.lock", "train_gpt.py")


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_found_and_stops_nothing_else(two: tuple[Path, Path], case: str) -> None:
    """One file after the other, as everybody may hand one in; and a run."""
    first, second = two
    names = (
        ("track.toml",)
        if "track" in case
        else (*FILES, f"runs/{min(p.name for p in (first / 'runs').iterdir())}/run.json")
    )
    for name in names:
        kept = (first / name).read_bytes()
        HOSTILE[case](first / name)
        also = [second] if name == names[-1] else []
        reports = {report.path: report for report in verify_each([first.parent, *also])}
        assert not reports[first].holds, name
        assert all(reports[path].holds for path in also)
        assert all(finding.sentence for finding in reports[first].findings)
        read_records_of(first.parent)
        (first / name).unlink()
        (first / name).write_bytes(kept)


@pytest.mark.parametrize("content", [f"x = {DEEP}", f"schema_version = {DIGITS}", "x = {a = " * 50_000, "\0"])
def test_toml_of_any_depth_and_length_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "track.toml"
    path.write_text(content)
    with pytest.raises(TrackError, match="expected TOML"):
        load_track(str(path))
    with pytest.raises(DataError, match="expected a manifest"):
        read_manifest(path)


@pytest.mark.parametrize("change", [pipe, loop])
def test_a_track_is_a_plain_file(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "track.toml"
    path.write_text("")
    change(path)
    with pytest.raises(TrackError):
        load_track(str(tmp_path))


CLASHES = [
    ("Train_gpt.py", "name_clash"), ("Record.json", "name_clash"), ("RUNS/a.py", "name_clash"),
    ("readme.MD", "name_clash"), ("e\u0301.py", None), ("Challenges/a", "name_clash"), ("manifest.JSON", "name_clash"),
    ("\uff52ecord.json", "name_clash"), (".gitattributes", "git_name"), (".GitModules", "git_name"),
    ("a/.git/config", "git_name"), ("GIT~1", "git_name"), ("train_gpt.py.", "name_clash"), ("plain.py", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), CLASHES)
def test_a_name_that_some_disk_takes_for_another_is_found(
    tmp_path: Path, make_bundle: Make, make_record: Make, name: str, expected: str | None
) -> None:
    folder = make_record(make_bundle(tmp_path / "a"), "First")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x = 1\n")
    write_manifest_anyway(folder)
    found = {finding.id for finding in check_manifest(folder, NOT_IN_MANIFEST)[1]}
    assert (expected in found) if expected else not found & {"name_clash", "git_name"}


def write_manifest_anyway(folder: Path) -> None:
    """As a forger would, whatever our writer refuses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.records.manifest.name_findings", lambda names, own=(): iter(()))
        write_manifest(folder, None, NOT_IN_MANIFEST)


def test_two_forms_of_one_name_clash(tmp_path: Path) -> None:
    (tmp_path / "\u00e9.py").write_text("")
    (tmp_path / "e\u0301.py").write_text("")
    assert "name_clash" in {finding.id for finding in check_manifest(tmp_path)[1]} or _unread(tmp_path)


def _unread(folder: Path) -> bool:
    write_manifest_anyway(folder)
    return "name_clash" in {finding.id for finding in check_manifest(folder)[1]}


@pytest.mark.parametrize(
    "names", [("a.py", "A.py"), ("\u00e9.py", "e\u0301.py"), ("x/a.py", "X/b.py"), (".GITattributes",)]
)
def test_a_submission_has_no_such_names_to_begin_with(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in ("train_gpt.py", *names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="expected n"):
        read_submission(tmp_path)


def test_what_a_repository_keeps_for_git_is_not_part_of_a_submission(tmp_path: Path) -> None:
    for name in ("train_gpt.py", ".gitignore", ".gitattributes"):
        (tmp_path / name).write_text("")
    assert set(read_submission(tmp_path).files) == {"train_gpt.py"}
