"""Exports: standings as JSON, CSV, Markdown and Parquet."""

from collections.abc import Sequence
from pathlib import Path

from data.files import replace_file
from data.printing import spreadsheet_text
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats.section import Section
from harness.formats.track import Track
from harness.records.standings import Standing

from .markdown import standings_table
from .tables import frame, legend

FORMATS = ("json", "csv", "md", "parquet")


class Leaderboard(Section):
    """speedrun leaderboard"""

    track: str
    standings: list[Standing]


def export(rows: Sequence[Standing], track: Track, form: str) -> bytes:
    """The whole of what a file would hold. Newlines at the end, UTF-8."""
    if form == "json":
        answer = Leaderboard(track=track.name, standings=list(rows))
        return (json_text(answer) + "\n").encode()
    if form == "csv":
        return frame(rows).map(spreadsheet_text).to_csv(index=False).encode()
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
