"""The records of a track as entries, through the index.

A record with challenges is never remembered: its tier hangs on keys that expire and on the data sets known here.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness.errors import RecordError
from harness.formats import layout
from harness.records.acceptance import in_order
from harness.records.entry import RecordEntry, entry_of

from .index import Look, at, below, opened

_UNREAD = frozenset({layout.README_FILE, layout.LOCK_FILE, layout.VERDICT_FILE})  # `speedrun verify` reads them

OnRead = Callable[[int, int], None]  # (records done, all)


def read_entries(
    track: str, *, fresh: bool = False, on_read: OnRead = lambda *_: None
) -> tuple[list[RecordEntry], list[str]]:
    """The records of a track in the order of acceptance, and a sentence for each folder that is not one.

    fresh: derive every entry again, whatever an index says.
    """
    folders = layout.record_dirs(track)

    def derive(number: int) -> RecordEntry | str:
        from harness.records.record import read_record  # with all that reads runs: not for a board that is remembered

        on_read(number, len(folders))
        try:
            return entry_of(read_record(folders[number]))
        except RecordError as error:
            return str(error)

    with opened(RecordEntry | str, fresh=fresh) as recall:
        found = [recall(one, partial(looks, one), partial(derive, number)) for number, one in enumerate(folders)]
    entries = [one for one in found if isinstance(one, RecordEntry)]
    return in_order(entries), [one for one in found if isinstance(one, str)]


def looks(folder: Path) -> Iterator[Look]:
    """Everything that reading a record depends on. Raises OSError where looking at it is not enough.

    Every folder is among it: a name that comes or goes changes its folder. Of the folders of runs only the two files
    that are evidence are read.
    """
    yield at(str(folder))
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        if name == layout.CHALLENGES_DIR:
            raise OSError(f"{path} is read every time")
        if name == layout.RECORD_RUNS_DIR:
            yield at(path)
            for run in sorted(os.listdir(path)):
                yield at(f"{path}/{run}")
                for evidence in layout.EVIDENCE_FILES:
                    yield from below(f"{path}/{run}/{evidence}")
        elif name not in _UNREAD:
            yield from below(path)
