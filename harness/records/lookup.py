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
from .record import read_records


@dataclass(frozen=True, slots=True)
class NamedSubmission:
    submission: Submission
    record: str | None  # its name, where it is a record of this checkout


def find_submission(name: str, track: str) -> NamedSubmission:
    """A script, a folder with a train_gpt.py, a record's folder, or the name of a record of this track.

    Raises UserError when it is nothing of the kind.
    """
    path = Path(name)
    if layout.RECORD_NAME.match(name) and not path.exists():
        path = layout.track_file(track).parent / name
        if not path.is_dir():
            known = ", ".join(folder.name for folder in layout.record_dirs(track)) or "none"
            raise UserError(f"expected one of the records of {track}, {known}, found {name!r}")
    if not (path / layout.RECORD_FILE).is_file():
        return NamedSubmission(read_submission(path), None)
    is_known = any(folder.resolve() == path.resolve() for folder in layout.record_dirs(track))
    return NamedSubmission(_of_record(path), path.resolve().name if is_known else None)


def standing_record(track: Track) -> NamedSubmission | None:
    """The record to beat: the newest under the track's major rules. None: the next one will be the first."""
    records = of_major(read_records(track.name)[0], track.major)
    if not records:
        return None
    name = records[-1].name
    return NamedSubmission(_of_record(layout.track_file(track.name).parent / name), name)


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
