"""Datasets: manifests that hold, files that are checked, builds that race and die without harm."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.corpus import narration
from data.datasets import (
    Dataset,
    data_root,
    list_datasets,
    load_dataset,
    missing_files,
    prepare,
    train_paths,
    val_path,
    verify,
)
from data.errors import DataError
from data.shards import read_header, write_shard

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = "import sys; from pathlib import Path; from data.datasets import load_dataset, prepare; "
BUILD += "prepare(load_dataset(sys.argv[1]), Path(sys.argv[2]))"
# The same, killed in the middle of the last shard
KILLED_BUILD = """
import os, signal
from data import shards
def replace_half(path, parts, real=shards.replace_file):
    def half():
        header, tokens = parts
        yield header
        yield tokens[: len(tokens) // 2]
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, half() if path.name.endswith("train_000002.bin") else parts)
shards.replace_file = replace_half
"""


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return load_dataset("embedded-tiny")


@pytest.fixture
def local() -> Dataset:
    """Three shards of 1, 2 and 3 tokens, whose digests the manifest does not know."""
    return dataset(train_shards=2, train_tokens=5, val_tokens=1)


@pytest.fixture
def root(local: Dataset, tmp_path: Path) -> Path:
    (tmp_path / local.name).mkdir()
    for count, path in enumerate([val_path(local, tmp_path), *train_paths(local, tmp_path)], 1):
        write_shard(path, range(count))
    return tmp_path


def dataset(**changes: object) -> Dataset:
    fields: dict[str, object] = {
        "schema_version": 1,
        "name": "three",
        "title": "Three shards",
        "licence": "MIT",
        "kind": "local",
        "vocab_size": 8,
        "train_file_pattern": "three_train_{index:06d}.bin",
        "train_shards": 2,
        "val_file": "three_val_000000.bin",
    }
    return Dataset.model_validate(fields | changes)


def start_build(name: str, root: Path, program: str = BUILD) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, name, str(root)], cwd=REPOSITORY)


def test_every_manifest_loads_under_its_own_name() -> None:
    names = list_datasets()
    assert {"embedded", "embedded-tiny", "fineweb10B", "fineweb100B", "finewebedu10B", "tinyshakespeare"} <= set(names)
    assert [load_dataset(name).name for name in names] == names


def test_files_lie_where_the_field_expects_them(tmp_path: Path) -> None:
    fineweb = load_dataset("fineweb10B")
    assert val_path(fineweb, tmp_path) == tmp_path / "fineweb10B" / "fineweb_val_000000.bin"
    assert train_paths(fineweb, tmp_path)[0] == tmp_path / "fineweb10B" / "fineweb_train_000001.bin"
    assert train_paths(fineweb, tmp_path)[-1] == tmp_path / "fineweb10B" / "fineweb_train_000103.bin"
    assert len(train_paths(fineweb, tmp_path, 9)) == 9
    with pytest.raises(DataError, match=r"1 to 103 training shards, found 104"):
        train_paths(fineweb, tmp_path, 104)


@pytest.mark.parametrize("name", ["embedded", "embedded-tiny"])
def test_embedded_manifests_describe_the_grammar(name: str) -> None:
    found = load_dataset(name)
    assert found.vocab_size == narration.VOCAB_SIZE
    assert found.document_token == narration.DOCUMENT_TOKEN
    assert set(found.sha256) == {found.val_file, *found.train_files()}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"embedded, embedded-tiny, .* found '\.\./embedded'"):
        load_dataset("../embedded")


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"schema_version": 2},
        {"kind": "hub"},
        {"repository": "a/b", "revision": "main"},
        {"kind": "embedded", "seed": 1},
        {"seed": 1},
        {"document_token": 8},
        {"val_file": "../val.bin"},
        {"name": "a/b"},
        {"vocab_size": 65537},
        {"train_shards": "2"},
        {"sha256": {"three_val_000000.bin": "ABC"}},
    ],
    ids=str,
)
def test_a_manifest_that_breaks_the_schema_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        dataset(**changes)


def test_the_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEEDRUN_DATA", str(tmp_path))
    assert data_root() == tmp_path.resolve()
    monkeypatch.delenv("SPEEDRUN_DATA")
    assert data_root() == REPOSITORY / "data"


def test_verify_returns_the_digest_of_every_file(local: Dataset, root: Path) -> None:
    paths = [val_path(local, root), *train_paths(local, root)]
    assert verify(local, root) == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_verify_can_be_limited_to_the_first_shards(local: Dataset, root: Path) -> None:
    train_paths(local, root)[1].unlink()
    assert set(verify(local, root, shards=1)) == {local.val_file, local.train_files()[0]}
    assert missing_files(local, root) == train_paths(local, root)[1:]
    with pytest.raises(DataError, match=r"three_train_000002\.bin: expected a shard, found no file"):
        verify(local, root)


def test_verify_names_expected_and_found_digest(local: Dataset, root: Path) -> None:
    pinned = local.model_copy(update={"sha256": verify(local, root)})
    path = train_paths(pinned, root)[1]
    was_ns = path.stat().st_mtime_ns
    write_shard(path, [0, 1, 3])
    os.utime(path, ns=(was_ns, was_ns + 10**9))  # the clock of a file system may tick every 10 ms only
    with pytest.raises(
        DataError, match=f"{path.name}: expected sha256 {pinned.sha256[path.name]}, found [0-9a-f]{{64}}"
    ):
        verify(pinned, root)


def test_verify_counts_tokens(local: Dataset, root: Path) -> None:
    with pytest.raises(DataError, match="expected training tokens 6, found 5"):
        verify(local.model_copy(update={"train_tokens": 6}), root)
    with pytest.raises(DataError, match=r"three_val_000000\.bin: expected token count 2, found 1"):
        verify(local.model_copy(update={"val_tokens": 2}), root)


def test_unchanged_files_are_not_hashed_again(local: Dataset, root: Path) -> None:
    cache = root / local.name / ".verified.json"
    pinned = local.model_copy(update={"sha256": verify(local, root)})
    entries = json.loads(cache.read_text())
    entries[local.val_file]["sha256"] = "0" * 64
    cache.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"found 0{64}"):
        verify(pinned, root)
    os.utime(val_path(local, root), ns=(1, 1))
    assert verify(pinned, root) == pinned.sha256


@pytest.mark.parametrize("content", ["", "{", "[]", '{"three_val_000000.bin": 3}', "\0\xff"])
def test_a_broken_cache_costs_time_only(local: Dataset, root: Path, content: str) -> None:
    expected = verify(local, root)
    (root / local.name / ".verified.json").write_text(content, encoding="latin-1")
    assert verify(local, root) == expected


@pytest.mark.parametrize(("name", "command"), [("fineweb10B", "download fineweb10B"), ("tinyshakespeare", "import")])
def test_what_cannot_be_built_says_how_to_get_it(tmp_path: Path, name: str, command: str) -> None:
    with pytest.raises(DataError, match=rf"expected a shard, found no file; .*`speedrun data {command}"):
        prepare(load_dataset(name), tmp_path)


def test_prepare_builds_what_is_missing_or_broken_and_nothing_else(tiny: Dataset, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare(tiny, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (340_000, 340_000)
    assert missing_files(tiny, tmp_path) == []
    val, first, second = [val_path(tiny, tmp_path), *train_paths(tiny, tmp_path)]
    kept = val.stat()
    first.unlink()
    was_ns = second.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-2] + b"\0\0")
    os.utime(second, ns=(was_ns, was_ns + 10**9))  # the clock of a file system may tick every 10 ms only
    prepare(tiny, tmp_path)
    assert verify(tiny, tmp_path) == tiny.sha256
    assert val.stat().st_ino == kept.st_ino
    assert [read_header(path) for path in (val, first, second)] == [40_000, 150_000, 150_000]


def test_two_builders_at_once_do_no_harm(tiny: Dataset, tmp_path: Path) -> None:
    builders = [start_build(tiny.name, tmp_path) for _ in range(2)]
    assert [builder.wait(150) for builder in builders] == [0, 0]
    assert verify(tiny, tmp_path) == tiny.sha256
    assert not list((tmp_path / tiny.name).glob("*.tmp"))


def test_a_killed_build_leaves_whole_shards_or_none_and_can_be_resumed(tiny: Dataset, tmp_path: Path) -> None:
    builder = start_build(tiny.name, tmp_path, KILLED_BUILD + BUILD)
    assert builder.wait(150) == -signal.SIGKILL
    assert missing_files(tiny, tmp_path) == train_paths(tiny, tmp_path)[1:]
    for path in (val_path(tiny, tmp_path), train_paths(tiny, tmp_path)[0]):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == tiny.sha256[path.name]
    (torn,) = (tmp_path / tiny.name).glob(".embedded-tiny_train_000002.bin.*.tmp")
    prepare(tiny, tmp_path)
    assert verify(tiny, tmp_path) == tiny.sha256
    assert not torn.exists()
