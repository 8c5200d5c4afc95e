"""A board: the rows of a track, imported records first, then ours, then local runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness import layout
from harness.errors import RecordError
from harness.run import RunRecord, read_run
from harness.standings import Standing, standings_of
from harness.track import Track

from .imported import below, imported_standings
from .index import OnRead, read_entries
from .reported import before_local, reported_standings

LOCAL_ROWS = 20


@dataclass(frozen=True, slots=True)
class Board:
    """Rows in the order they are shown, and a sentence for everything that had to be left out."""

    track: Track
    rows: tuple[Standing, ...]
    broken: tuple[str, ...]

    @property
    def held(self) -> list[Standing]:
        """The rows with a place, first record first."""
        return [row for row in self.rows if row.place is not None]


def read_board(track: Track, *, local: int | None = 0, fresh: bool = False, on_read: OnRead = lambda *_: None) -> Board:
    """The board of a track with its last `local` runs (None: all). fresh: read every record, index or not."""
    entries, broken = read_entries(track.name, fresh=fresh, on_read=on_read)
    runs, broken_runs = _local_runs(track, local)
    reported, broken_reports = reported_standings(track)
    rows = before_local(below(imported_standings(track), standings_of(entries, runs)), reported)
    return Board(track, tuple(rows), (*broken, *broken_reports, *broken_runs))


def _local_runs(track: Track, most: int | None) -> tuple[list[RunRecord], list[str]]:
    """The newest runs on a track, oldest first; no more are read than asked for."""
    runs: list[RunRecord] = []
    broken: list[str] = []
    for found in _newest_runs() if most != 0 else ():
        if isinstance(found, str):
            broken.append(found)
        elif found.track.name == track.name:
            runs.append(found)
        if len(runs) == most:
            break
    return runs[::-1], broken[::-1]


def _newest_runs() -> Iterator[RunRecord | str]:
    """Local runs and sentences about broken ones, newest first."""
    for folder in reversed(layout.local_run_dirs(layout.runs_root())):
        try:
            yield read_run(folder)
        except RecordError as error:
            yield str(error)
