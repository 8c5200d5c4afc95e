"""Changes of source: the counts of git itself, over invented files and over the sources of our own records."""

import itertools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import layout
from harness.records import source_changes
from harness.records.source_changes import FileChange, LineMatcher, changes, lines_of, unified

LINES = (b"a\n", b"b\n", b"\n", b"-- c\n", b"++ d\n", b"e\r\n", b"f\x0cg\n", b"\xff\n", b"h")
FILES = st.lists(st.sampled_from(LINES)).map(b"".join)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def numstat(folder: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[FileChange]:
    """What git counts between two folders of files."""
    for name, files in (("old", old), ("new", new)):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
    command = ["git", "-c", "core.autocrlf=false", "diff", "--no-index", "--no-renames", "--text", "--numstat", "-z"]
    told = subprocess.run([*command, "old", "new"], cwd=folder, capture_output=True, timeout=600).stdout
    fields = told.decode().split("\0")
    found = []
    while len(fields) > 1:
        counts, _, path = fields.pop(0).rpartition("\t")
        paths = [path] if path else [fields.pop(0), fields.pop(0)]
        added, removed = map(int, counts.split("\t"))
        found.append(FileChange(Path(paths[-1] if paths[-1] != "/dev/null" else paths[0]).name, added, removed))
    return sorted(found, key=lambda change: change.file)


@needs_git
@settings(max_examples=12)
@given(st.dictionaries(st.sampled_from([f"{i}.py" for i in range(20)]), st.tuples(FILES, FILES), max_size=20))
def test_git_counts_the_same(tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bytes]]) -> None:
    old, new = ({name: pair[side] for name, pair in files.items()} for side in (0, 1))
    counted = numstat(tmp_path_factory.mktemp("git"), old, new)
    assert [change for change in changes(old, new) if change.added or change.removed] == counted


@needs_git
def test_git_counts_the_same_between_our_records(tmp_path: Path) -> None:
    scripts = [path.read_bytes() for path in sorted(layout.records_root().glob("*/*/train_gpt.py"))]
    pairs = list(itertools.permutations(scripts, 2))
    assert len(pairs) > 20
    old, new = ({f"{i:03}.py": pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    assert [one for one in changes(old, new) if one.added or one.removed] == numstat(tmp_path, old, new)


@given(FILES, FILES)
def test_a_unified_diff_holds_both_versions(old: bytes, new: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_changes, "CONTEXT_LINES", 1000)
        body = list(unified({"x": old}, {"x": new}))[3:]
    added, removed = LineMatcher(old, new).change
    assert [sum(line[0] == sign for line in body) for sign in "+-"] == [added, removed]
    if old != new:
        for gone, content in (("+", old), ("-", new)):
            shown = [line.decode(errors="replace").removesuffix("\n") for line in lines_of(content)]
            assert [line[1:] for line in body if line[0] != gone] == shown


def test_files_that_are_too_long_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_changes, "MAX_PAIRS", 5)
    assert changes({"x": b"1\n2\n3\n"}, {"x": b"1\n3\n4\n"}) == (FileChange("x", 1, 1),)
