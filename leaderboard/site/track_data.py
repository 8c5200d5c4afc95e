"""A collection: all that the site shows of one track, read from its folder and verified."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import RecordError, TrackError
from harness.formats import layout
from harness.formats.track import Track, load_track
from harness.records.acceptance import in_order
from harness.records.record import Record
from harness.records.reported import ReportedCampaign, shown_name
from harness.records.standings import Standing, standings
from harness.records.verification import VerificationReport, verify_track

from ..board.reported import campaign_standing
from ..upstream.audit import AuditRow, audit
from ..upstream.claim_rows import ClaimRow, read_claim_rows
from ..upstream.history import History, ImportedRecord, read_history
from ..upstream.imported import imported_standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A record folder of this checkout and what verification found out about it."""

    report: VerificationReport
    challenges: tuple[VerificationReport, ...] = ()
    standing: Standing | None = None  # None: it does not verify, so it holds no place

    @property
    def name(self) -> str:
        return self.report.path.name

    @property
    def record(self) -> Record | None:
        return self.report.record

    @property
    def problem(self) -> str:
        """The first thing that is wrong; empty for a record that holds."""
        return self.report.errors[0].sentence if self.report.errors else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A campaign of scripts that timed themselves. standing is None where something of it does not hold."""

    campaign: ReportedCampaign
    standing: Standing | None

    @property
    def name(self) -> str:
        return shown_name(self.campaign.folder)

    @property
    def problem(self) -> str:
        """The first thing that is wrong; empty for one that holds."""
        return self.campaign.errors[0].sentence if self.campaign.errors else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A row of another competition's table."""

    key: str  # its number, and a letter where a table has it twice
    record: ImportedRecord
    audited: AuditRow
    standing: Standing
    history: History = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One track. track is None where its file cannot be read: then it has a problem and nothing else."""

    name: str
    folder: Path
    track: Track | None
    own: tuple[Own, ...] = ()  # in order of acceptance
    imported: tuple[Imported, ...] = ()  # in the order of their table
    reported: tuple[Reported, ...] = ()  # by name; none of them holds a place
    claims: tuple[ClaimRow, ...] = ()  # never records
    problem: str = ""

    @property
    def broken(self) -> list[Own | Reported]:
        found: tuple[Own | Reported, ...] = (*self.own, *self.reported)
        return [one for one in found if one.standing is None]

    @property
    def reigning(self) -> Own | Imported | None:
        """The newest record that holds under today's major rules; of imported ones, the newest official one."""
        held = [own for own in self.own if own.standing is not None and not own.standing.older_rules]
        official = [found for found in self.imported if found.record.official]
        return held[-1] if held else official[-1] if official else None


def track_folders() -> list[Path]:
    """The folders that call themselves tracks, by name."""
    return [path.parent for path in layout.track_files()]


def read_collection(folder: Path) -> Collection:
    """Raises nothing for what is wrong in the folder: it is told."""
    try:
        track = load_track(str(folder / layout.TRACK_FILE))
        if track.name != folder.name:
            raise TrackError(f"expected a track called {folder.name}, found {track.name} in {folder.name}/track.toml")
    except TrackError as error:
        return Collection(name=folder.name, folder=folder, track=None, problem=_told(error, folder))
    imported, problem = _imported(track, folder)
    claims, broken_claims = _claims(track, folder)
    reports = verify_track(folder)
    own = _with_standings(_group(reports), track.major)
    offset = max((found.standing.place or 0 for found in imported), default=0)
    return Collection(
        name=track.name,
        folder=folder,
        track=track,
        own=tuple(_below(found, offset) for found in own),
        imported=imported,
        reported=tuple(
            Reported(campaign=report.reported, standing=campaign_standing(report.reported, track.major))
            for report in reports
            if report.reported is not None
        ),
        claims=claims,
        problem=problem or broken_claims or (reports[0].findings[0].sentence if reports[0].findings else ""),
    )


def _group(reports: list[VerificationReport]) -> list[Own]:
    """The records among the reports of a track, each with its challenges."""
    found: list[Own] = []
    for report in reports:
        if report.kind == "record":
            found.append(Own(report=report))
        elif report.kind == "challenge" and found:
            found[-1] = replace(found[-1], challenges=(*found[-1].challenges, report))
    return found


def _with_standings(found: list[Own], major: int) -> list[Own]:
    """In order of acceptance, older major rules first; broken ones last, without a place."""
    holding = {own.name: own for own in found if own.record is not None and own.report.holds}
    records = in_order([own.record for own in holding.values() if own.record is not None])
    placed = [replace(holding[row.name], standing=row) for row in standings(records, [], major=major)]
    return placed + [own for own in found if own.name not in holding]


def _below(own: Own, offset: int) -> Own:
    """Places go on where those of the imported records end."""
    if own.standing is None or own.standing.place is None:
        return own
    return replace(own, standing=replace(own.standing, place=own.standing.place + offset))


def _imported(track: Track, folder: Path) -> tuple[tuple[Imported, ...], str]:
    try:
        history = read_history(track.name)
    except RecordError as error:
        return (), _told(error, folder)
    if history is None:
        return (), ""
    rows = imported_standings(track, official_only=False)
    audited = audit(history, track)
    keys = _keys([record.number for record in history.records])
    found = zip(keys, history.records, audited, rows, strict=True)
    return tuple(Imported(key=k, record=r, audited=a, standing=s, history=history) for k, r, a, s in found), ""


def _claims(track: Track, folder: Path) -> tuple[tuple[ClaimRow, ...], str]:
    try:
        return tuple(read_claim_rows(track, read_history(track.name))), ""
    except RecordError as error:
        return (), _told(error, folder)


def _keys(numbers: list[int]) -> list[str]:
    """Numbers, made distinct: 21, 21-2."""
    seen: Counter[int] = Counter()
    keys = []
    for number in numbers:
        seen[number] += 1
        keys.append(f"{number}" if seen[number] == 1 else f"{number}-{seen[number]}")
    return keys


def _told(error: Exception, folder: Path) -> str:
    """An error's sentence with paths as they are in the repository: a page is no place for somebody's home folder."""
    return str(error).replace(f"{folder.parent.parent}/", "")
