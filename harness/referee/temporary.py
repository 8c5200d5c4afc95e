"""Where the temporary files of a run lie: below TMPDIR, or elsewhere where that would break it.

At the levels without a file system of their own a submission lives in them: what torch.compile makes there has to be
executable, and the path has to leave room for the sockets of DataLoader workers.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunFailure
from ..sandbox.levels import LEVELS
from ..sandbox.process_tree import OWN_HOME_CHARACTERS
from ..status import Status
from ..system import scratch
from . import trials

OTHERS = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - folders of our own are made below them
LONGEST_TMPDIR = 107 - len("/pymp-abcdefgh/listener-abcdefgh")  # an address of a socket, less Python's own part
HOME_CHARACTERS = len("/home/") + OWN_HOME_CHARACTERS
SCRATCH_CHARACTERS = len("/speedrun-01234567-1234567-123456789-abcdefgh") + HOME_CHARACTERS


@dataclass(frozen=True, slots=True)
class Temporary:
    """The folders of one run."""

    path: Path
    short: Path | None  # for TMPDIR, where a folder below `path` would be too long


def places() -> list[Path]:
    """Where temporary files may lie, best first."""
    try:
        first = [Path(tempfile.gettempdir())]
    except OSError:  # not even the current folder can be written
        first = []
    return [*first, *(path for path in OTHERS if path not in first and path.is_dir())]


def problem(place: Path, level: str) -> str | None:
    """Why a run at a level cannot have its files here, in half a sentence; None if it can."""
    if (found := trials.write_problem(place)) is not None:
        return f"it cannot be written ({found})"
    if level != LEVELS[0] and (found := trials.execute_problem(place)) is not None:
        return f"nothing there can be executed ({found}; mounted noexec)"
    return None


@contextmanager
def temporary_folders(level: str) -> Iterator[Temporary]:
    """Folders of this process, removed at the end; what killed ones have left is swept.

    Raises RunFailure where no place will do.
    """
    for place in places():
        scratch.sweep(place)
    path = scratch.make_scratch(fitting(level))
    short = None
    try:
        if level != LEVELS[0] and len(str(path)) + HOME_CHARACTERS > LONGEST_TMPDIR:
            short = _short_folder(level)
        yield Temporary(path, short)
    finally:
        for folder in (path, short):
            if folder is not None:
                scratch.remove_tree(folder)


def remove_own() -> None:
    """Whatever this process has left of them."""
    for place in places():
        scratch.remove_own(place)


def fitting(level: str) -> Path:
    """The place of a run's files at a level. Raises RunFailure where none will do."""
    problems = {}
    for place in places():
        problems[place] = problem(place, level)
        if problems[place] is None:
            return place
    found = "; ".join(f"{place}: {reason}" for place, reason in problems.items()) or "none"
    expected = "a folder for temporary files" + ("" if level == LEVELS[0] else " whose files can be executed")
    raise RunFailure(Status.MACHINE_FAILED, f"expected {expected}, found {found}; set TMPDIR to another")


def _short_folder(level: str) -> Path | None:
    """None where none is short enough: then only what opens sockets below TMPDIR fails."""
    for place in places():
        if problem(place, level) is None:
            folder = scratch.make_scratch(place)
            if len(str(folder)) <= LONGEST_TMPDIR:
                return folder
            scratch.remove_tree(folder)
    return None
