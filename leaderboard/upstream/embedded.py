"""Embedded scripts: the source a log begins with, taken apart into its files.

Since 2026 the source is several files, each after the first under a banner of three lines: dashes, `# name.py`, dashes.
A package's names have folders in them (`# track_1_short/model/gpt.py`), and some are of other languages (`.rs`).
"""

import hashlib
import re

from harness.records.source_size import SourceSize, source_size

MAIN = "train_gpt.py"
MAX_FILES = 1_000
_NAME = rb"(?:[\w-][\w.-]{0,79}/){0,12}[\w-][\w.-]{0,79}\.[A-Za-z]\w{0,7}"
_BANNER = re.compile(rb"^-{40}\n(?:#|//)[ \t]*(" + _NAME + rb")[ \t]*\n-{40}[ \t]*$", re.MULTILINE)


def split_source(source: bytes) -> dict[str, bytes]:
    """The files of an embedded source by name; what stands before the first banner is train_gpt.py.

    A name that comes twice is its first text: whoever prints two has one that did not run.
    """
    parts = _BANNER.split(source)
    files: dict[str, bytes] = {}
    if parts[0].strip() or len(parts) == 1:
        files[MAIN] = parts[0].strip(b"\n") + b"\n"
    for name, text in zip(parts[1 : 2 * MAX_FILES : 2], parts[2 : 2 * MAX_FILES + 1 : 2], strict=True):
        files.setdefault(name.decode(), text.strip(b"\n") + b"\n")
    return files


def entry_of(files: dict[str, bytes]) -> str:
    """The file to start: the training script at the top, or the one nearest to it."""
    named = [name for name in files if name.rpartition("/")[2] == MAIN]
    return min(named, key=lambda name: name.count("/"), default=next(iter(files)))


def size_of(source: bytes) -> SourceSize:
    """Of an embedded source; all of it is 0 for none."""
    return source_size(split_source(source) if source.strip() else {})


def digest(source: bytes) -> str:
    """The first 16 digits of the SHA-256 of a script, trailing space aside; empty for no script."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16] if source.strip() else ""
