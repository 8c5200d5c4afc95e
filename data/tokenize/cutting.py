"""Cutting: a stream of tokens becomes shards of an exact size, and what is done is written down.

`.tokenize.json` in the output folder says which shards are finished and where the rest begins. A shard gets its
name when it is whole, so that a killed process leaves whole shards and a note of them.
"""

import os
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError
from ..files import TEMPORARY_SUFFIX, read_small, replace_file, sync_folder
from ..shards import HEADER_BYTES, MAX_TOKENS, make_header
from . import gpt2
from .gpt2 import Tokens

_JOURNAL_NAME = ".tokenize.json"


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InputState(_Note):
    """An input as it was when the work began."""

    name: str
    bytes: int
    mtime_ns: int


class Settings(_Note):
    """Everything that decides the bytes that come out, but not how fast."""

    val_inputs: list[InputState]
    inputs: list[InputState]
    separator: str | None
    shard_tokens: int
    val_tokens: int
    duplicates: Literal["refuse", "drop", "keep"]
    skip_bad: bool = False


class Shard(_Note):
    """A finished shard: documents are those that start in it, bytes those of the text behind its tokens."""

    file: str
    tokens: int
    documents: int
    bytes: int


class Resumption(_Note):
    """Where the first unfinished shard begins: a batch, and how many of its tokens are in finished shards.

    The rest is what was known when that batch began: the digest of a document that goes on in it, whether that
    began in validation, how many training documents were found to be in validation too, and how many documents of each
    input were left out.
    """

    source: int
    offset: int
    inside: bool
    skip: int
    open_digest: str
    open_in_val: bool
    repeated: int
    skipped: dict[int, int] = {}


class Journal(_Note):
    """What `.tokenize.json` holds; without `resumption` everything is done."""

    schema_version: Literal[1] = 1
    settings: Settings
    shards: list[Shard]
    resumption: Resumption | None


def read_journal(folder: Path, settings: Settings) -> Journal | None:
    """Return what an earlier process noted in `folder`; DataError where it worked on something else."""
    path = folder / _JOURNAL_NAME
    try:
        journal = Journal.model_validate_json(read_small(path))
    except FileNotFoundError:
        if any(folder.glob("*.bin")):
            raise DataError(f"{folder}: expected an empty folder, found shards; choose another --out.") from None
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: expected a journal of this program, found another; choose another --out.") from error
    if journal.settings != settings:
        raise DataError(
            f"{folder}: expected the inputs and options the work was begun with, found others; repeat those or choose "
            "another --out."
        )
    return journal


def write_journal(folder: Path, journal: Journal) -> None:
    """Note what is done, atomically."""
    replace_file(folder / _JOURNAL_NAME, [journal.model_dump_json(indent=1).encode()])


class ShardFile:
    """A shard on its way: tokens are appended, then it gets its header and its name."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
        self._file: BinaryIO = self._temporary.open("wb")
        self._file.seek(HEADER_BYTES)
        self.tokens = self.documents = self.bytes = 0

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def append(self, tokens: Tokens, text_bytes: int | None = None) -> None:
        """Add tokens; `text_bytes` is what stands behind them, where the caller knows."""
        if self.tokens + tokens.size > MAX_TOKENS:
            raise DataError(f"{self._path}: expected at most {MAX_TOKENS:,} tokens in a shard, found more; cut it up.")
        self._file.write(tokens.astype("<u2", copy=False).data)
        self.tokens += tokens.size
        self.documents += int(np.count_nonzero(tokens == gpt2.END_OF_TEXT))
        self.bytes += gpt2.count_bytes(tokens) if text_bytes is None else text_bytes

    def finish(self) -> Shard:
        """Give the shard its header and its name, durably."""
        self._file.seek(0)
        self._file.write(make_header(self.tokens))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)
        sync_folder(self._path.parent)
        return Shard(file=self._path.name, tokens=self.tokens, documents=self.documents, bytes=self.bytes)
