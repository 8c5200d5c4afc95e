"""An index: entries of records, remembered so that a long board is read in a second.

A cache and never evidence. It lies outside the records, in the user's own cache folder, and an entry in it counts only
while every file and folder its record was read from has the inode, the size and the change time it had then, and the
code is the same. Nobody can set a change time: for an altered file to look as it did, somebody has to turn back the
clock of the machine. Anything else is read again; an index that is damaged, or cannot be written, is as none.

What a look at the record's own files cannot tell is never remembered: what is reached through a link, what changed
only just now, and a record with challenges, whose tier hangs on keys that expire and on the data sets known here.
"""

import gc
import hashlib
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pydantic

from data.files import replace_file
from harness.errors import RecordError
from harness.formats import layout
from harness.records.acceptance import in_order
from harness.records.entry import RecordEntry, entry_of
from harness.system.plainfile import read_plain

FORMAT = "speedrun index 3"
MIN_RECORDS = 32  # a shorter board is read as fast without
MAX_INDEX_BYTES = 2**28
RACY_NS = 2_500_000_000  # changed so shortly before it was read, a file may change again without a new time
STALE = ""  # no fingerprint: read again next time
_UNREAD = frozenset({layout.README_FILE, layout.LOCK_FILE, layout.VERDICT_FILE})  # `speedrun verify` reads them
SEPARATOR = "//"  # in no relative path
_MASK = 2**64 - 1
_TUPLES = ("authors", "techniques", "machine")
_FIELDS = tuple(field.name for field in fields(RecordEntry))

Remembered = tuple[str, str, Any]  # the files looked at, their fingerprint, and an encoded entry or what is wrong
Known = dict[str, Remembered]  # by the name of the record's folder
OnRead = Callable[[int, int], None]  # (records done, all)


def read_entries(
    track: str, *, fresh: bool = False, min_records: int = MIN_RECORDS, on_read: OnRead = lambda *_: None
) -> tuple[list[RecordEntry], list[str]]:
    """The records of a track in the order of acceptance, and a sentence for each folder that is not one.

    fresh: derive every entry again, whatever an index says.
    """
    folders = layout.record_dirs(track)
    if len(folders) < min_records:
        found = [_derive(folder) for folder in folders]
    else:
        with _seldom_collected():
            found = _through_index(layout.index_file(track), folders, fresh, on_read)
    entries = [one for one in found if isinstance(one, RecordEntry)]
    return in_order(entries), [one for one in found if isinstance(one, str)]


def _through_index(place: Path, folders: Sequence[Path], fresh: bool, on_read: OnRead) -> list[RecordEntry | str]:
    context = code_context()
    known = {} if fresh else load(place, context)
    found: list[RecordEntry | str] = []
    kept: Known = {}
    changed = False
    for number, folder in enumerate(folders):
        remembered = known.get(folder.name)
        said = None if remembered is None else _recall(folder, remembered)
        if remembered is None or said is None:
            on_read(number, len(folders))
            remembered, said = _read(folder)
            changed = True
        kept[folder.name] = remembered
        found.append(said)
    if changed or kept.keys() != known.keys():
        save(place, context, kept)
    return found


def _recall(folder: Path, remembered: Remembered) -> RecordEntry | str | None:
    """What an index says of a record; None where that may not be so any more."""
    try:
        files, stamp, row = remembered
        if stamp == STALE or fingerprint(look(str(folder), files.split(SEPARATOR))) != stamp:
            return None
        return _decode(row)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _read(folder: Path) -> tuple[Remembered, RecordEntry | str]:
    """A record read, and what there is to remember of it. Looked at before it is read, so that no change is missed."""
    before_ns = time.time_ns()
    files = files_read(folder)
    looks = [] if files is None else look(str(folder), files)
    said = _derive(folder)
    if files is None or not is_settled(looks, before_ns):
        return ("", STALE, None), said
    return (SEPARATOR.join(files), fingerprint(looks), _encode(said)), said


def files_read(folder: Path) -> list[str] | None:
    """Everything that reading a record depends on, relative to its folder; None where looking at it is not enough.

    Every folder is among them (its own is ""): a name that comes or goes changes its folder. Of the folders of runs
    only the two files that are evidence are read, there or not.
    """
    found = [""]
    try:
        if folder.is_symlink():
            return None
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == layout.CHALLENGES_DIR or entry.is_symlink():
                    return None
                if entry.name == layout.RECORD_RUNS_DIR:
                    found += [entry.name, *_evidence(entry.path)]
                elif entry.name not in _UNREAD:
                    found += [entry.name, *_below(entry, entry.name)]
    except OSError:
        return None
    return found


def _evidence(runs: str) -> Iterator[str]:
    from harness.campaigns.bundle import EVIDENCE_FILES

    with os.scandir(runs) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise OSError("a link")
            yield from (f"{layout.RECORD_RUNS_DIR}/{entry.name}/{name}" for name in EVIDENCE_FILES)


def _below(entry: "os.DirEntry[str]", name: str) -> Iterator[str]:
    if not entry.is_dir(follow_symlinks=False):
        return
    with os.scandir(entry.path) as entries:
        for inner in entries:
            if inner.is_symlink():
                raise OSError("a link")
            yield f"{name}/{inner.name}"
            yield from _below(inner, f"{name}/{inner.name}")


def look(folder: str, files: Sequence[str]) -> list[int]:
    """Inode, size and change time (ns) of each, one after the other; of what is not there, why.

    A change time moves with the content, the times, the mode, the owner and the name.
    """
    found: list[int] = []
    lstat = os.lstat
    for name in files:
        try:
            at = lstat(f"{folder}/{name}")
        except OSError as error:
            found += (error.errno or 0, 0, 0)
        else:
            found += (at.st_ino, at.st_size, at.st_ctime_ns)
    return found


def is_settled(looks: Sequence[int], now_ns: int) -> bool:
    """Whether no file of those seen changed so shortly before that it may change again without a new time."""
    return max(looks[2::3]) <= now_ns - RACY_NS


def fingerprint(looks: Sequence[int]) -> str:
    """Of what was seen."""
    try:
        values = array("Q", looks)
    except OverflowError:  # a time before 1970
        values = array("Q", [value & _MASK for value in looks])
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


def _derive(folder: Path) -> RecordEntry | str:
    from harness.records.record import read_record  # with all that reads runs: not for a board that is remembered

    try:
        return entry_of(read_record(folder))
    except RecordError as error:
        return str(error)


def code_context(*more: str) -> str:
    """What else an entry depends on: the code that derives it, ours and what is installed, and what is named."""
    paths = (path for package in ("harness", "data") for path in (layout.ROOT / package).rglob("*.py"))
    ours = sorted(str(path.relative_to(layout.ROOT)) for path in paths)
    code = look(
        str(layout.ROOT), [*ours, *(f"leaderboard/board/{name}.py" for name in ("index", "reported", "reported_index"))]
    )
    installed = look(str(Path(pydantic.__file__).parent.parent), [""])
    return hashlib.sha256(
        repr((FORMAT, sys.version, os.geteuid(), _FIELDS, code, installed, more)).encode()
    ).hexdigest()


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Ten thousand entries are made and none of them is garbage: looking for some would take as long as making them."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def load(place: Path, context: str) -> Known:
    """What an index holds; nothing where it is not there, of another context, or not byte for byte what was written."""
    try:
        head, _, body = read_plain(place, MAX_INDEX_BYTES, RecordError).partition(b"\n")
        if head.decode("ascii", "replace") != _head(context, body):
            return {}
        return {name: (files, stamp, row) for name, files, stamp, row in json.loads(body)}
    except (RecordError, ValueError, TypeError, RecursionError):
        return {}


def save(place: Path, context: str, kept: Known) -> None:
    """Best effort: without a folder for it everything works, only slower."""
    body = json.dumps([(name, *one) for name, one in kept.items()], separators=(",", ":")).encode()
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, [_head(context, body).encode(), b"\n", body])


def _head(context: str, body: bytes) -> str:
    return f"{FORMAT} {context} {hashlib.sha256(body).hexdigest()}"


def _encode(one: RecordEntry | str) -> Any:
    if isinstance(one, str):
        return one
    values = asdict(one) | {
        "date": one.date.isoformat(),
        "began_at": one.began_at.isoformat(),
        "predecessors": sorted(one.predecessors),
    }
    return [values[name] for name in _FIELDS]


def _decode(row: Any) -> RecordEntry | str:
    if isinstance(row, str):
        return row
    values = dict(zip(_FIELDS, row, strict=True))
    values["date"] = date.fromisoformat(values["date"])
    values["began_at"] = datetime.fromisoformat(values["began_at"])
    values["predecessors"] = frozenset(values["predecessors"])
    for name in _TUPLES:
        values[name] = tuple(values[name])
    return RecordEntry(**values)
