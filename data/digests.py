"""SHA-256 of files, several at a time, remembered with the size and mtime they were measured at.

The memory is `.verified.json` beside the files. It saves reading 20 GB before every run; it is no evidence, and
`afresh` looks past it.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from .errors import DataError
from .files import read_small, replace_file

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Progress = Callable[[int, int], None]
"""Called with (done, in all): bytes where files are read or fetched, tokens where shards are built."""

_CACHE_NAME = ".verified.json"
_BLOCK_BYTES = 2**20  # measured: larger blocks fall out of the second-level cache and are slower

_remembering = threading.Lock()

_Entry = dict[str, int | str]


def measure(paths: list[Path], *, progress: Progress | None = None, afresh: bool = False) -> dict[str, str]:
    """Return {file name: sha256} of `paths`, which lie in one folder.

    A file whose size and mtime_ns are those of its last measurement is not read again, unless `afresh`. Raises
    DataError where a file cannot be read.
    """
    if not paths:
        return {}
    cache_path = paths[0].parent / _CACHE_NAME
    cached = _read_cache(cache_path)
    stamps = {path: _stamp(path) for path in paths}
    stale = [path for path in paths if afresh or not _holds(cached.get(path.name), stamps[path])]
    hashed = dict(zip(stale, _hash_all(stale, progress), strict=True))
    entries: dict[str, _Entry] = {
        path.name: stamps[path] | {"sha256": hashed[path]} if path in hashed else cached[path.name] for path in paths
    }
    if stale:
        _write_cache(cache_path, cached | entries)
    return {name: str(entry["sha256"]) for name, entry in entries.items()}


def remember(path: Path, sha256: str) -> None:
    """Note the digest of a file that has just been measured while it was written."""
    cache_path = path.parent / _CACHE_NAME
    with _remembering:
        _write_cache(cache_path, _read_cache(cache_path) | {path.name: _stamp(path) | {"sha256": sha256}})


def _holds(entry: Any, stamp: _Entry) -> bool:
    return isinstance(entry, dict) and entry == stamp | {"sha256": entry.get("sha256")}


def _stamp(path: Path) -> _Entry:
    """Taken before hashing: a change while we read shows up as another mtime."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _hash_all(paths: list[Path], progress: Progress | None) -> list[str]:
    """hashlib releases the interpreter lock, so threads use as many cores as there are files."""
    total = sum(path.stat().st_size for path in paths)
    done, lock = 0, threading.Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if progress is not None:
                progress(done, total)

    workers = min(len(paths), os.cpu_count() or 1)
    if workers <= 1:
        return [_hash(path, advance) for path in paths]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda path: _hash(path, advance), paths))


def _hash(path: Path, advance: Callable[[int], None]) -> str:
    hasher, block = hashlib.sha256(), memoryview(bytearray(_BLOCK_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                hasher.update(block[:count])
                advance(count)
    except OSError as error:
        raise _unreadable(path, error) from error
    return hasher.hexdigest()


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: expected a readable file, found '{error.strerror}'; mend its place or its permissions.")


def _read_cache(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_small(path))
    except (OSError, ValueError, RecursionError):  # absent or torn: measure again
        return {}
    return content if isinstance(content, dict) else {}


def _write_cache(path: Path, content: dict[str, Any]) -> None:
    with suppress(OSError):  # the folder may be shared and read-only: then every call hashes
        replace_file(path, [json.dumps(content, indent=1, sort_keys=True).encode()])
