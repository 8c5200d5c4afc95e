"""An index: what was derived from files, remembered so that a long board is read in a second.

A cache and never evidence. It lies outside the records, in the user's own cache folder, and an answer in it counts only
while every file and folder it was derived from has the inode, the size and the change time it had then, and the code is
the same. Nobody can set a change time: for an altered file to look as it did, somebody has to turn back the clock of
the machine. Anything else is derived again; an index that is damaged, busy, or cannot be written, is as none.

What a look cannot tell is never remembered: what is reached through a link, and what changed only just now.
"""

import hashlib
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pydantic

from harness.formats import layout

RACY_NS = 2_500_000_000  # changed so shortly before it was read, a file may change again without a new time
CREATE = "CREATE TABLE IF NOT EXISTS said (folder BLOB PRIMARY KEY, answer BLOB, seal TEXT) WITHOUT ROWID"

Look = tuple[str, int, int, int, int]  # path, mode, inode, size, change time (ns)
Recall = Callable[[Path, Callable[[], Iterable[Look]], Callable[[], Any]], Any]


@contextmanager
def opened(kind: Any, *context: str, fresh: bool = False) -> Iterator[Recall]:
    """Gives recall(folder, looks, derive): what derive() gives, or gave while looks() saw what it sees now.

    kind: the type of the answers. context: what else they depend on. looks() raises OSError where looking is not
    enough. fresh: derive in any case.
    """
    adapter, here, new = pydantic.TypeAdapter(kind), (code_context(), *context), []
    place = layout.index_file()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place, timeout=1)
    except (OSError, sqlite3.Error):
        connection = sqlite3.connect(":memory:")

    def recall(folder: Path, looks: Callable[[], Iterable[Look]], derive: Callable[[], Any]) -> Any:
        key, before_ns = os.fsencode(folder.absolute()), time.time_ns()
        try:
            seen = list(looks())
        except OSError:
            return derive()
        with _survived(place):
            row = connection.execute("SELECT answer, seal FROM said WHERE folder = ?", (key,)).fetchone()
            if row is not None and row[1] == _seal(here, seen, row[0]) and not fresh:
                return adapter.validate_json(row[0])
        said = derive()
        if max(one[-1] for one in seen) <= before_ns - RACY_NS:
            with suppress(ValueError):  # a path in no encoding
                answer = adapter.dump_json(said)
                if adapter.validate_json(answer) == said:  # not so with a number that is none
                    new.append((key, answer, _seal(here, seen, answer)))
        return said

    with closing(connection):
        yield recall
        with _survived(place), connection:
            connection.execute(CREATE)
            connection.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", new)


@contextmanager
def _survived(place: Path) -> Iterator[None]:
    """Without an index everything works, only slower. A damaged one goes, so that the next command writes another."""
    try:
        yield
    except sqlite3.OperationalError:  # no table yet, busy, or not to be written
        pass
    except sqlite3.DatabaseError:
        with suppress(OSError):
            place.unlink()


def _seal(context: tuple[str, ...], seen: list[Look], answer: object) -> str:
    """What an answer stands and falls with; itself among it, since a database does not notice every damage."""
    return hashlib.blake2b(repr((context, seen, answer)).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def at(path: str) -> Look:
    """One file or folder. Raises OSError for a link, and where there is nothing.

    A change time moves with the content, the times, the mode, the owner and the name.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(f"{path} is a link")
    return path, found.st_mode, found.st_ino, found.st_size, found.st_ctime_ns


def below(path: str) -> Iterator[Look]:
    """A file, or a folder and everything in it; nothing where there is nothing. Raises OSError for a link."""
    try:
        found = at(path)
    except FileNotFoundError:
        return
    yield found
    if stat.S_ISDIR(found[1]):
        for name in sorted(os.listdir(path)):
            yield from below(f"{path}/{name}")


def code_context() -> str:
    """What else every answer depends on: who reads, and the code that derives it, ours and what is installed."""
    folders = (layout.ROOT / package for package in ("harness", "data", "leaderboard/board"))
    ours = sorted(str(path) for folder in folders for path in folder.rglob("*.py"))
    installed = str(Path(pydantic.__file__).parent.parent)
    seen = [at(os.path.realpath(path)) for path in (*ours, installed)]
    return hashlib.sha256(repr((sys.version, os.geteuid(), seen)).encode()).hexdigest()
