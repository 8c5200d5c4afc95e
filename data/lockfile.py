"""Lock files: what a dataset's revision and hashes were when they were first seen.

`ROOT/NAME.lock.json` lies beside the dataset's folder, so that it survives the removal of the shards. A hash the
Hub stated outranks one measured on disk, which may have been taken from a file that was already broken.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .digests import Digest
from .errors import DataError, UserError
from .files import FileName, locked, read_small, replace_file

_GUARD_NAME = ".pins.lock"


class Pin(BaseModel):
    """What one file was when it was first seen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: Digest
    bytes: int = Field(ge=0)
    origin: Literal["hub", "disk"]


class Lock(BaseModel):
    """One lock file; `revision` is the commit that stood behind the manifest's revision."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1] = 1
    revision: str | None = None
    files: dict[FileName, Pin] = Field(default_factory=dict)


def lock_path(root: Path, name: str) -> Path:
    """Return where the lock file of the dataset `name` lies, present or not."""
    return root / f"{name}.lock.json"


def read_lock(root: Path, name: str) -> Lock:
    """Return the lock of the dataset `name`, an empty one where there is none; DataError if it is broken."""
    path = lock_path(root, name)
    try:
        return Lock.model_validate_json(read_small(path))
    except FileNotFoundError:
        return Lock()
    except (OSError, ValidationError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"{path}: expected a lock file of schema 1, found {found}; restore it.") from error


def hold_to_hub(root: Path, name: str, files: dict[str, Pin]) -> None:
    """Raise DataError where the Hub stated something else before, of bytes that were then verified.

    Then its files have changed under an immutable name, or somebody stands between.
    """
    lock = read_lock(root, name)
    for file, pin in files.items():
        known = lock.files.get(file)
        if known is not None and known.origin == "hub" and known != pin:
            raise DataError(
                f"{file}: expected sha256 {known.sha256} ({known.bytes:,} bytes) as pinned in "
                f"{lock_path(root, name)}, found that the Hub now states {pin.sha256} ({pin.bytes:,} bytes); "
                "find out why, and delete the pin only if the change is meant."
            )


def pin_from_hub(root: Path, name: str, revision: str, files: dict[str, Pin]) -> Lock:
    """Pin what the Hub states of files whose bytes have been verified, and return the lock.

    Raises DataError as hold_to_hub does.
    """
    with locked(_guard(root, name)):
        hold_to_hub(root, name, files)
        lock = read_lock(root, name)
        return _write(root, name, Lock(revision=revision, files=lock.files | files))


def pin_from_disk(root: Path, name: str, digests: dict[Path, str]) -> None:
    """Pin files nobody has pinned yet; a root that cannot be written is left as it is."""
    with suppress(OSError, UserError), locked(_guard(root, name)):
        lock = read_lock(root, name)
        seen = {
            path.name: Pin(sha256=sha256, bytes=os.path.getsize(path), origin="disk")
            for path, sha256 in digests.items()
        }
        _write(root, name, Lock(revision=lock.revision, files=seen | lock.files))


def _guard(root: Path, name: str) -> Path:
    return root / name / _GUARD_NAME


def _write(root: Path, name: str, lock: Lock) -> Lock:
    path = lock_path(root, name)
    text = lock.model_dump_json(indent=1) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        replace_file(path, [text.encode()])
    return lock
