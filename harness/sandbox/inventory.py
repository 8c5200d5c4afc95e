"""Inventory: everything a sandbox shows, by path, with a digest of it and copies of it.

Copies are files of their own: who reads one brings no page of the original into memory. A file that stands unchanged in
earlier copies is linked from there, so another list of packages, or an update of one, costs only what differs.
"""

import compileall
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .software import Node

LARGE = 2**20  # bytes of a file that is on the disk before a clock runs: nine tenths of all bytes, a hundredth of files
BYTECODE = "__pycache__"
_FORM = "1"  # of the copies: another one makes others of them
Found = dict[str, str | os.stat_result]
"""By path: where a link leads, or what a folder or file is. No path leads through a link."""


class ChangedError(Exception):
    """Which file changed while it was copied."""


def take(nodes: Iterable[Node], *, bytecode: bool) -> Found:
    """Everything these nodes show, by path. A special file is nothing a program is made of, and stays out.

    bytecode: also what Python keeps in BYTECODE, which comes and goes by itself.
    """
    found: Found = {}
    for node in sorted(nodes, key=lambda node: node.link is None):  # links first: no path may lead through one
        _add(node, found, bytecode)
    return found


def _add(node: Node, found: Found, bytecode: bool) -> None:
    path = node.path
    if any(isinstance(found.get(str(parent)), str) for parent in Path(path).parents):
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if node.link is not None:
        found.setdefault(path, node.link)
    elif os.path.basename(path) == BYTECODE and not bytecode:
        return
    elif node.shown:
        with suppress(FileNotFoundError):
            status = os.stat(path)
            found[path] = status
            if stat.S_ISDIR(status.st_mode):
                _add_all(path, found, bytecode)
    elif node.children:
        found.setdefault(path, os.stat(path))
        for child in node.children:
            _add(child, found, bytecode)


def _add_all(folder: str, found: Found, bytecode: bool) -> None:
    """What lies in a folder and below it. Quick: it is tens of thousands of files, and every run looks."""
    waiting = [folder]
    while waiting:
        with suppress(PermissionError, FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    found[entry.path] = os.readlink(entry.path)
                elif entry.is_dir():
                    if bytecode or entry.name != BYTECODE:
                        found[entry.path] = entry.stat()
                        waiting.append(entry.path)
                elif entry.is_file():
                    found[entry.path] = entry.stat()


def digest(found: Found) -> str:
    """Names the copies of these files."""
    lines = [_FORM]
    for path in sorted(found):
        what = found[path]
        if isinstance(what, str):
            lines.append(f"{path}\0{what}")
        elif stat.S_ISDIR(what.st_mode):
            lines.append(f"{path}\0{what.st_mode}")
        else:
            lines.append(f"{path}\0{what.st_mode} {what.st_size} {what.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]


def bytes_to_copy(found: Found, earlier: Sequence[str]) -> int:
    """What `copy` would write: the size of each file once, but for those that it would link."""
    known = _Earlier(earlier)
    files = {(what.st_dev, what.st_ino): (path, what) for path, what in found.items()
             if not isinstance(what, str) and stat.S_ISREG(what.st_mode)}  # fmt: skip
    return sum(what.st_size for path, what in files.values() if known.find(path, what) is None)


def copy(found: Found, root: str, earlier: Sequence[str], *, is_ours: bool, step: Callable[[], None]) -> None:
    """A tree that holds what was found; hard links stay, or one graphics driver would be many.

    earlier: trees made by this function, for the same reader. is_ours: of this interpreter, which then compiles what
    has no bytecode yet; evaluators cannot, they may not write. step: called for each path. Raises OSError and
    ChangedError.
    """
    known, linked, folders = _Earlier(earlier), dict[tuple[int, int], str](), []
    for path in sorted(found):  # a folder before what lies in it
        what, target = found[path], f"{root}{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if isinstance(what, str):
            os.symlink(what, target)
        elif stat.S_ISDIR(what.st_mode):
            os.makedirs(target, exist_ok=True)
            folders.append((target, what))
        elif (first := linked.setdefault((what.st_dev, what.st_ino), target)) != target:
            os.link(first, target)
        elif not os.access(path, os.R_OK):
            del linked[what.st_dev, what.st_ino]
        elif (there := known.find(path, what)) is not None:
            os.link(there, target)
        else:
            _copy_file(path, target, what)
        step()
    if is_ours:
        compileall.compile_dir(root, maxlevels=100, quiet=2, stripdir=root, prependdir="/")
    for target, what in reversed(folders):
        os.chmod(target, stat.S_IMODE(what.st_mode) | stat.S_IRWXU)
        os.utime(target, ns=(what.st_atime_ns, what.st_mtime_ns))


class _Earlier:
    """Trees in which a file may stand already."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [os.path.realpath(root) for root in roots]
        self._is_inside: dict[str, bool] = {}

    def find(self, path: str, what: os.stat_result) -> str | None:
        """The copy of this file as it is now; none that a link there leads to, since that is the file itself."""
        for root in self._roots:
            there = f"{root}{path}"
            folder = os.path.dirname(there)
            if folder not in self._is_inside:
                self._is_inside[folder] = os.path.realpath(folder) == folder
            with suppress(OSError):
                status = os.lstat(there)
                same = (status.st_mode, status.st_size, status.st_mtime_ns) == (
                    stat.S_IFREG | what.st_mode & 0o777, what.st_size, what.st_mtime_ns)  # fmt: skip
                if same and self._is_inside[folder]:
                    return there
        return None


def _copy_file(path: str, target: str, what: os.stat_result) -> None:
    """Content, mode and times, by which Python knows whether its bytecode fits. Raises ChangedError where it changed.

    Where the file system can, the copy shares its blocks on the disk with the original; in memory it never does.
    """
    with open(path, "rb") as source, open(target, "xb") as copy:
        done = 0
        with suppress(OSError):  # between these two file systems it may not work
            while count := os.copy_file_range(source.fileno(), copy.fileno(), 2**30):
                done += count
        source.seek(done)
        copy.seek(done)
        shutil.copyfileobj(source, copy)
        copy.flush()
        now = os.fstat(source.fileno())
        if (now.st_size, now.st_mtime_ns) != (what.st_size, what.st_mtime_ns):
            raise ChangedError(f"{path} changed while it was copied")
        os.fchmod(copy.fileno(), stat.S_IMODE(what.st_mode) & 0o777)
        os.utime(copy.fileno(), ns=(what.st_atime_ns, what.st_mtime_ns))
        if what.st_size >= LARGE:
            os.fdatasync(copy.fileno())
