"""Importing: data that other projects have prepared becomes a dataset here.

nanoGPT's train.bin     tokens without a header, little-endian uint16
llm.c's shards          the format of this project
plain text              one token per character, sorted; without --val nanoGPT's split, the last tenth
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from .. import datasets
from ..datasets import Dataset, write_manifest
from ..digests import measure
from ..errors import DataError
from ..files import TEMPORARY_SUFFIX, locked
from ..overlap import find_repeats, refuse_repeats
from ..shards import MAGIC, make_header, read_shard, write_shard
from . import gpt2
from .foreign import LLAMA_MAGIC, expect_tokens
from .order import SHARD_TOKENS

TRAIN_SHARE = 0.9  # of the characters of a text, as nanoGPT splits it

_CHECK_TOKENS = 2**24

Tokens = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """Tokens ready to be written, and what they mean."""

    val: Tokens
    train: list[Tokens]
    vocab_size: int
    characters: str | None = None
    val_bytes: int | None = None
    train_bytes: int | None = None

    @property
    def is_gpt2(self) -> bool:
        return self.characters is None and self.vocab_size == gpt2.VOCAB_SIZE


def import_files(
    files: list[Path],
    val: Path | None,
    name: str | None,
    root: Path,
    vocab_size: int = gpt2.VOCAB_SIZE,
    *,
    keep_duplicates: bool = False,
) -> Dataset:
    """Make the dataset `name` (by default the first file's stem) under `root` from files of one kind.

    `vocab_size` is that of token files. Training data that holds the validation data is refused, unless
    `keep_duplicates`. A known dataset gets exactly its bytes or stays as it was. Raises
    DataError naming the file, what was expected and what was found.
    """
    name = name or files[0].stem
    try:
        found = _read_text(files, val) if _is_text(files[0]) else _read_tokens(files, val, vocab_size)
        document_token = gpt2.END_OF_TEXT if found.is_gpt2 else None
        if not keep_duplicates:
            refuse_repeats(found.val, found.train, document_token, name)
        repeated = find_repeats(found.val, found.train, document_token)[0] if keep_duplicates else 0
        if datasets.manifest_path(name).is_file():
            return _write_known(datasets.load_dataset(name), root, found)
        return _write_own(name, root, found, repeated)
    except OSError as error:
        raise DataError(
            f"{error.filename}: expected to read or write there, found '{error.strerror}'; mend that first."
        ) from error


def _magic(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(4), "little")


def _is_text(path: Path) -> bool:
    return path.suffix != ".bin" and _magic(path) not in (MAGIC, LLAMA_MAGIC)


def _read_text(files: list[Path], val: Path | None) -> _Found:
    if len(files) != 1:
        raise DataError(f"expected one text file, found {len(files)}; join them, or use `speedrun data tokenize`.")
    text = _decode(files[0])
    cut = int(len(text) * TRAIN_SHARE)
    train_text, val_text = (text[:cut], text[cut:]) if val is None else (text, _decode(val))
    characters = "".join(sorted(set(train_text + val_text)))
    if not characters or len(characters) > 2**16:
        raise DataError(
            f"{files[0]}: expected 1 to {2**16:,} different characters, found {len(characters):,}; use another text."
        )
    return _Found(
        val=_as_characters(val_text, characters),
        train=[_as_characters(train_text, characters)],
        vocab_size=len(characters),
        characters=characters,
        val_bytes=len(val_text.encode()),
        train_bytes=len(train_text.encode()),
    )


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected text in UTF-8 (or tokens in a .bin), found byte 0x{error.object[error.start]:02x} at "
            f"offset {error.start:,}; convert it first."
        ) from error


def _as_characters(text: str, characters: str) -> Tokens:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    return np.searchsorted(known, points).astype(np.uint16)


def _read_tokens(files: list[Path], val: Path | None, vocab_size: int) -> _Found:
    if val is None:
        raise DataError(f"{files[0]}: expected --val with the validation tokens, found none; name that file too.")
    for path in (val, *files):
        _expect_within(path, vocab_size)
    train = [part for path in files for part in _parts(path)]
    return _Found(val=_open(val), train=train, vocab_size=vocab_size)


def _open(path: Path) -> Tokens:
    magic = _magic(path)
    if magic == MAGIC:
        return read_shard(path)
    expect_tokens(path)
    return np.memmap(path, np.dtype("<u2"), mode="r")


def _parts(path: Path) -> list[Tokens]:
    """A shard stays whole; a stream without a header is cut up."""
    tokens = _open(path)
    if _magic(path) == MAGIC:
        return [tokens]
    return list(_slices(tokens, SHARD_TOKENS))


def _slices(tokens: Tokens, size: int) -> Iterator[Tokens]:
    return (tokens[start : start + size] for start in range(0, tokens.size, size))


def _expect_within(path: Path, vocab_size: int) -> None:
    highest = max((int(part.max()) for part in _slices(_open(path), _CHECK_TOKENS)), default=0)
    if highest >= vocab_size:
        swapped = max(int(part.byteswap().max()) for part in _slices(_open(path), _CHECK_TOKENS))
        if swapped < vocab_size:
            raise DataError(
                f"{path}: expected tokens below {vocab_size:,}, found {highest:,}, and at most {swapped:,} "
                "with the bytes of each in the other order; write the file anew, little-endian."
            )
        raise DataError(
            f"{path}: expected tokens below {vocab_size:,}, found {highest:,}; give --vocab-size, or another file."
        )


def _write_known(dataset: Dataset, root: Path, found: _Found) -> Dataset:
    """The files must come out as the manifest says; that is checked before anything is replaced."""
    if dataset.kind != "local":
        raise DataError(f"expected a name of your own, found {dataset.name}, which has another source; choose --name.")
    names = [dataset.val_file, *dataset.train_files()]
    parts = [found.val, *found.train]
    if len(parts) != len(names):
        raise DataError(
            f"{dataset.name}: expected tokens for {len(names)} shards, found {len(parts)}; import all of it at once."
        )
    for name, part in zip(names, parts, strict=True):
        sha256 = hashlib.sha256(make_header(part.size) + part.astype("<u2").tobytes()).hexdigest()
        if sha256 != dataset.sha256.get(name, sha256):
            raise DataError(
                f"{name}: expected sha256 {dataset.sha256[name]}, found {sha256} ({part.size:,} tokens of "
                f"{found.vocab_size} kinds); this is not {dataset.title}, import it with another --name."
            )
    folder = root / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(datasets.lock_path(dataset, root)):
        for name, part in zip(names, parts, strict=True):
            write_shard(folder / name, part)
    datasets.verify(dataset, root)
    return dataset


def _write_own(name: str, root: Path, found: _Found, repeated: int) -> Dataset:
    dataset, folder = _describe(name, found, repeated), root / name
    names = [dataset.val_file, *dataset.train_files()]
    if folder.exists() and not _is_left_half(folder, names):
        raise DataError(f"{folder}: expected no such folder yet, found one; remove it or choose another --name.")
    folder.mkdir(parents=True, exist_ok=True)
    for file, part in zip(names, [found.val, *found.train], strict=True):
        write_shard(folder / file, part)
    pinned = dataset.model_copy(update={"sha256": measure([folder / file for file in names])})
    write_manifest(datasets.own_manifest_path(folder), pinned)
    return pinned


def _is_left_half(folder: Path, names: list[str]) -> bool:
    """Whether a folder is what an import that was killed has left: some of these shards, no manifest, nothing else."""
    known = {*names, ".verified.json"}
    return folder.is_dir() and all(
        path.name in known or (path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX))
        for path in folder.iterdir()
    )


def _describe(name: str, found: _Found, repeated: int) -> Dataset:
    is_gpt2 = found.is_gpt2
    try:
        return Dataset(
            schema_version=1,
            name=name,
            title="Imported here",
            licence="unknown",
            kind="local",
            vocab_size=found.vocab_size,
            document_token=gpt2.END_OF_TEXT if is_gpt2 else None,
            vocabulary="gpt2" if is_gpt2 else "characters" if found.characters else None,
            characters=found.characters,
            train_file_pattern=f"{name}_train_{{index:06d}}.bin",
            train_shards=len(found.train),
            train_tokens=sum(part.size for part in found.train),
            train_bytes=found.train_bytes,
            val_file=f"{name}_val_000000.bin",
            val_tokens=found.val.size,
            val_bytes=found.val_bytes,
            repeated_documents=repeated or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"expected a dataset called by letters, digits, - and _ with tokens to train and validate on, found "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}; give --name or other files."
        ) from error
