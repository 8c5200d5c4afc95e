"""The gate in front of the training data: nothing before GO, everything at it.

The shards are hard-linked into a hidden folder before the run, their pages read into memory, and one rename puts
the folder where the sandbox can see it. The rename is atomic and takes microseconds whatever the size of the data.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.shards import read_header, write_shard

from ..errors import DataError
from ..scoring.relabelling import Relabelling
from ..system import scratch
from ..system.scratch import remove_tree

WARMUP_SHARDS = 2
WARMUP_TOKENS = 8 * 2**20  # of one warm-up shard, unless the real ones are smaller
WARMUP_DOCUMENT_TOKENS = 400  # mean length of a synthetic document
READ_BYTES = 2**23
Speech = Callable[[int, int], list[npt.NDArray[np.uint16]]]
"""From the number of warm-up shards and their length to the tokens of each."""


class DataGate:
    """A folder bound read-only into the sandbox, and the shards that wait behind it."""

    def __init__(
        self, shards: list[Path], data_root: Path, temporary: Path, relabelling: Relabelling | None = None
    ) -> None:
        """shards: verified training shards; data_root: their file system; temporary: used where linking fails.

        relabelling: of the tokens that shall appear; the shards are then copies.
        """
        self.root, self.method = _hide(shards, data_root, temporary, relabelling)
        self.visible = self.root / "stage"
        self.visible.mkdir()
        self._hidden = self.root / "hidden"
        self.shards = [str(self.visible / "train" / shard.name) for shard in shards]
        for path in self._hidden.iterdir():
            _read_ahead(path)
        self._is_relabelled = relabelling is not None
        self._states = {path.name: _state(path) for path in self._hidden.iterdir()}

    def write_warmup(self, vocab_size: int, document_token: int | None, speak: Speech | None = None) -> list[str]:
        """Synthetic shards in the format of the real ones: uniform tokens, documents of random length.

        speak: writes them instead, where the run's own text is synthetic too.
        """
        folder = self.visible / "warmup"
        folder.mkdir()
        names = sorted(path.name for path in self._hidden.iterdir())
        count = min(WARMUP_TOKENS, read_header(self._hidden / names[0]))
        rng = np.random.default_rng(0)

        def noise(shards: int, count: int) -> list[npt.NDArray[np.uint16]]:
            texts = []
            for _ in range(shards):
                tokens = rng.integers(0, vocab_size, count, dtype=np.uint16)
                if document_token is not None:
                    tokens[rng.random(count) < 1 / WARMUP_DOCUMENT_TOKENS] = document_token
                    tokens[:1] = document_token
                texts.append(tokens)
            return texts

        paths = [folder / f"warmup_{index:06d}.bin" for index in range(WARMUP_SHARDS)]
        for path, tokens in zip(paths, (speak or noise)(WARMUP_SHARDS, count), strict=True):
            write_shard(path, tokens)
        return [str(path) for path in paths]

    def reveal(self) -> None:
        """GO: the real shards appear."""
        os.rename(self._hidden, self.visible / "train")

    def altered(self, digests: dict[str, str]) -> list[str]:
        """Shards that are not what their digests say, now that the ranks are dead. digests: by file name.

        What is remembered of a shard (size, mtime) can be forged by whoever may write to it, and where files are
        withheld by path only, a rank may write through its link. So what the ranks saw is hashed again, from memory
        and untimed. Relabelled shards are copies without a digest: a write sets a ctime nobody can set back.
        """
        folder = self._hidden if self._hidden.is_dir() else self.visible / "train"
        found = []
        for name, state in self._states.items():
            same = _state(folder / name) == state
            if not (same if self._is_relabelled else _has_digest(folder / name, digests.get(name))):
                found.append(name)
                with suppress(OSError):
                    os.utime(folder / name)  # lest a remembered digest speak for it
        return sorted(found)

    def close(self) -> None:
        remove_tree(self.root)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What cannot stay the same when a file is written to: inode, size, ctime in ns."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


def _has_digest(path: Path, digest: str | None) -> bool:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _hide(
    shards: list[Path], data_root: Path, temporary: Path, relabelling: Relabelling | None
) -> tuple[Path, Literal["hard links", "copies"]]:
    """A folder with the shards in `hidden/`: linked on their own file system, else copied."""
    copy = _copy_file if relabelling is None else relabelling.copy_shard
    try:
        scratch.sweep(data_root)
        root = scratch.make_scratch(data_root)
    except OSError:  # the data is shared and read-only
        return _copy(shards, scratch.make_scratch(temporary), copy), "copies"
    if relabelling is not None:
        return _copy(shards, root, copy), "copies"
    try:
        (root / "hidden").mkdir()
        for shard in shards:
            os.link(shard.resolve(), root / "hidden" / shard.name)
    except OSError:  # a file system without hard links, or shards that are links into another one
        remove_tree(root)
        return _copy(shards, scratch.make_scratch(temporary), copy), "copies"
    return root, "hard links"


def _copy(shards: list[Path], root: Path, copy_one: Callable[[Path, Path], None]) -> Path:
    (root / "hidden").mkdir()
    for shard in shards:
        copy_one(shard, root / "hidden" / shard.name)
    return root


def _copy_file(shard: Path, path: Path) -> None:
    with open(shard, "rb") as source, open(path, "wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, READ_BYTES):
            pass


def _read_ahead(path: Path) -> None:
    """Bring a file's pages into memory, so that the first epoch does not time the disk."""
    buffer = bytearray(READ_BYTES)
    try:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    except OSError as error:
        raise DataError(f"{path.name}: expected to read the shard before GO, found {error.strerror}") from error
