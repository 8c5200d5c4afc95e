"""What nanoGPT and llm.c have prepared, and plain text, become datasets; everything else is one sentence."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from data import datasets
from data.errors import DataError
from data.shards import read_shard, write_shard
from data.tokenize.importing import import_files
from tests.data.conftest import Command


def write_stream(path: Path, tokens: np.ndarray) -> Path:
    """As nanoGPT does: no header."""
    tokens.astype("<u2").tofile(path)
    return path


def stream(seed: int, count: int, vocab_size: int = 50257) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab_size, count)


def test_tiny_shakespeare_from_its_text_has_the_pinned_bytes(command: Command, shakespeare: Path) -> None:
    """65 characters in order, nanoGPT's nine tenths: 1,003,854 and 111,540."""
    done = command("import", shakespeare, "--json")
    assert done.returncode == 0, done.stderr
    folder = command.root / "tinyshakespeare"
    text = shakespeare.read_text()
    characters = sorted(set(text))
    assert json.loads(done.stdout)["characters"] == "".join(characters)
    assert len(characters) == 65
    index = {character: number for number, character in enumerate(characters)}
    expected = [index[character] for character in text]
    train = read_shard(folder / "tinyshakespeare_train_000001.bin").tolist()
    val = read_shard(folder / "tinyshakespeare_val_000000.bin").tolist()
    assert (train, val) == (expected[: len(train)], expected[len(train) :])
    assert (len(train), len(val)) == (1_003_854, 111_540)
    dataset = datasets.load_dataset("tinyshakespeare")
    assert datasets.verify(dataset, command.root) == dataset.sha256
    assert command("verify", "tinyshakespeare").returncode == 0


def test_tiny_shakespeare_from_nanogpt_files_has_the_same_bytes(tmp_path: Path, shakespeare: Path) -> None:
    points = np.unique(np.array([ord(c) for c in shakespeare.read_text()]), return_inverse=True)[1]
    cut = int(len(points) * 0.9)
    train, val = write_stream(tmp_path / "train.bin", points[:cut]), write_stream(tmp_path / "val.bin", points[cut:])
    root = tmp_path / "data"
    made = import_files([train], val, "tinyshakespeare", root, 65)
    assert datasets.verify(made, root) == made.sha256


def test_another_text_is_not_tiny_shakespeare(command: Command, tmp_path: Path) -> None:
    (tmp_path / "tinyshakespeare.txt").write_text("To be, or not to be, that is the question.\n" * 20)
    done = command("import", tmp_path / "tinyshakespeare.txt")
    assert done.returncode == 2
    assert "expected sha256" in done.stderr and "this is not Tiny Shakespeare" in done.stderr
    assert not (command.root / "tinyshakespeare").exists()
    assert command("import", tmp_path / "tinyshakespeare.txt", "--name", "hamlet").returncode == 0
    assert command("verify", "hamlet").returncode == 0


def test_text_becomes_characters_and_comes_back(tmp_path: Path) -> None:
    text = 'zażółć "gęślą" jaźń\\ \x7f🎉\r\n' * 30
    (tmp_path / "polish.txt").write_bytes(text.encode())
    made = import_files([tmp_path / "polish.txt"], None, None, tmp_path / "data")
    folder = tmp_path / "data" / "polish"
    assert datasets.read_manifest(folder / "dataset.toml") == made
    assert made.characters is not None
    parts = [read_shard(folder / name) for name in (made.train_files()[0], made.val_file)]
    assert ["".join(made.characters[token] for token in part) for part in parts] == [
        text[: int(len(text) * 0.9)],
        text[int(len(text) * 0.9) :],
    ]
    assert (made.train_bytes or 0) + (made.val_bytes or 0) == len(text.encode())


def test_nanogpt_streams_are_cut_into_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.tokenize.importing.SHARD_TOKENS", 1000)
    train, val = stream(1, 2500), stream(2, 300)
    paths = write_stream(tmp_path / "train.bin", train), write_stream(tmp_path / "val.bin", val)
    made = import_files([paths[0]], paths[1], "owt", tmp_path / "data")
    shards = [read_shard(tmp_path / "data" / "owt" / name) for name in made.train_files()]
    assert [shard.size for shard in shards] == [1000, 1000, 500]
    assert np.array_equal(np.concatenate(shards), train)
    assert np.array_equal(read_shard(tmp_path / "data" / "owt" / made.val_file), val)
    assert (made.document_token, made.vocabulary, made.train_tokens) == (50256, "gpt2", 2500)


def test_llmc_shards_stay_as_they_are(tmp_path: Path) -> None:
    names = ["tiny_train.bin", "more_train.bin", "tiny_val.bin"]
    for seed, name in enumerate(names):
        write_shard(tmp_path / name, stream(seed, 700 + seed))
    root = tmp_path / "data"
    made = import_files([tmp_path / names[0], tmp_path / names[1]], tmp_path / names[2], "llmc", root)
    files = [*made.train_files(), made.val_file]
    assert [(root / "llmc" / file).read_bytes() for file in files] == [(tmp_path / name).read_bytes() for name in names]
    assert made.sha256 == {
        file: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for file, name in zip(files, names, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("odd.bin", b"abc", "expected tokens of two bytes each, found 3 bytes"),
        ("empty.bin", b"", "expected tokens of two bytes each, found 0 bytes"),
        ("llama.bin", (20240801).to_bytes(4, "little") + bytes(1100), "expected 16-bit tokens"),
        ("short.bin", (20240520).to_bytes(4, "little") + bytes(20), "expected a header of 1024 bytes"),
        ("high.bin", bytes(range(256)) * 4 + b"\xff\xff", "expected tokens below 50,257, found 65,535"),
        ("tiny.bin", bytes(range(100)), "found 50 numbers, fewer than a window takes"),
        ("zeros.bin", bytes(4096), "found nothing but the number 0"),
        ("prose.bin", b"It was a dark and stormy night. " * 99, "found printable text"),
        (
            "lfs.bin",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 20000\n\n",
            "a pointer of Git LFS",
        ),
        ("swapped.bin", (20240520).to_bytes(4, "big") + bytes(range(200)) * 20, "bytes in the other order"),
        (
            "big.bin",
            np.arange(1, 5_000, dtype=">u2").tobytes(),
            "at most 4,999 with the bytes of each in the other order",
        ),
        ("model.bin", (20240326).to_bytes(4, "little") + bytes(range(200)) * 20, "checkpoint of a model"),
        ("wide.bin", np.arange(5_000, dtype="<u4").tobytes(), "zeros in every second place"),
        ("wide-big.bin", np.arange(5_000, dtype=">u4").tobytes(), "zeros in every second place"),
        ("longer.bin", np.arange(1, 5_000, dtype="<u8").tobytes(), "zeros in every second place|found nothing but"),
        ("packed.bin", b"\x1f\x8b\x08" + bytes(range(255)) * 9, "a file packed by gzip"),
        ("array.bin", b"\x93NUMPY\x01\x00" + bytes(range(250)) * 9, "a NumPy array"),
    ],
)
def test_what_holds_no_tokens_is_told(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        import_files([tmp_path / name], tmp_path / name, "mine", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def documents(seed: int, count: int) -> list[np.ndarray]:
    return [np.concatenate([[50256], stream(seed * 1000 + n, 40, 50256)]) for n in range(count)]


@pytest.mark.parametrize("with_header", [True, False])
@pytest.mark.parametrize("case", ["the shard", "a document", "a document over two shards"])
def test_training_data_that_holds_validation_data_is_refused_at_every_door(
    command: Command, tmp_path: Path, case: str, with_header: bool
) -> None:
    val, train = documents(1, 20), documents(2, 60)
    parts = [np.concatenate(train[:30]), np.concatenate(train[30:])]
    if case == "the shard":
        parts.append(np.concatenate(val))
    elif case == "a document":
        parts[1] = np.concatenate([*train[30:40], val[7], *train[40:]])
    else:
        parts = [np.concatenate([parts[0], val[7][:11]]), np.concatenate([val[7][11:], parts[1]])]
    write = write_shard if with_header else write_stream
    files = [tmp_path / f"train{n}.bin" for n in range(len(parts))]
    for path, part in zip([tmp_path / "val.bin", *files], [np.concatenate(val), *parts], strict=True):
        write(path, part)
    options = ["--val", tmp_path / "val.bin", "--name", "mine"]
    done = command("import", *files, *options)
    assert done.returncode != 0
    assert "expected training data without the validation data" in done.stderr
    assert not (command.root / "mine").exists()
    kept = command("import", *files, *options, "--duplicates", "keep", "--json")
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["repeated_documents"] == (20 if case == "x" else 1)
    assert command("prepare", command.root / "mine").returncode == 0  # it says of itself what it holds
    manifest = command.root / "mine" / "dataset.toml"
    manifest.write_text("".join(x for x in manifest.read_text().splitlines(True) if "repeated" not in x))
    for door in ("prepare", "verify"):
        refused = command(door, command.root / "mine")
        assert refused.returncode != 0, door
        assert "expected training data without the validation" in refused.stderr
    mine = datasets.read_manifest(manifest)
    for _ in range(2):  # a run's own door: what was refused is not remembered
        with pytest.raises(DataError, match="expected training data without the validation"):
            datasets.verify(mine, command.root)


def test_characters_and_other_vocabularies_are_compared_as_a_whole(tmp_path: Path) -> None:
    val, other = stream(1, 3_000, 65), stream(2, 9_000, 65)
    write_stream(tmp_path / "val.bin", val)
    write_stream(tmp_path / "train.bin", np.concatenate([other[:501], val, other[501:]]))
    with pytest.raises(DataError, match="training data that holds the validation data"):
        import_files([tmp_path / "train.bin"], tmp_path / "val.bin", "mine", tmp_path / "data", 65)
    write_stream(tmp_path / "train.bin", other)
    import_files([tmp_path / "train.bin"], tmp_path / "val.bin", "mine", tmp_path / "data", 65)


def test_wrong_orders_are_told(tmp_path: Path) -> None:
    tokens = write_stream(tmp_path / "train.bin", stream(1, 10))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "a.txt").write_text("text to import")
    root = tmp_path / "data"
    cases = [
        (([tokens], None, "mine", root), "expected --val"),
        (([tmp_path / "latin.txt"], None, None, root), "expected text in UTF-8 .* found byte 0xe9 at offset 3"),
        (([tmp_path / "a.txt"] * 2, None, None, root), "expected one text file, found 2"),
        (([tmp_path / "none.txt"], None, None, root), "none.txt: expected to read"),
        (([tmp_path / "a.txt"], None, "a b", root), "expected a dataset called by letters"),
        (([tmp_path / "a.txt"], None, "fineweb10B", root), "expected a name of your own"),
    ]
    for arguments, expected in cases:
        with pytest.raises(DataError, match=expected):
            import_files(*arguments)
    import_files([tmp_path / "a.txt"], None, "once", root)
    with pytest.raises(DataError, match="expected no such folder yet"):
        import_files([tmp_path / "a.txt"], None, "once", root)
