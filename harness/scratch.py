"""Temporary folders that a killed referee cannot leave behind for good.

Their names carry the process that made them, so the next run can tell which are orphans and remove them.
"""

import re
import tempfile
from pathlib import Path

from . import processes
from .submission import remove_tree

_NAME = re.compile(r"^speedrun-(\d+)-(\d+)-")


def make_scratch(parent: Path) -> Path:
    """A new folder of this process below parent, readable by its user only."""
    me = processes.this_process()
    return Path(tempfile.mkdtemp(prefix=f"speedrun-{me.pid}-{me.start_ticks}-", dir=parent))


def sweep(parent: Path) -> None:
    """Remove the folders below parent whose process is gone."""
    for path in parent.glob("speedrun-*"):
        found = _NAME.match(path.name)
        if found and not processes.is_alive(int(found[1]), int(found[2])):
            remove_tree(path)
