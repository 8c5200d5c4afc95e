"""The submission somebody names, by a path to its source or as a record of the track."""

from dataclasses import dataclass
from pathlib import Path

from ..campaigns.ledger import read_ledger
from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.run import SubmissionRef, read_runs
from ..formats.submission import Submission, read_submission
from ..formats.track import Track
from .acceptance import of_major
from .record import Record, read_records


@dataclass(frozen=True, slots=True)
class NamedSubmission:
    submission: Submission
    record: str | None  # its name, where it is a record of this checkout


def find_submission(name: str, track: str) -> NamedSubmission:
    """A script, a folder with a train_gpt.py, a record's folder, or the name of a record of this track.

    Raises UserError when it is nothing of the kind.
    """
    path = Path(name)
    if (of := _track_and_record(name)) is not None:
        if of[0] not in (None, track):
            raise UserError(f"expected a record of {track}, found {name!r}; choose it with --track {of[0]}")
        path, name = layout.track_file(track).parent / of[1], of[1]
        if not path.is_dir():
            known = ", ".join(folder.name for folder in layout.record_dirs(track)) or "none"
            raise UserError(f"expected one of the records of {track}, {known}, found {name!r}")
    if not (path / layout.RECORD_FILE).is_file():
        return NamedSubmission(read_submission(path), None)
    is_known = any(folder.resolve() == path.resolve() for folder in layout.record_dirs(track))
    return NamedSubmission(_of_record(path), path.resolve().name if is_known else None)


def track_of_record(name: str) -> str | None:
    """The track of what is named, where it is a record of this checkout by its path or as track/record; else None."""
    of = _track_and_record(name)
    if of is not None:
        return of[0]
    folder = Path(name).resolve()
    known = layout.track_file(folder.parent.name).parent
    is_ours = layout.RECORD_NAME.match(folder.name) and folder.parent == known.resolve()
    return folder.parent.name if is_ours and (folder / layout.RECORD_FILE).is_file() else None


def _track_and_record(name: str) -> tuple[str | None, str] | None:
    """(track or None, record) of the words `record` and `track/record`; None where they are a path that is there."""
    track, _, record = name.rpartition("/")
    if not layout.RECORD_NAME.match(record) or Path(name).exists():
        return None
    is_track = bool(track) and "/" not in track and layout.track_file(track).is_file()
    return (track if is_track else None, record) if is_track or not track else None


def reigning_record(track: Track) -> tuple[Record | None, list[str]]:
    """The newest record under the track's major rules, and a sentence for each record that cannot be read."""
    records, broken = read_records(track.name)
    alike = of_major(records, track.major)
    return (alike[-1] if alike else None), broken


def standing_record(track: Track) -> NamedSubmission | None:
    """The source of the record to beat. None: the next one will be the first under the track's major rules."""
    record, _ = reigning_record(track)
    if record is None:
        return None
    return NamedSubmission(_of_record(layout.track_file(track.name).parent / record.name), record.name)


def find_baseline(name: str, track: Track) -> NamedSubmission:
    """What somebody wants to race. A record of older rules is a source like any other: its number counts no more.

    Raises UserError as `find_submission` does.
    """
    found = find_submission(name, track.name)
    current = {record.name for record in of_major(read_records(track.name)[0], track.major)}
    return found if found.record in current else NamedSubmission(found.submission, None)


def _of_record(folder: Path) -> Submission:
    """Exactly the files that ran, which lie among others; their digests are held when they are copied."""
    ref = _submission_ref(folder)
    return Submission(entry=ref.entry, root=folder, files=ref.files, bytes=ref.bytes, sha256=ref.sha256)


def _submission_ref(folder: Path) -> SubmissionRef:
    if (folder / layout.LEDGER_FILE).exists():
        plan = read_ledger(folder / layout.LEDGER_FILE).plan
        if plan is not None:
            return plan.arms[0].submission
    runs, broken = read_runs(folder / layout.RECORD_RUNS_DIR)
    if not runs:
        raise RecordError(broken[0] if broken else f"expected at least one run in {folder}, found none")
    return runs[0].submission
