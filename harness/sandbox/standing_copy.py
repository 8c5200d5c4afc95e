"""Standing copies: for each evaluator, files of its own in place of the machine's.

Which pages of a file are in memory is one state for all who read that file: who reads a page, or fills memory until it
is dropped, signals to whoever looks which pages are there. So each evaluator sees copies of the system, the interpreter
and its packages, other files than the other evaluator's and than the ranks'. They stand in the user's cache folder from
one run to the next, below a digest of what they were made from: `speedrun/software/DIGEST/{first,second}`.

The digest takes the path, mode, size and modification time of every file, and where links lead. That is half a second
of a core, so it is taken anew only where a folder has another time than when it was last taken: a name came or went, as
with every installer. What goes unnoticed is a file that somebody has written over in its place; then remove the copies.
"""

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.files import locked, replace_file

from ..errors import RunFailure, UserError
from ..formats.observer import Observer
from ..system import interrupts, scratch, whereabouts
from . import inventory, namespaces, software
from .inventory import ChangedError, Found
from .policy import View
from .software import Node

SIDES = ("first", "second")  # one for each evaluator of a pair
UNUSED_S = 30 * 86400  # after which a copy is removed, when another is made
ROOM = 1.1  # times the bytes to be written
QUIET_S = 2.0  # before somebody who watches is told
TOLD_EVERY = 64  # files
_LOCK, _ABOUT, _FOLDERS, _SEEN = "lock", "about.json", "folders.json", "seen.json"


class _LackingError(Exception):
    """Why there are no copies, in half a sentence."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be copied, and for whom."""

    nodes: tuple[Node, ...]
    python: Path | None  # the interpreter; None: this one
    packages: tuple[str, ...] | None

    @property
    def about(self) -> dict[str, Any]:
        """Whose files these are: another state of them makes the copies of an earlier one useless."""
        return {"python": str(software.prefixes(self.python)[0]), "packages": list(self.packages or ())}


@dataclass(frozen=True, slots=True)
class StandingCopies:
    """What the evaluators of an exam see in place of the machine's files; without folders, these themselves."""

    folders: tuple[Path, ...] = ()
    lacking: str = ""  # why there are none, in half a sentence

    def view(self, view: View, side: int) -> View:
        """What one of two evaluators sees: files that the other one does not."""
        return replace(view, software=self.folders[side], own=namespaces.own_files(view)) if self.folders else view


@contextmanager
def held(view: View, other_place: Path, observer: Observer) -> Iterator[StandingCopies]:
    """Copies of what a view shows, which nobody removes meanwhile; made where there are none yet.

    other_place: for where the user's cache folder cannot hold them.
    """
    with ExitStack() as stack:
        yield _held(view, other_place, observer, stack)


def _held(view: View, other_place: Path, observer: Observer, stack: ExitStack) -> StandingCopies:
    lacking = "no folder can be written"
    shown = (*software.links(), *software.nodes(view.python, view.packages), *software.of_cuda(view.cuda))
    wanted = Wanted(shown, view.python, view.packages)
    try:
        for place in places(other_place):
            if (lacking := _problem(place)) == "":
                folder = stack.enter_context(_in_use(place.resolve(), wanted, observer))
                return StandingCopies(tuple(folder / side for side in SIDES))
    except RunFailure:  # somebody has stopped the run
        raise
    except (_LackingError, ChangedError, UserError) as error:
        return StandingCopies(lacking=str(error))
    except OSError as error:
        return StandingCopies(lacking=f"{error.strerror} at {error.filename}")
    return StandingCopies(lacking=lacking)


def places(other: Path) -> list[Path]:
    """Where copies may stand, best first: SPEEDRUN_COPIES, or else the user's cache folder and the other one.

    Not below HOME: a test, or a service, has one that is soon gone.
    """
    if named := os.environ.get("SPEEDRUN_COPIES"):
        return [Path(named).absolute()]
    found = []
    own = os.environ.get("XDG_CACHE_HOME", "")
    with suppress(KeyError):  # a user without a name
        found.append(Path(own) if os.path.isabs(own) else Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache")
    return [*(folder / "speedrun" / "software" for folder in found), other / ".software"]


def _problem(place: Path) -> str:
    """Why copies cannot stand here, in half a sentence; empty where they can."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{place} cannot be made ({error.strerror})"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} cannot be written"
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        return f"nothing at {place} can be executed"
    return ""


@contextmanager
def _in_use(place: Path, wanted: Wanted, observer: Observer) -> Iterator[Path]:
    """The folder of whole copies, under a lock that keeps others from removing it."""
    folder = _unchanged(place, wanted)
    lock = None if folder is None else _take(folder)
    if folder is None or lock is None:
        with locked(place / _LOCK):  # whoever waits here finds what the other has made
            scratch.sweep(place)
            found = inventory.take(wanted.nodes, bytecode=False)
            folder = place / inventory.digest(found)
            lock = _take(folder, found)
            if lock is None:
                _remove(place, lambda other, age_s: other.name == folder.name or age_s > UNUSED_S)
                _make(folder, wanted, observer)
                lock = _take(folder, found)
                _remove(place, lambda other, _: other.name != folder.name and _is_useless(other, wanted))
            if lock is None:
                raise _LackingError(f"the copies at {folder} are not as they were made; remove that folder")
            _note_times(folder, wanted, found)
    try:
        yield folder
    finally:
        os.close(lock)


def _unchanged(place: Path, wanted: Wanted) -> Path | None:
    """The copies made from what is wanted, where no folder of it has changed since."""
    key = _key(wanted)
    for file in place.glob(f"*/{_SEEN}"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # cut short, or somebody else's
            seen = json.loads(file.read_text())
            if seen["key"] == key and all(os.stat(path).st_mtime_ns == time_ns for path, time_ns in seen["times"]):
                return file.parent
    return None


def _note_times(folder: Path, wanted: Wanted, found: Found) -> None:
    """As of when these copies are known to be those of what is wanted."""
    single = {node.path for node in wanted.nodes}
    times = [(path, what.st_mtime_ns) for path, what in found.items()
             if not isinstance(what, str) and (stat.S_ISDIR(what.st_mode) or path in single)]  # fmt: skip
    replace_file(folder / _SEEN, [json.dumps({"key": _key(wanted), "times": times}).encode()])


def _key(wanted: Wanted) -> str:
    """Of what is wanted since this machine was started: where it crashed, files may have lost their content."""
    return hashlib.sha256(f"{whereabouts.boot_id()} {wanted}".encode(errors="surrogateescape")).hexdigest()


def _take(folder: Path, found: Found | None = None) -> int | None:
    """A descriptor that holds whole copies, down to the files where these are given; None where there are none."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.path.samestat(os.fstat(lock), os.stat(folder / _LOCK)) and _is_whole(folder, found or {}):
            os.utime(lock)  # the last use
            return lock
    except (FileNotFoundError, ValueError, TypeError):  # a list that is cut short: the machine went down
        pass
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _is_whole(folder: Path, found: Found) -> bool:
    """Whether no name came or went since the copies were made: some clean caches of what looks old to them."""
    known = json.loads((folder / _FOLDERS).read_text())
    files = [(path, what.st_size) for path, what in found.items()
             if not isinstance(what, str) and stat.S_ISREG(what.st_mode) and os.access(path, os.R_OK)]  # fmt: skip
    return bool(known) and all(
        all(os.stat(f"{folder}/{side}{path}").st_mtime_ns == time_ns for path, time_ns in known)
        and all(os.stat(f"{folder}/{side}{path}").st_size == size for path, size in files)
        for side in SIDES
    )


def _remove(place: Path, condition: Callable[[Path, float], bool]) -> None:
    """Copies that nobody uses now, where a condition on their folder and the seconds since the last use holds."""
    for folder in place.iterdir():
        with suppress(OSError), open(folder / _LOCK, "rb") as lock:
            if condition(folder, time.time() - os.fstat(lock.fileno()).st_mtime):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.remove_tree(folder.rename(scratch.make_scratch(place, ".begun") / folder.name).parent)


def _is_useless(folder: Path, wanted: Wanted) -> bool:
    """Copies of what the same interpreter looked like before, of one that is gone, or that say nothing of theirs."""
    try:
        made_for = json.loads((folder / _ABOUT).read_text())
        return made_for == wanted.about or not os.path.exists(made_for["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _make(folder: Path, wanted: Wanted, observer: Observer) -> None:
    """Both copies, in their place by one rename. Raises OSError, ChangedError and _LackingError, and leaves nothing."""
    place = folder.parent
    found = inventory.take(wanted.nodes, bytecode=True)
    try:
        earlier = _earlier(place, found)
    except _LackingError:  # the room that useless copies take is worth more than what could be linked from them
        _remove(place, lambda other, _: _is_useless(other, wanted))
        earlier = _earlier(place, found)
    progress = _Progress(observer, len(SIDES) * len(found))
    begun = scratch.Begun(place, folder.name)
    try:
        for side in SIDES:
            root = str(begun.path / side)
            inventory.copy(found, root, earlier[side], is_ours=wanted.python is None, step=progress.step)
        times = [(path, what.st_mtime_ns) for path, what in found.items()
                 if not isinstance(what, str) and stat.S_ISDIR(what.st_mode)]  # fmt: skip
        (begun.path / _FOLDERS).write_text(json.dumps(times))
        (begun.path / _ABOUT).write_text(json.dumps(wanted.about))
        (begun.path / _LOCK).touch()
        begun.appear()
    finally:
        begun.give_up()


def _earlier(place: Path, found: Found) -> dict[str, list[str]]:
    """By side: the copies to link from. Raises _LackingError where there is no room for what these do not have."""
    roots = {side: [str(path) for path in sorted(place.glob(f"*/{side}"))] for side in SIDES}
    needed = int(ROOM * sum(inventory.bytes_to_copy(found, each) for each in roots.values()))
    if needed > (free := shutil.disk_usage(place).free):
        raise _LackingError(f"two copies of the evaluators' files take {needed:,} bytes, and {place} has {free:,} free")
    return roots


class _Progress:
    """Tells somebody who watches, once it takes a while."""

    def __init__(self, observer: Observer, total: int) -> None:
        self._observer, self._total, self._done = observer, total, 0
        self._due_s, self._told = time.monotonic() + QUIET_S, False

    def step(self) -> None:
        self._done += 1
        if self._done % TOLD_EVERY:
            return
        interrupts.insist()
        if not self._told and time.monotonic() > self._due_s:
            self._told = True
            self._observer.phase("COPY", 0.0)
        if self._told:
            self._observer.copied(self._done, self._total)
            self._observer.tick()
