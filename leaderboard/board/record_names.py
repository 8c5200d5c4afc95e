"""References: what a person calls a record, found among the tracks of this checkout.

A record is called by its name, track/name, path, or any part that only it has; an imported one by track/number
(gpt2-small-8xh100/88), by the name on the board (modded-nanogpt 88), or by a part of its title. A reported campaign is
called as a record is, by the campaign's name.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.formats import layout

from ..upstream.history import ImportedRow, read_history, row_numbers

SHOWN = 6  # names in a sentence


@dataclass(frozen=True, slots=True)
class TrackFolder:
    """A folder of this checkout that a row of a board stands for, readable or not."""

    track: str
    folder: Path

    @property
    def key(self) -> str:
        return f"{self.track}/{self.folder.name}"

    @property
    def names(self) -> tuple[str, ...]:
        return self.key, self.folder.name


class OwnRecord(TrackFolder):
    """A record."""


class ReportedFolder(TrackFolder):
    """A campaign of scripts that timed themselves: on the board of its track, and no record."""


Reference = OwnRecord | ReportedFolder | ImportedRow


def find_record(text: str, track: str | None = None) -> Reference:
    """The record that somebody means. Raises UserError with the nearest names, or with those it could be."""
    if (given := _by_path(text)) is not None:
        return given
    known = list(references(track))
    wanted = text.strip("/").casefold()
    for matches in (
        [found for found in known if wanted in (name.casefold() for name in found.names)],
        [found for found in known if wanted and any(wanted in name.casefold() for name in found.names)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"expected the name of one record, found {text!r}, which could be {_listed(matches)}")
    names = {name: found for found in known for name in found.names}
    close = [names[name] for name in difflib.get_close_matches(text, names, n=3)]
    hint = f"; did you mean {_listed(close)}?" if close else "; `speedrun leaderboard` lists them"
    raise UserError(f"expected a record by name, track/name, path or part of its name, found {text!r}{hint}")


def references(track: str | None = None) -> Iterator[Reference]:
    """Every record of a track, or of all."""
    for name in [track] if track else [path.parent.name for path in layout.track_files()]:
        for folder in layout.record_dirs(name):
            yield OwnRecord(name, folder)
        for folder in layout.reported_dirs_of(layout.records_root() / name):
            yield ReportedFolder(name, folder)
        history = read_history(name)
        if history is not None:
            for index, number in enumerate(row_numbers(history)):
                yield ImportedRow(name, history, index, number)


def _by_path(text: str) -> OwnRecord | ReportedFolder | None:
    """A folder on disk that is, or was meant to be, a record or a reported campaign."""
    if "/" not in text and not text.startswith("."):
        return None
    folder = Path(text).absolute()
    if folder.name in (layout.RECORD_FILE, layout.REPORTED_FILE):
        folder = folder.parent
    try:
        is_record = folder.is_dir() and (folder / layout.RECORD_FILE).exists()
        is_reported = folder.is_dir() and (folder / layout.REPORTED_FILE).exists()
    except (OSError, ValueError):  # a name no file system would take
        return None
    if is_reported and not is_record:
        return ReportedFolder(folder.parent.parent.name, folder)
    return OwnRecord(folder.parent.name, folder) if is_record else None


def _listed(found: list[Reference]) -> str:
    names = list(dict.fromkeys(one.key for one in found))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
