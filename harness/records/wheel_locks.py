"""Wheels by hash: which packages of a record's environment a track lets anybody install, and which it does not.

A record says what it had installed; that is a stranger's word. The track keeps, beside its rules, a lock for each
torch version it has records of: the packages a submission may import and what those need, each with the digests of its
wheels. What a record had and the lock has not is a difference, listed and not installed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecordError, UserError
from ..formats import layout
from ..system.plainfile import read_plain
from .environments import EnvironmentLock

MAX_LOCK_BYTES = 2**20
_LINE = re.compile(r"([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)==([A-Za-z0-9.!+_-]+)((?: --hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True, slots=True)
class Wheels:
    """What would be installed, as lines for pip with their hashes, and what of a record would not be."""

    requirements: tuple[str, ...]
    left_out: tuple[str, ...]  # name==version, or a name alone where any would do


def lock_path(track_dir: Path, torch: str) -> Path:
    """Where a track keeps its lock for a torch version."""
    return track_dir / layout.LOCKS_DIR / f"torch-{torch}.txt"


def wheels_for(track_dir: Path, lock: EnvironmentLock) -> Wheels:
    """The packages of a record's environment that its track knows by hash, in the very version.

    Raises UserError where the track has no lock for the record's torch, or not that torch in it.
    """
    torch = lock.packages.get("torch")
    if torch is None or "/" in torch:
        raise UserError("expected torch among the packages of the record, found none; use --here")
    path = lock_path(track_dir, torch)
    known = _known(path, torch)
    chosen = {name: line for name, line in known.items() if line.startswith(f"{name}=={lock.packages.get(name)} ")}
    if "torch" not in chosen:
        raise UserError(f"expected torch {torch} in {path}, found another")
    left_out = tuple(f"{name}=={version}" for name, version in lock.packages.items() if name not in chosen)
    return Wheels(tuple(chosen.values()), left_out)


def wheels_beside(track_dir: Path, torch: str, names: Sequence[str]) -> Wheels:
    """All that a track knows by hash for a torch version, for a script that needs `names` in any version.

    Raises UserError as wheels_for does.
    """
    path = lock_path(track_dir, torch)
    known = _known(path, torch)
    if not known.get("torch", "").startswith(f"torch=={torch} "):
        raise UserError(f"expected torch {torch} in {path}, found another")
    return Wheels(tuple(known.values()), tuple(name for name in names if name not in known))


def _known(path: Path, torch: str) -> dict[str, str]:
    if not path.is_file():
        sentence = f"expected wheels by hash for torch {torch} at {path}, found no such file"
        raise UserError(f"{sentence}; use --here, or have the track's maintainers add them")
    return read_wheel_lock(path)


def read_wheel_lock(path: Path) -> dict[str, str]:
    """Lines `name==version --hash=sha256:...`, by name. Raises RecordError for other lines: pip reads options there."""
    known: dict[str, str] = {}
    for line in read_plain(path, MAX_LOCK_BYTES, RecordError).decode(errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] in known:
            raise RecordError(
                f"expected one line name==version --hash=sha256:... a package in {path}, found {line[:80]!r}"
            )
        known[found[1]] = line
    return known
