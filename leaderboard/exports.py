"""Exports: standings as JSON, CSV, Markdown and Parquet."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data.files import replace_file
from harness.errors import UserError
from harness.standings import Standing
from harness.track import Track

from .markdown import standings_table
from .tables import frame, legend

FORMATS = ("json", "csv", "md", "parquet")


def export(rows: Sequence[Standing], track: Track, form: str) -> bytes:
    """The whole of what a file would hold. Newlines at the end, UTF-8."""
    if form == "json":
        return (json.dumps({"track": track.name, "standings": [asdict(row) for row in rows]}, default=str, indent=1)
                + "\n").encode()  # fmt: skip
    if form == "csv":
        return frame(rows).to_csv(index=False).encode()
    if form == "md":
        return (
            "\n".join([*standings_table(rows, track), *(["", legend(rows, track)] if rows else [])]) + "\n"
        ).encode()
    return bytes(frame(rows).astype({"date": "datetime64[s]"}).to_parquet(index=False))


def write_export(path: Path, content: bytes) -> None:
    """Atomically. Raises UserError where it cannot be written."""
    try:
        replace_file(path, [content])
    except OSError as error:
        raise UserError(f"expected a file that can be written at {path}, found: {error.strerror}") from error
