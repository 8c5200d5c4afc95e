"""What is verified is remembered; what was seen once is pinned; what a run reads is what was verified."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data import datasets, digests, lockfile
from data.datasets import Dataset, write_manifest
from data.errors import DataError
from data.shards import write_shard
from tests.data.conftest import ROOT, Command


def make_own(root: Path, name: str = "own", train_shards: int = 2, **fields: object) -> Dataset:
    """A small dataset of one's own under `root`, nothing pinned."""
    dataset = Dataset.model_validate(
        {
            "schema_version": 1, "name": name, "title": "Mine", "licence": "MIT", "kind": "local", "vocab_size": 512,
            "document_token": 0, "train_file_pattern": f"{name}_train_{{index:06d}}.bin",
            "train_shards": train_shards, "val_file": f"{name}_val_000000.bin",
        }
        | fields
    )  # fmt: skip
    (root / name).mkdir(parents=True)
    rng = np.random.default_rng(1)
    for file in (dataset.val_file, *dataset.train_files()):
        write_shard(root / name / file, rng.integers(0, 512, 150_000, dtype=np.uint16))
    write_manifest(datasets.own_manifest_path(root / name), dataset)
    return dataset


def alter(path: Path, keep_mtime: bool = False) -> None:
    """One bit; a second later, or with the old time. (The clock of a file system may tick every 10 ms only.)"""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if keep_mtime else 10**9)))


def test_a_hash_seen_once_is_pinned_and_a_later_difference_is_an_error(tmp_path: Path) -> None:
    dataset = make_own(tmp_path)
    found = datasets.verify(dataset, tmp_path)
    assert {name: pin.sha256 for name, pin in lockfile.read_lock(tmp_path, "own").files.items()} == found
    path = tmp_path / "own" / "own_train_000002.bin"
    alter(path)
    wrong = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = (
        rf"own_train_000002\.bin: expected sha256 \(pinned in own\.lock\.json\) {found[path.name]}, found {wrong}"
    )
    with pytest.raises(DataError, match=expected):
        datasets.verify(dataset, tmp_path)
    assert datasets.verify(dataset, tmp_path, shards=1) == {
        name: sha256 for name, sha256 in found.items() if name != path.name
    }


def test_files_are_hashed_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_own(tmp_path)
    datasets.verify(dataset, tmp_path)
    seen: list[tuple[int, int]] = []
    datasets.verify(dataset, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == []
    datasets.verify(dataset, tmp_path, progress=lambda done, total: seen.append((done, total)), afresh=True)
    size = sum(path.stat().st_size for path in (tmp_path / "own").glob("*.bin"))
    assert max(seen) == (size, size)


def test_a_change_that_hides_behind_its_mtime_is_found_afresh(tmp_path: Path) -> None:
    dataset = make_own(tmp_path)
    datasets.verify(dataset, tmp_path)
    alter(tmp_path / "own" / "own_val_000000.bin", keep_mtime=True)
    datasets.verify(dataset, tmp_path)
    with pytest.raises(DataError, match="own_val_000000"):
        datasets.verify(dataset, tmp_path, afresh=True)


def test_a_torn_memory_is_no_obstacle_and_a_torn_lock_is(tmp_path: Path) -> None:
    dataset = make_own(tmp_path)
    found = datasets.verify(dataset, tmp_path)
    (tmp_path / "own" / ".verified.json").write_text('{"own_val')
    assert datasets.verify(dataset, tmp_path) == found
    lockfile.lock_path(tmp_path, "own").write_text('{"schema_version": 1, "fil')
    with pytest.raises(DataError, match=r"own\.lock\.json: expected a lock file of schema 1, found .*; restore it"):
        datasets.verify(dataset, tmp_path)


def test_a_hub_pin_is_not_overwritten_by_what_lies_on_disk(tmp_path: Path) -> None:
    dataset = make_own(tmp_path)
    pin = lockfile.Pin(sha256="1" * 64, bytes=7, origin="hub")
    lockfile.pin_from_hub(tmp_path, "own", "c" * 40, {dataset.val_file: pin})
    path = tmp_path / "own" / dataset.val_file
    lockfile.pin_from_disk(tmp_path, "own", {path: "2" * 64})
    lock = lockfile.read_lock(tmp_path, "own")
    assert (lock.files[dataset.val_file], lock.revision) == (pin, "c" * 40)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_digests_of_many_files_are_those_of_each(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(2)
    paths = [tmp_path / f"{index}.bin" for index in range(count)]
    for path in paths:
        path.write_bytes(rng.bytes(int(rng.integers(0, 3 * 2**20))))
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert digests.measure(paths) == expected
    assert digests.measure(paths) == expected
    assert digests.measure([]) == {}
    with pytest.raises(DataError, match="expected a readable file"):
        digests.measure([tmp_path / "none"])


def test_verify_checks_everything_here_and_names_every_fault(tmp_path: Path, command: Command) -> None:
    for name in ("first", "second", "third"):
        make_own(command.root, name)
    assert command("verify").returncode == 0
    for name in ("first", "third"):
        alter(command.root / name / f"{name}_train_000001.bin")
    done = command("verify")
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        str(command.root / name / f"{name}_train_000001.bin") for name in ("first", "third")
    ]
    assert "second: 3 shards verified" in done.stdout
    answer = json.loads(command("verify", "second", "--json").stdout)
    assert answer["datasets"][0]["sha256"] == datasets.verify(datasets.read_manifest(
        command.root / "second" / "dataset.toml"), command.root)  # fmt: skip


def test_a_dataset_is_also_found_by_its_folder(tmp_path: Path, command: Command) -> None:
    make_own(tmp_path / "elsewhere", "mine")
    assert command("verify", tmp_path / "elsewhere" / "mine").returncode == 0
    assert command("verify", "mine").returncode == 2


def test_list_says_what_is_here(command: Command) -> None:
    make_own(command.root, "mine", train_shards=3)
    (command.root / "mine" / "mine_train_000002.bin").unlink()
    rows = {row["name"]: row for row in json.loads(command("list", "--json").stdout)["datasets"]}
    assert {"fineweb10B", "fineweb100B", "finewebedu10B", "tinyshakespeare", "embedded", "mine"} <= set(rows)
    assert (rows["mine"]["shards_present"], rows["mine"]["shards"]) == (3, 4)
    assert rows["fineweb10B"]["repository"] == "kjj0/fineweb10B-gpt2"
    assert "mine" in command("list").stdout


def test_info_counts_documents_and_shows_the_first(command: Command, gpt2: str, tmp_path: Path) -> None:
    from data.tokenize.gpt2 import encode_texts

    texts = ["the end of one", "A whole document, [bold]here[/].", "and a longer one. " * 9]
    tokens = encode_texts(texts)[2:]
    write_shard(tmp_path / "some.bin", tokens)
    answer = json.loads(command("info", tmp_path / "some.bin", "--json").stdout)
    lengths = [len(encode_texts([text])) for text in texts[1:]]
    assert (answer["tokens"], answer["documents"], answer["longest_document"]) == (len(tokens), 2, max(lengths))
    assert (answer["first_text"], answer["starts_inside_a_document"]) == (texts[1], True)
    assert texts[1] in command("info", tmp_path / "some.bin").stdout
    write_shard(tmp_path / "none.bin", [])
    assert json.loads(command("info", tmp_path / "none.bin", "--json").stdout)["documents"] == 0


def test_info_of_embedded_and_of_characters_uses_their_words(command: Command, tmp_path: Path) -> None:
    assert command("prepare", "embedded-tiny").returncode == 0
    answer = json.loads(
        command("info", command.root / "embedded-tiny" / "embedded-tiny_val_000000.bin", "--json").stdout
    )
    assert answer["first_text"].casefold().startswith("a tale of the")
    assert answer["documents"] > 100
    (tmp_path / "abc.txt").write_text("abcabcabd" * 20)
    assert command("import", tmp_path / "abc.txt").returncode == 0
    answer = json.loads(command("info", command.root / "abc" / "abc_train_000001.bin", "--json").stdout)
    assert answer["first_text"].startswith("abcabcabdabc")
    assert answer["documents"] is None
    assert command("info", tmp_path / "abc.txt").returncode == 2


def test_wrong_options_are_told(command: Command) -> None:
    for arguments, expected in (
        (
            ["download", "fineweb10B", "--tokens", "many"],
            "expected a count of tokens such as 900M or 1.5B, found 'many'",
        ),
        (["download", "fineweb10B", "--tokens", "1M", "--shards", "2"], "found --tokens and --shards"),
        (
            ["download", "fineweb10B", "--for-track", "shakespeare-2cpu"],
            "expected tinyshakespeare, the dataset of track",
        ),
        (["verify", "fineweb11B"], "expected one of the datasets"),
    ):
        done = command(*arguments)
        assert done.returncode == 2
        assert expected in done.stderr


# The harness


def run_on(command: Command, tmp_path: Path, dataset: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """A refereed run of the smallest submission on a dataset of the data root."""
    track = tmp_path / "track.toml"
    text = (ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_text()
    track.write_text(text.replace('"embedded-tiny"', f'"{dataset}"').replace("= 6.0", "= 7.0"))
    (tmp_path / "tmp").mkdir(exist_ok=True)
    env = {"SPEEDRUN_DATA": str(command.root), "SPEEDRUN_RUNS": str(tmp_path / "runs"), "TMPDIR": str(tmp_path / "tmp")}
    env["SPEEDRUN_LOCKS"] = env["TMPDIR"]  # no other test's run is waited for
    argv = [sys.executable, "-m", "harness", "run", "tests/submissions/bigram.py", "--track", str(track)]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=600)
    return done, sorted((tmp_path / "runs").glob("*/run.json"))


def test_a_run_refuses_data_that_does_not_verify(tmp_path: Path, command: Command) -> None:
    dataset = make_own(command.root)
    sha256 = datasets.verify(dataset, command.root)["own_train_000001.bin"]
    path = command.root / "own" / "own_train_000001.bin"
    alter(path)
    done, records = run_on(command, tmp_path, "own")
    assert done.returncode == 2
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"{path}: expected sha256 (pinned in own.lock.json) {sha256}, found {found}" in done.stderr
    assert records == []


@pytest.mark.slow
def test_a_run_records_the_digests_it_verified(tmp_path: Path, command: Command) -> None:
    make_own(command.root)
    done, records = run_on(command, tmp_path, "own")
    assert len(records) == 1, done.stderr
    record = json.loads(records[0].read_bytes())
    files = sorted((command.root / "own").glob("*.bin"))
    assert record["data"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
