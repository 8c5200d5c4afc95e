"""Local runs, refereed and self-timed ones, as rows of a board."""

from collections.abc import Iterator

from harness.errors import RecordError
from harness.formats import layout
from harness.formats.run import RunRecord, read_run
from harness.formats.track import Track
from harness.records.standings import Standing, standings_of
from harness.selftimed.record import SelfTimedRecord, read_self_timed, self_timed_dirs
from harness.status import Status

from .reported import local_standing


def local_standings(track: Track, most: int | None) -> tuple[list[Standing], list[str]]:
    """The newest runs on a track (None: all), oldest first; no more are read than asked for.

    And a sentence for each folder that cannot be read, of whatever track.
    """
    rows: list[Standing] = []
    broken: list[str] = []
    for found in _newest_runs() if most != 0 else ():
        if isinstance(found, str):
            broken.append(found)
        elif found.track is not None and found.track.name == track.name and not _never_began(found):
            rows += (
                [local_standing(found)]
                if isinstance(found, SelfTimedRecord)
                else standings_of((), (found,), major=track.major)
            )
        if len(rows) == most:
            break
    return rows[::-1], broken[::-1]


def _never_began(run: RunRecord | SelfTimedRecord) -> bool:
    """Refused before a sandbox was chosen, as for its source: its folder says why, and a board has no place for it."""
    return isinstance(run, RunRecord) and run.sandbox is None and run.status not in (Status.STARTED, Status.ABANDONED)


def _newest_runs() -> Iterator[RunRecord | SelfTimedRecord | str]:
    """Local runs, refereed and self-timed ones, and sentences about broken ones, newest first."""
    root = layout.runs_root()
    refereed, self_timed = layout.local_run_dirs(root), set(self_timed_dirs(root))
    for folder in sorted({*refereed, *self_timed}, key=lambda folder: folder.name, reverse=True):
        try:
            yield read_self_timed(folder) if folder in self_timed else read_run(folder)
        except RecordError as error:
            yield str(error)
