"""A board: the imported records of a track, ours, reported results, then local runs."""

from dataclasses import dataclass

from harness.formats import layout
from harness.formats.track import Track
from harness.records.standings import Standing, standings_of

from ..upstream.imported import below, imported_standings
from .entries import OnRead, read_entries

LOCAL_ROWS = 20


@dataclass(frozen=True, slots=True)
class Board:
    """Rows in the order they are shown, and a sentence for everything that had to be left out."""

    track: Track
    rows: tuple[Standing, ...]
    broken: tuple[str, ...]
    local_count: int = 0  # of the rows: the last so many are local runs

    @property
    def local(self) -> tuple[Standing, ...]:
        """The rows of local runs, oldest first."""
        return self.rows[len(self.rows) - self.local_count :]

    @property
    def held(self) -> list[Standing]:
        """The rows with a place, first record first; those of older major rules before all others."""
        return [row for row in self.rows if row.place is not None]


def read_board(track: Track, *, local: int | None = 0, fresh: bool = False, on_read: OnRead = lambda *_: None) -> Board:
    """The board of a track with its last `local` runs (None: all). fresh: read every record, index or not."""
    entries, broken = read_entries(track.name, fresh=fresh, on_read=on_read)
    rows = below(imported_standings(track), standings_of(entries, major=track.major))
    if layout.reported_files(track.name) or layout.reported_dirs_of(layout.records_root() / track.name):
        from .reported import reported_standings  # this and the next read runs, whose models take time to be made

        reported, broken_reports = reported_standings(track, fresh=fresh)
        rows, broken = [*rows, *reported], [*broken, *broken_reports]
    if local == 0 or not layout.runs_root().is_dir():
        return Board(track, tuple(rows), tuple(broken))
    from .local_runs import local_standings

    runs, broken_runs = local_standings(track, local)
    return Board(track, (*rows, *runs), (*broken, *broken_runs), len(runs))
