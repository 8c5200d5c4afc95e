"""Verifying what was imported: histories and open claims, as far as they can be held against themselves.

Form, track, indices, and every relation between two numbers of a file. A claim of a table is somebody else's number and
may differ from its logs: by how much, and which flags of the audit it has, is stored with it and derived again here
from the runs in the file, so that an edited claim no longer fits. What runs say nothing of (a title, a name, a day, a
claim without logs) is what digests.json and --against are for.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from pydantic import ValidationError

from harness.errors import RecordError, TrackError, first_problem
from harness.formats import layout
from harness.formats.run import Finding
from harness.formats.track import load_track
from harness.system import clock
from harness.system.plainfile import read_plain

from .audit import audit, shown
from .history import MAX_HISTORY_BYTES, History, ImportedRecord, ShownByRuns, dangling, encode
from .open_claims import ClaimBoard, encode_claims

FLAGS = ("time-differs", "loss-differs", "runs-differ")  # of the audit: a claim is not what its runs show


def imported_findings(track_dir: Path) -> Iterator[Finding]:
    """What does not hold of a track's history.json and claims.json."""
    for name, kind in ((layout.HISTORY_FILE, History), (layout.CLAIMS_FILE, ClaimBoard)):
        path = track_dir / name
        if not path.exists() and not path.is_symlink():
            continue
        try:
            yield from _file_findings(track_dir, read_plain(path, MAX_HISTORY_BYTES, RecordError), kind)
        except RecordError as error:
            yield Finding.error("import_unreadable", str(error), "a plain file", "something else")


def _file_findings(track_dir: Path, raw: bytes, kind: type[History] | type[ClaimBoard]) -> Iterator[Finding]:
    name = layout.HISTORY_FILE if kind is History else layout.CLAIMS_FILE
    try:
        found = kind.model_validate_json(raw)
    except (ValidationError, RecursionError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        yield Finding.error("import_unreadable", f"{name} is not what its schema says", "its schema", problem)
        return
    history = found if isinstance(found, History) else found.as_history()
    canonical = encode(found) if isinstance(found, History) else encode_claims(found)
    if canonical != raw:
        yield Finding.error(
            "import_not_canonical", f"{name} is not written as the import writes it", "its one form", "another"
        )
    if history.track != track_dir.name:
        yield Finding.error("import_track", f"{name} is of another track", track_dir.name, history.track)
    if problem := dangling(history):
        yield Finding.error("import_dangling", f"{name} has indices of nothing", "indices that exist", problem)
        return
    yield from _runs(history, name)
    for record in history.records:
        yield from _record(history, record, name)
    if isinstance(found, History):
        yield from _claims(track_dir, history)


def _runs(history: History, name: str) -> Iterator[Finding]:
    """Each run: sizes are not negative, a run of a kind is there once, a copy has what it is a copy of."""
    seen: dict[tuple[int, str, int], int] = {}
    for number, run in enumerate(history.runs):
        place = (run.folder, run.file, run.position)
        if place in seen and name == layout.HISTORY_FILE:  # several pull requests may bring one folder
            yield _impossible(name, f"runs {seen[place]} and {number} are one run", "each once", run.file)
        seen[place] = number
        sizes = (run.val_loss or 0, run.train_time_ms or 0, run.step, run.total or 0, run.validations, run.position)
        if min(sizes) < 0:
            yield _impossible(name, f"run {number} has a negative number", "0 or more", f"{min(sizes)}")
        if run.copy_of is None:
            continue
        first = history.runs[run.copy_of]
        theirs, ours = (
            (first.val_loss, first.step, first.validations), (run.val_loss, run.step, run.validations)
        )  # fmt: skip
        if run.copy_of >= number or first.copy_of is not None or theirs != ours:
            yield _impossible(name, f"run {number} is no copy of run {run.copy_of}", f"{theirs}", f"{ours}")


def _record(history: History, record: ImportedRecord, name: str) -> Iterator[Finding]:
    """Each row: its own runs once, and a claim, a day, losses and words that can be."""
    what, claim, latest = f"row {record.number}", record.claim, clock.utc_now().date() + timedelta(days=1)
    if len(set(record.runs)) != len(record.runs) or set(record.runs) & set(record.baseline):
        yield _impossible(name, f"{what} counts a run twice", "each run once", f"{record.runs}, {record.baseline}")
    sizes = [size for size in (claim.train_time_s, claim.steps, claim.runs, claim.val_loss) if size is not None]
    if min(sizes, default=1) <= 0 or record.left_out < 0 or record.number < 0:
        yield _impossible(name, f"{what} claims what cannot be", "more than 0", f"{claim}")
    days: list[date] = [day for day in (record.date, record.merged) if day is not None]
    if days and max(days) > latest:
        yield _impossible(name, f"{what} is of the future", f"{latest} or earlier", f"{max(days)}")
    if any(loss < 0 for loss in record.losses) or any(q.runs < 1 or q.mean_val_loss < 0 for q in record.quoted):
        yield _impossible(name, f"{what} has a negative loss", "0 nats or more", f"{record.losses}")
    if not record.title.isprintable() or not all(author.isprintable() for author in record.authors):
        yield _impossible(name, f"{what} has a title or a name that cannot be shown", "printable text", "other text")


def _claims(track_dir: Path, history: History) -> Iterator[Finding]:
    """What each row's runs show beside its claim: as it is stored with it, and how many claims are something else."""
    try:
        track = load_track(str(track_dir / layout.TRACK_FILE))
    except TrackError:
        return  # a finding of the track
    rows = audit(history, track)
    for record, row in zip(history.records, rows, strict=True):
        derived = shown(record, row)
        if record.shown == derived:
            continue
        stored = "nothing" if record.shown is None else _told(record.shown, derived)
        sentence = f"{layout.HISTORY_FILE}: the claim of row {record.number} or its runs were edited"
        yield Finding.error("import_claim_edited", sentence, _told(derived, record.shown), stored)
    differing = [row for row in rows if {flag.id for flag in row.flags} & set(FLAGS)]
    if differing:
        sentence = f"{len(differing)} of {len(history.records)} imported claims differ from the runs in the file"
        expected = "what the logs show; `speedrun audit --flagged` has each"
        yield Finding.warning(
            "claims_differ", sentence, expected, f"rows {', '.join(str(row.number) for row in differing)}"[:200]
        )


def _told(ours: ShownByRuns, other: ShownByRuns | None) -> str:
    """What differs from the other, in words of the file."""
    values, others = ours.model_dump(), {} if other is None else other.model_dump()
    return (
        ", ".join(f"{name} {value}" for name, value in values.items() if value != others.get(name))[:200] or "nothing"
    )


def _impossible(name: str, sentence: str, expected: str, found: str) -> Finding:
    return Finding.error("import_impossible", f"{name}: {sentence}", expected, found)
