"""Temporary folders that a killed process cannot leave behind for good.

Their names carry the process that made them, so the next run can tell which are orphans and remove them. A folder
may lie on a disk that other machines or containers share: what was made under another kernel or in another pid
namespace is not ours to judge, and stays.
"""

import errno
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Literal

from data.files import sync_folder

from . import processes, whereabouts

Kind = Literal["speedrun", ".begun", ".submit", ".challenge"]
"""Of a run; of what is to become a run or a campaign, a record, a challenge."""
_NAME = re.compile(r"^(?:speedrun|\.begun|\.submit|\.challenge)-([0-9a-f]+)-(\d+)-(\d+)-")


def make_scratch(parent: Path, kind: Kind = "speedrun") -> Path:
    """A new folder of this process below parent, readable by its user only."""
    me = processes.this_process()
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{here()}-{me.pid}-{me.start_ticks}-", dir=parent))


class Begun:
    """A folder in the making below parent: in its place by one rename when it is due, swept if its maker is killed."""

    def __init__(self, parent: Path, name: str) -> None:
        """Raises OSError."""
        self._place = parent / name
        if not parent.is_dir() and parent.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(parent))
        parent.mkdir(parents=True, exist_ok=True)
        self._scratch: Path | None = make_scratch(parent, ".begun")
        self.path = self._scratch / name
        self.path.mkdir()

    def appear(self) -> None:
        """Take the place; nothing where that is done already. Raises OSError where something stands there."""
        if self._scratch is not None:
            self.path = self.path.rename(self._place)
            self.give_up()
            sync_folder(self._place.parent)

    def give_up(self) -> None:
        """Leave nothing of what has not appeared."""
        if self._scratch is not None:
            remove_tree(self._scratch)
            self._scratch = None


def sweep(parent: Path, *, alone: bool = False) -> set[Path]:
    """Remove the folders below parent whose process is gone; returns those whose process lives.

    alone: the caller holds what their makers would have to hold, so those of other machines and containers go too.
    """
    ours = dict(_ours(parent))
    living = {path for path, owner in ours.items() if processes.is_alive(*owner)}
    for path in [path for path in parent.glob("*") if is_scratch(path.name)] if alone else ours:
        if path not in living:
            remove_tree(path)
    return living


def is_scratch(name: str) -> bool:
    """Whether a folder of this name is one in the making, or what is left of one."""
    return _NAME.match(name) is not None


def remove_own(parent: Path) -> None:
    """Remove the folders this process has made below parent."""
    me = processes.this_process()
    for path, owner in _ours(parent):
        if owner == (me.pid, me.start_ticks):
            remove_tree(path)


def _ours(parent: Path) -> list[tuple[Path, tuple[int, int]]]:
    """Scratch folders of this kernel and pid namespace, with pid and start time of their makers."""
    found = ((path, _NAME.match(path.name)) for path in parent.glob("*"))
    return [(path, (int(m[2]), int(m[3]))) for path, m in found if m and m[1] == here()]


def here() -> str:
    """Where pids mean something, this boot and this pid namespace, in eight digits."""
    place = f"{whereabouts.boot_id()} {whereabouts.pid_namespace()}"
    return f"{zlib.crc32(place.encode()):08x}"


def remove_tree(path: Path) -> None:
    """Delete a folder and what is in it, also when files in it are read-only; gone already is fine."""
    shutil.rmtree(path, ignore_errors=True)
