"""Plain files that somebody hands us: no link, no pipe that never ends, no device, no more bytes than expected."""

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from ..errors import UserError


def read_plain(path: Path, max_bytes: int, error_kind: type[UserError] = UserError) -> bytes:
    """The content of a file, opened once: what is looked at is what is read.

    Raises error_kind in one sentence when it is not there, not plain, not readable, or longer than max_bytes.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error_kind(f"expected a plain file, found a special file at {path}")
            content = file.read(max_bytes + 1)
    except OSError as error:
        found = "a link" if error.errno == errno.ELOOP else error.strerror
        raise error_kind(f"expected a plain, readable file, found {found} at {path}") from error
    if len(content) > max_bytes:
        raise error_kind(f"expected at most {max_bytes:,} bytes, found more at {path}")
    return content


def read_toml(content: bytes, path: Path, error_kind: type[UserError] = UserError) -> dict[str, Any]:
    """TOML that a stranger wrote. Raises error_kind also for nesting without end and numbers of thousands of digits."""
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8 and of numbers too long to convert
        found = "nesting without end" if isinstance(error, RecursionError) else error
        raise error_kind(f"expected TOML in {path}, found: {found}") from error


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
