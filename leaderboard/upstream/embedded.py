"""Embedded scripts: the source a log begins with, taken apart into its files.

Since 2026 the source is several files, each after the first under a banner of three lines: dashes, `# name.py`, dashes.
"""

import hashlib
import re

MAIN = "train_gpt.py"
_BANNER = re.compile(rb"^-{40}\n#[ \t]*([\w.-]{1,80}\.py)[ \t]*\n-{40}[ \t]*$", re.MULTILINE)


def split_source(source: bytes) -> dict[str, bytes]:
    """The files of an embedded source by name; what stands before the first banner is train_gpt.py."""
    parts = _BANNER.split(source)
    files = {MAIN: parts[0].strip(b"\n") + b"\n"}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        files[name.decode()] = text.strip(b"\n") + b"\n"
    return files


def digest(source: bytes) -> str:
    """The first 16 digits of the SHA-256 of a script, trailing space aside; empty for no script."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16] if source.strip() else ""
