"""An index: entries of records, remembered so that a long board is read in a second.

A cache and never evidence. It lies outside the records, in the user's own cache folder, and an entry in it counts only
while every file of its record has the inode, the size and the change time it had when the entry was derived, while the
allowed signers are the same, and the code is. Anything else is read again; an index that is damaged, or cannot be
written, is as none.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

from data.files import replace_file
from harness import layout
from harness.bundle import EVIDENCE_FILES
from harness.entry import Entry, entry_of
from harness.errors import RecordError
from harness.plainfile import read_plain
from harness.record import in_order, read_record

FORMAT = "speedrun index 1"
MIN_RECORDS = 32  # a shorter board is read as fast without
MAX_INDEX_BYTES = 2**28
RACY_NS = 100_000_000  # a file changed so shortly before it was read may change again without a new time
_UNREAD = frozenset({layout.README_FILE, layout.LOCK_FILE, layout.VERDICT_FILE})  # `speedrun verify` reads them
_MASK = 2**64 - 1
_TUPLES = ("authors", "techniques", "machine")
_FIELDS = tuple(field.name for field in fields(Entry))

Known = dict[str, tuple[str, "Entry | str"]]  # folder name -> (fingerprint, entry, or what is wrong with the record)
OnRead = Callable[[int, int], None]  # (records done, all)


def read_entries(
    track: str, *, fresh: bool = False, min_records: int = MIN_RECORDS, on_read: OnRead = lambda *_: None
) -> tuple[list[Entry], list[str]]:
    """The records of a track in the order of acceptance, and a sentence for each folder that is not one.

    fresh: derive every entry again, whatever an index says.
    """
    folders = layout.record_dirs(track)
    place, context = layout.index_file(track), ""
    known: Known = {}
    if len(folders) >= min_records:
        context = _context(track)
        known = {} if fresh else _load(place, context)
    found: Known = {}
    changed = False
    for number, folder in enumerate(folders):
        stamp = fingerprint(folder) if context else ""
        remembered = known.get(folder.name)
        if remembered is not None and remembered[0] == stamp:
            found[folder.name] = remembered
            continue
        on_read(number, len(folders))
        before_ns = time.time_ns()
        found[folder.name] = (stamp, _derive(folder))
        changed = True
        if context and _is_racy(folder, before_ns):
            found[folder.name] = ("", found[folder.name][1])  # never equal to a fingerprint: read again next time
    if context and (changed or known.keys() != found.keys()):
        _save(place, context, found)
    entries = [one for _, one in found.values() if isinstance(one, Entry)]
    return in_order(entries), [one for _, one in found.values() if isinstance(one, str)]


def fingerprint(folder: Path) -> str:
    """Of what reading a record depends on: inode, size and change time of every file and folder in it.

    A name that comes, goes or changes changes its folder; of the folders of runs only the two files that are evidence
    are looked at, because nothing else in them is read. No link is followed.
    """
    stamps: list[tuple[int, int, int]] = [_stamp(str(folder))]
    _look(str(folder), stamps)
    values = array("Q", [value & _MASK for stamp in sorted(stamps) for value in stamp])
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


def _look(folder: str, stamps: list[tuple[int, int, int]]) -> None:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return  # there would be no record; its own stamp tells when it can be read again
    for entry in entries:
        if entry.name in _UNREAD:
            continue
        stamps.append(_stamp(entry.path))
        if entry.is_dir(follow_symlinks=False):
            if entry.name == layout.RECORD_RUNS_DIR:
                stamps += [
                    _stamp(f"{entry.path}/{run}/{name}") for run in _names(entry.path) for name in EVIDENCE_FILES
                ]
            else:
                _look(entry.path, stamps)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _stamp(path: str) -> tuple[int, int, int]:
    """Nobody can set a change time; it moves with the content, the times, the mode, the owner and the name."""
    try:
        at = os.lstat(path)
    except OSError as error:
        return error.errno or 0, 0, 0
    return at.st_ino, at.st_size, at.st_ctime_ns


def _derive(folder: Path) -> Entry | str:
    try:
        return entry_of(read_record(folder))
    except RecordError as error:
        return str(error)


def _is_racy(folder: Path, before_ns: int) -> bool:
    """Whether anything in a record changed so recently that its times cannot tell a further change."""
    newest = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                newest = max(newest, os.lstat(os.path.join(parent, name)).st_ctime_ns)
    return newest > before_ns - RACY_NS


def _context(track: str) -> str:
    """What else an entry depends on: where it is, whose signatures count, and the code that derives it."""
    signers = layout.records_root() / track / layout.SIGNERS_FILE
    code = [_stamp(str(path)) for path in sorted((layout.ROOT / "harness").glob("*.py"))]
    parts = (FORMAT, sys.version, _FIELDS, code, _stamp(str(signers)), shutil.which("ssh-keygen"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _load(place: Path, context: str) -> Known:
    """What an index holds; nothing where it is not there, of another context, or not byte for byte what was written."""
    try:
        head, _, body = read_plain(place, MAX_INDEX_BYTES, RecordError).partition(b"\n")
        if head.decode("ascii", "replace") != _head(context, body):
            return {}
        return {name: (stamp, _decode(one)) for name, stamp, one in json.loads(body)}
    except (RecordError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _save(place: Path, context: str, found: Known) -> None:
    """Best effort: without a folder for it everything works, only slower."""
    rows = ((name, stamp, _encode(one)) for name, (stamp, one) in found.items())
    body = json.dumps(list(rows), separators=(",", ":")).encode()
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, [_head(context, body).encode(), b"\n", body])


def _head(context: str, body: bytes) -> str:
    return f"{FORMAT} {context} {hashlib.sha256(body).hexdigest()}"


def _encode(one: Entry | str) -> Any:
    if isinstance(one, str):
        return one
    values = asdict(one) | {
        "date": one.date.isoformat(),
        "began_at": one.began_at.isoformat(),
        "predecessors": sorted(one.predecessors),
    }
    return [values[name] for name in _FIELDS]


def _decode(row: Any) -> Entry | str:
    if isinstance(row, str):
        return row
    values = dict(zip(_FIELDS, row, strict=True))
    values["date"] = date.fromisoformat(values["date"])
    values["began_at"] = datetime.fromisoformat(values["began_at"])
    values["predecessors"] = frozenset(values["predecessors"])
    for name in _TUPLES:
        values[name] = tuple(values[name])
    return Entry(**values)
