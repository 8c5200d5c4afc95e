"""The rows of a track's reported campaigns, remembered: reading all their logs again takes seconds.

As the index of records, and under the same conditions: a cache outside the records, believed only while every file and
folder looks as it did. Here all campaigns of a track are remembered as one, since none may tell a run that another
told; with them the track's rules and allowed signers, and the day, because keys expire.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path
from typing import Any

from harness.formats import layout
from harness.records.standings import Standing
from harness.system import clock

from .index import SEPARATOR, STALE, code_context, fingerprint, is_settled, load, look, save

Rows = tuple[list[Standing], list[str]]  # those that hold, and a sentence for each campaign that does not
_FIELDS = tuple(field.name for field in fields(Standing))
_TUPLES = ("authors", "techniques", "flags")
_KEY = layout.REPORTED_DIR


def remembered_rows(track: str, derive: Callable[[], Rows], *, fresh: bool = False) -> Rows:
    """What `derive` gives for a track, or gave while its files were as they are now. fresh: ask it in any case."""
    folder, place = layout.records_root() / track, layout.index_file(f"{track}/{layout.REPORTED_DIR}")
    before_ns, files = time.time_ns(), _files(folder)
    if files is None:
        return derive()
    here = code_context(*_FIELDS)
    looks = look(str(folder), files)
    stamp = f"{fingerprint(looks)} {clock.utc_now().date()}"
    known = {} if fresh else load(place, here)
    if known.get(_KEY, ("", STALE, None))[:2] == (SEPARATOR.join(files), stamp):
        try:
            return _decode(known[_KEY][2])
        except (ValueError, TypeError, KeyError, AttributeError):
            pass  # read again
    found = derive()
    if is_settled(looks, before_ns):
        save(place, here, {_KEY: (SEPARATOR.join(files), stamp, _encode(found))})
    return found


def _files(track_dir: Path) -> list[str] | None:
    """Everything that the rows depend on, relative to the track's folder; None where a look at it is not enough."""
    found = [layout.TRACK_FILE, layout.SIGNERS_FILE]
    for top in (layout.REPORTED_DIR, layout.PAST_RULES_DIR):
        if (track_dir / top).is_symlink():
            return None
        for parent, folders, names in os.walk(track_dir / top):
            inside = os.path.relpath(parent, track_dir)
            if any(os.path.islink(os.path.join(parent, name)) for name in (*folders, *names)):
                return None
            found += [inside, *(f"{inside}/{name}" for name in sorted(names))]
            folders.sort()
    return found


def _encode(rows: Rows) -> Any:
    return [[asdict(row) | {"date": row.date.isoformat()} for row in rows[0]], rows[1]]


def _decode(kept: Any) -> Rows:
    rows, sentences = kept
    return [_standing(row) for row in rows], [str(sentence) for sentence in sentences]


def _standing(values: dict[str, Any]) -> Standing:
    lists = {name: tuple(values[name]) for name in _TUPLES}
    return Standing(**(values | lists | {"date": date.fromisoformat(values["date"])}))
