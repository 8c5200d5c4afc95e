"""The pages of a record's source: highlighted, and beside the record it builds on."""

from dataclasses import dataclass

from markupsafe import Markup

from harness.campaigns.campaign import Arm
from harness.errors import RecordError
from harness.records.record import Record, source_files

from . import addresses
from .diffs import FileDiff, diff_trees
from .highlighting import Allowance, Keep, fitting, source_text
from .tables import Part
from .track_data import Collection, Own


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    name: str
    bytes: int
    lines: tuple[Markup, ...]
    raw: str
    cut: bool  # not all of it is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """What source.html shows."""

    own: Own
    track: str
    sha256: str
    files: tuple[FileView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffView:
    """What diff.html shows."""

    own: Own
    track: str
    against: Part | None
    files: tuple[FileDiff, ...]

    @property
    def added(self) -> int:
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        return sum(file.removed for file in self.files)


def read_source(own: Own, arm: Arm = "candidate") -> dict[str, bytes]:
    """An arm's files, name to content; none where they cannot be read."""
    record = own.record
    found = None if record is None else record.submission
    if record is not None and arm == "baseline":
        found = record.bundle.baseline
    try:
        return {} if found is None else source_files(own.report.path, arm, found)
    except RecordError:
        return {}


def source_view(own: Own, track: str, files: dict[str, bytes], keep: Keep) -> SourceView:
    assert own.record is not None
    shown, allowance = [], Allowance()
    for number, (name, content) in enumerate(files.items()):
        lines, cut = fitting(name, source_text(content).removesuffix("\n"), allowance, keep)
        raw = addresses.raw_source(track, own.name, number)
        shown.append(FileView(name=name, bytes=len(content), lines=tuple(lines), raw=raw, cut=cut))
    return SourceView(own=own, track=track, sha256=own.record.submission.sha256, files=tuple(shown))


def diff_view(own: Own, collection: Collection, files: dict[str, bytes], keep: Keep) -> DiffView:
    """Against its first parent of this track, else the record or the baseline it was raced against."""
    assert own.record is not None
    against, old = _ancestor(own, own.record, collection)
    diffs = diff_trees(old, files, keep) if against else []
    return DiffView(own=own, track=collection.name, against=against, files=tuple(diffs))


def _ancestor(own: Own, record: Record, collection: Collection) -> tuple[Part | None, dict[str, bytes]]:
    known = {other.name: other for other in collection.own if other.record is not None and other is not own}
    baseline = record.bundle.plan.arm("baseline")
    raced = (baseline.record,) if baseline and baseline.record else ()
    for name in (*record.statement.parents, *raced):
        if name in known and (old := read_source(known[name])):
            return Part(name, addresses.record(collection.name, name)), old
    old = read_source(own, "baseline")
    return (Part("the baseline it brought along"), old) if old else (None, {})
