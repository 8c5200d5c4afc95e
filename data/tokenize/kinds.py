"""What kind of file an input is, by what is in it: a name is a hint and no more."""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..files import LFS_POINTER, PACKED
from .batches import TEXT_FIELD

Kind = Literal["text", "lines", "parquet"]

MAX_LINE_BYTES = 2**26
_HEAD_BYTES = 2**16
_FIRST_LINES = 16
_POINTER_BYTES = 1_024  # Git LFS takes nothing longer for a pointer
_LINES_SUFFIXES = {".jsonl", ".ndjson"}
_LFS_POINTER = re.compile(
    rb"(?:\xef\xbb\xbf)?" + re.escape(LFS_POINTER) + rb"[^\r\n]*\r?\n(?:[^\r\n]*\r?\n)*?oid sha256:"
)
_ARRAY = re.compile(rb'\s*\[\s*(?:\{\s*"|\{\s*\}|$)')
_OBJECT = re.compile(rb'\s*\{\s*"')


def kind_of(path: Path) -> Kind:
    """Whether `path` holds documents as lines of JSON, rows of Parquet, or text.

    Raises DataError for what is packed, for a pointer of Git LFS, and for JSON that is not one object a line.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    packed = next((name for start, name in PACKED.items() if head.startswith(start)), None)
    if packed is not None:
        raise DataError(f"{path}: expected text, JSON lines or Parquet, found a file packed by {packed}; unpack it.")
    if _LFS_POINTER.match(head, 0, _POINTER_BYTES):
        raise DataError(
            f"{path}: expected text, JSON lines or Parquet, found a pointer of Git LFS; run `git lfs pull`."
        )
    suffix = path.suffix.lower()
    if suffix == ".parquet" or head.startswith(b"PAR1"):
        return "parquet"
    if suffix in _LINES_SUFFIXES:
        return "lines"
    if _ARRAY.match(head):
        raise DataError(
            f"{path}: expected one JSON object a line, found a JSON array; write its elements one a line "
            "(`jq -c '.[]'`)."
        )
    return "lines" if _OBJECT.match(head) and _is_line(path, is_json=suffix == ".json") else "text"


def _is_line(path: Path, *, is_json: bool) -> bool:
    """Whether one of the first lines is an object with a text: the very first may be broken. Raises DataError for
    another .json."""
    with path.open("rb") as file:
        lines = (line for line in iter(lambda: file.readline(MAX_LINE_BYTES), b"") if line.strip())
        for line in islice(lines, _FIRST_LINES):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict) and TEXT_FIELD in record:
                return True
    if is_json:
        raise DataError(
            f"{path}: expected one JSON object with a field `{TEXT_FIELD}` a line, found other JSON; write it so "
            "(`jq -c`)."
        )
    return False
