"""The output folder: what changed is written, what is gone removed, all remembered."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from data.files import TEMPORARY_SUFFIX, locked
from harness.errors import RecordError, UserError
from harness.system.plainfile import read_plain

from . import addresses

VERSION = 1
MAX_STATE_BYTES = 2**28
STATE, FRAGMENTS = "state.json", "fragments"


@dataclass(slots=True)
class FileGroup:
    """Files that follow from the same inputs."""

    fingerprint: str
    files: dict[str, str] = field(default_factory=dict)  # address -> SHA-256
    fragments: list[str] = field(default_factory=list)  # drawings it used
    summary: Any = None  # for the pages of other groups


@dataclass(slots=True)
class State:
    version: int = VERSION
    groups: dict[str, FileGroup] = field(default_factory=dict)


@contextmanager
def open_output(folder: Path, *, full: bool = False) -> Iterator["Output"]:
    """A site's folder to build in, one build at a time; finished where nothing is raised.

    full: write everything, whatever the last build left. Raises UserError for a folder that holds something else.
    """
    private = folder / addresses.PRIVATE
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not private.is_dir())):
        raise UserError(
            f"expected an empty folder or an earlier site at {folder}, found something else; name another --out"
        )
    try:
        (private / FRAGMENTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"expected a folder that can be written at {folder}, found {error.strerror}; name another --out"
        raise UserError(sentence) from error
    with locked(private / "lock"):
        output = Output(folder, full=full)
        yield output
        output.finish()


class Output:
    """A site's folder while it is built."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder, self._private = folder, folder / addresses.PRIVATE
        self._before = _read_state(self._private / STATE)
        self._full, self._state = full, State()
        self.written: list[str] = []
        self.removed: list[str] = []

    @property
    def pages(self) -> int:
        return sum(len(group.files) for group in self._state.groups.values())

    def unchanged(self, name: str, fingerprint: str) -> FileGroup | None:
        """The group as the last build left it, kept, if its inputs are the same and its files still there."""
        group = self._before.groups.get(name)
        if self._full or group is None or group.fingerprint != fingerprint:
            return None
        if not all((self.folder / address).is_file() for address in group.files):
            return None
        self._state.groups[name] = group
        return group

    def begin(self, name: str, fingerprint: str) -> FileGroup:
        """A group to be written anew."""
        group = self._state.groups[name] = FileGroup(fingerprint)
        return group

    def put(self, group: FileGroup, address: str, content: bytes) -> None:
        """Write a file, unless it holds that already."""
        digest, path = hashlib.sha256(content).hexdigest(), self.folder / address
        group.files[address] = digest
        if not self._full and self._known(address) == digest and path.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
        self.written.append(address)

    def fragment(self, group: FileGroup, key: str, make: Callable[[], str]) -> str:
        """A piece that takes long to make, by the digest of everything it is made of."""
        group.fragments.append(key)
        path = self._private / FRAGMENTS / key
        if not self._full:
            try:
                return read_plain(path, MAX_STATE_BYTES, RecordError).decode()
            except (RecordError, UnicodeDecodeError):
                pass
        made = make()
        _replace(path, made.encode())
        return made

    def finish(self) -> None:
        """Remove files of the last build that are none of this one, then remember this one."""
        kept = {address for group in self._state.groups.values() for address in group.files}
        for address in sorted(self._all_before() - kept):
            self._remove(address)
        self._drop_fragments({key for group in self._state.groups.values() for key in group.fragments})
        content = TypeAdapter(State).dump_json(self._state)
        path = self._private / STATE
        if not path.is_file() or path.read_bytes() != content:
            _replace(path, content)

    def _known(self, address: str) -> str | None:
        return next((g.files[address] for g in self._before.groups.values() if address in g.files), None)

    def _all_before(self) -> set[str]:
        return {address for group in self._before.groups.values() for address in group.files}

    def _remove(self, address: str) -> None:
        path = (self.folder / address).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            return  # somebody edited the state; what lies elsewhere is not ours
        path.unlink(missing_ok=True)
        self.removed.append(address)
        for parent in path.parents:
            if parent == self.folder.resolve() or any(parent.iterdir()):
                break
            parent.rmdir()

    def _drop_fragments(self, used: set[str]) -> None:
        for path in (self._private / FRAGMENTS).iterdir():
            if path.name not in used:
                path.unlink()


def fingerprint(paths: Iterable[Path], *more: str) -> str:
    """Of files by path, size and time of change: the same only where nothing was written."""
    found = hashlib.sha256(json.dumps(more).encode())
    for path in sorted(paths):
        try:
            status = path.lstat()
        except OSError:
            continue
        found.update(
            f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n".encode(errors="surrogateescape")
        )
    return found.hexdigest()


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Every file and link, also those that are hidden."""
    return [path for path in folder.rglob(pattern) if not path.is_dir() or path.is_symlink()]


def _read_state(path: Path) -> State:
    """A state that cannot be read is no state: everything is built."""
    try:
        state = TypeAdapter(State).validate_json(read_plain(path, MAX_STATE_BYTES, RecordError))
    except (RecordError, ValidationError):
        return State()
    return state if state.version == VERSION else State()


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all; not synced, because a build can be repeated."""
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    temporary.write_bytes(content)
    temporary.replace(path)
