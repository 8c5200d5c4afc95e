"""The stage on which training data appears: nothing before GO, everything at it.

The shards are hard-linked into a hidden folder before the run, their pages read into memory, and one rename puts
the folder where the sandbox can see it. The rename is atomic and takes microseconds whatever the size of the data.
"""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from data.shards import read_header, write_shard

from . import scratch
from .errors import DataError
from .submission import remove_tree

WARMUP_SHARDS = 2
WARMUP_TOKENS = 8 * 2**20  # of one warm-up shard, unless the real ones are smaller
WARMUP_DOCUMENT_TOKENS = 400  # mean length of a synthetic document
READ_BYTES = 2**23


class Stage:
    """A folder bound read-only into the sandbox, and the shards that wait behind it."""

    def __init__(self, shards: list[Path], data_root: Path, temporary: Path) -> None:
        """shards: verified training shards; data_root: their file system; temporary: used where linking fails."""
        self.root, self.method = _hide(shards, data_root, temporary)
        self.visible = self.root / "stage"
        self.visible.mkdir()
        self._hidden = self.root / "hidden"
        self.shards = [str(self.visible / "train" / shard.name) for shard in shards]
        for path in self._hidden.iterdir():
            _read_ahead(path)

    def write_warmup(self, vocab_size: int, document_token: int | None) -> list[str]:
        """Synthetic shards in the format of the real ones: uniform tokens, documents of random length."""
        folder = self.visible / "warmup"
        folder.mkdir()
        names = sorted(path.name for path in self._hidden.iterdir())
        count = min(WARMUP_TOKENS, read_header(self._hidden / names[0]))
        rng = np.random.default_rng(0)
        paths = [folder / f"warmup_{index:06d}.bin" for index in range(WARMUP_SHARDS)]
        for path in paths:
            tokens = rng.integers(0, vocab_size, count, dtype=np.uint16)
            if document_token is not None:
                tokens[rng.random(count) < 1 / WARMUP_DOCUMENT_TOKENS] = document_token
                tokens[:1] = document_token
            write_shard(path, tokens)
        return [str(path) for path in paths]

    def reveal(self) -> None:
        """GO: the real shards appear."""
        os.rename(self._hidden, self.visible / "train")

    def close(self) -> None:
        remove_tree(self.root)


def _hide(shards: list[Path], data_root: Path, temporary: Path) -> tuple[Path, Literal["hard links", "copies"]]:
    """A folder with the shards in `hidden/`: linked on their own file system, else copied."""
    try:
        scratch.sweep(data_root)
        root = scratch.make_scratch(data_root)
    except OSError:  # the data is shared and read-only
        return _copy(shards, temporary), "copies"
    try:
        (root / "hidden").mkdir()
        for shard in shards:
            os.link(shard.resolve(), root / "hidden" / shard.name)
    except OSError:  # a file system without hard links, or shards that are links into another one
        remove_tree(root)
        return _copy(shards, temporary), "copies"
    return root, "hard links"


def _copy(shards: list[Path], temporary: Path) -> Path:
    root = scratch.make_scratch(temporary)
    (root / "hidden").mkdir()
    for shard in shards:
        with open(shard, "rb") as source, open(root / "hidden" / shard.name, "wb") as target:
            while os.sendfile(target.fileno(), source.fileno(), None, READ_BYTES):
                pass
    return root


def _read_ahead(path: Path) -> None:
    """Bring a file's pages into memory, so that the first epoch does not time the disk."""
    buffer = bytearray(READ_BYTES)
    try:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    except OSError as error:
        raise DataError(f"{path.name}: expected to read the shard before GO, found {error.strerror}") from error
