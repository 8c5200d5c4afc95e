"""Files that are there in full or not at all."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Annotated, BinaryIO

from pydantic import AfterValidator

from .errors import UserError

TEMPORARY_SUFFIX = ".tmp"
LFS_POINTER = b"version https://git-lfs"  # what Git LFS leaves in a file's place begins so
PACKED = {  # what a packed file begins with
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf": "7-zip",
}  # fmt: skip
MAX_SMALL_BYTES = 2**24  # of manifests, lock files, journals, caches


def _plain_file_name(name: str) -> str:
    if PurePath(name).name != name:
        raise ValueError("must be a file name without a folder")
    return name


FileName = Annotated[str, AfterValidator(_plain_file_name)]


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts` one after the other to `path`, atomically and durably.

    A reader sees the old file or the whole new one, also after a power cut: the bytes go to a temporary name in
    the same folder, are synced, renamed, and the folder is synced. A killed writer leaves at most a hidden
    `.NAME.*.tmp`. Raises OSError as the operating system does.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    # O_EXCL with the usual mode, not mkstemp: its 0600 would hide shards from a sandbox with another uid.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            _sync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_small(path: Path, max_bytes: int = MAX_SMALL_BYTES) -> bytes:
    """The content of a file of ours that somebody may have put another thing in the place of.

    Raises OSError as the operating system does, and for a pipe, which would never end, a device, or more bytes.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "a special file", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", str(path))
    return content


def write_output(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """replace_file for what a person asked for at a place of their choice. Raises UserError where it cannot be."""
    try:
        replace_file(path, parts)
    except OSError as error:
        raise UserError(
            f"expected a file that can be written at {path}, found {error.strerror}; name another"
        ) from error


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the length of a `with`; `on_wait` is called once where another holds it.

    The kernel frees the lock of a killed process. Not re-entrant. Raises UserError where there can be no lock: a
    folder that cannot be written, a file system that refuses locks.
    """
    with _open_lock(path) as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{refused_lock(path, error)}; move the folder to one that has them") from error
        yield


def _open_lock(path: Path) -> BinaryIO:
    try:
        return open(path, "ab", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK, 0o666))
    except OSError as error:
        raise UserError(f"expected a folder to write to, found {error.strerror} at {path}") from error


def is_locked(path: Path) -> bool | None:
    """Whether somebody holds the lock file, in whatever container of this machine; None where that cannot be told.

    The kernel knows, which gives the lock of the dead back. To ask takes it for a moment beside other askers.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def refused_lock(path: Path, error: OSError) -> str:
    """Half a sentence: a lock was wanted, and the file system (NFS, Lustre, FUSE) has none to give."""
    return f"expected a file system that can lock files, found that it refuses to at {path} ({error.strerror})"


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """As durable as the file system can make it: some have no way to sync (FUSE), and say so."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
