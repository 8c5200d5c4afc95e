"""Exports: rows as JSON, CSV, Markdown and Parquet."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import replace_file
from data.printing import spreadsheet_text
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats.section import Section
from harness.formats.track import Track
from harness.records.standings import Standing

from ..board.columns import KEYS, joined, newest_first, values
from .markdown import standings_table
from .tables import legend

if TYPE_CHECKING:
    import pandas as pd  # a third of a second: only where a frame is asked for

FORMATS = ("json", "csv", "md", "parquet")


class Leaderboard(Section):
    """speedrun leaderboard"""

    track: str
    standings: list[Standing]


def export(rows: Sequence[Standing], track: Track, form: str) -> bytes:
    """The whole of what a file would hold, newest row first. Newlines at the end, UTF-8."""
    newest = newest_first(rows)
    if form == "json":
        return (json_text(Leaderboard(track=track.name, standings=newest)) + "\n").encode()
    if form == "csv":
        return csv_table(KEYS, (joined(values(row)) for row in newest))
    if form == "md":
        return (
            "\n".join([*standings_table(rows, track), *(["", legend(rows, track)] if rows else [])]) + "\n"
        ).encode()
    return bytes(frame(newest).astype({"date": "datetime64[s]"}).to_parquet(index=False))


def frame(rows: Sequence[Standing]) -> "pd.DataFrame":
    """One row per standing for pandas, columns as everywhere; authors, techniques and flags joined by a semicolon."""
    import pandas as pd

    return pd.DataFrame([joined(values(row)) for row in rows], columns=list(KEYS))


def standings_json(track: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    return (json.dumps({"track": track, "standings": list(rows)}, default=str, indent=1) + "\n").encode()


def csv_table(keys: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """UTF-8 with a header; no field is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet_text(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def write_export(path: Path, content: bytes) -> None:
    """Atomically. Raises UserError where it cannot be written."""
    try:
        replace_file(path, [content])
    except OSError as error:
        raise UserError(f"expected a file that can be written at {path}, found: {error.strerror}") from error
