"""A record: a judged campaign with a place in a track's history; immutable.

`record.json` holds what people say (title, authors, parents, a waiver's reason); every number is derived from the runs
beside it. Reading a record checks its ledger and that source and runs belong to it; `speedrun verify` checks all.

Schema history of record.json (never edited, only added to):
    1  2026-11  title, authors, date, parents; runs without a ledger; not read any more, no record of it is left
    2  2026-11  name, techniques, claim, waivers; a whole campaign, a verdict and a manifest beside it
"""

import os
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from ..campaigns.bundle import Bundle, read_refereed_bundle
from ..campaigns.campaign import Arm
from ..campaigns.evidence import Evidence, derive
from ..campaigns.track_match import bundle_track
from ..errors import RecordError, UserError, first_problem
from ..formats import layout
from ..formats.run import Finding, RunRecord, Section, SubmissionRef, errors_of
from ..system import clock
from ..system.plainfile import read_plain
from .acceptance import in_order
from .challenge import Challenge, read_challenges
from .manifest import read_manifest
from .signing import Signature, check_signature
from .source_size import SourceSize, source_size
from .vouching import ChallengedRecord


def one_line(text: str) -> str:
    """The text itself. Raises ValueError unless it is one printable line."""
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one printable line without blanks around it")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line)]
RecordName = Annotated[str, Field(pattern=layout.RECORD_NAME.pattern.replace(r"\Z", "$"), max_length=80)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]


class Waiver(Section):
    """Why a finding does not count; `speedrun rules` says which may be waived."""

    finding: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$", max_length=40)]  # its id
    reason: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(one_line)]


class Statement(Section):
    """record.json"""

    schema_version: Literal[2] = 2
    name: RecordName  # of the folder: a record that is renamed is noticed
    track: Slug
    title: Line
    authors: Annotated[tuple[Line, ...], Field(min_length=1, max_length=100)]
    date: date
    parents: Annotated[tuple[RecordName, ...], Field(max_length=100)] = ()  # the records it builds on
    techniques: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    claim: Literal["speed", "systems"] = "speed"  # systems: the same numbers, computed faster
    waivers: Annotated[tuple[Waiver, ...], Field(max_length=50)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record folder, read. Everything but the statement is derived."""

    name: str  # of the folder: <date>_<Name>
    statement: Statement
    runs: tuple[RunRecord, ...]  # of the candidate, those that count
    bundle: Bundle
    evidence: Evidence
    signature: Signature | None = None  # read only where it decides something: there are challenges
    signer: str | None = None  # fingerprint the manifest names
    challenges: tuple[Challenge, ...] = ()
    source: SourceSize | None = None  # None: it cannot be read

    @property
    def submission(self) -> SubmissionRef:
        return self.runs[0].submission

    @property
    def date(self) -> date:
        return self.statement.date

    @property
    def began_at(self) -> datetime:
        """When its campaign was planned."""
        return self.bundle.plan.created_at

    @property
    def rules_version(self) -> str:
        """Of the rules its runs were made under."""
        return self.runs[0].track.rules_version if self.runs else self.bundle.plan.track.rules_version

    @property
    def predecessors(self) -> frozenset[str]:
        """Names of the records it builds on or was raced against: they were accepted before it."""
        raced = self.bundle.plan.arm("baseline")
        return frozenset({*self.statement.parents, *([raced.record] if raced and raced.record else [])})

    @property
    def tier(self) -> str:
        """refereed; reproduced where another allowed signer's intact reproduction is attached, on unknown text too."""
        own = self.signature
        if own is not None and own.status == "good" and any(_vouches(c, own) for c in self.challenges):
            return "reproduced"
        return self.runs[0].tier


def _vouches(challenge: Challenge, own: Signature) -> bool:
    other = challenge.signature
    return (
        challenge.is_intact
        and challenge.on_unknown_text
        and challenge.kind == "reproduction"
        and other.status == "good"
        and other.key != own.key
        and other.principal != own.principal
    )


def read_record(folder: Path) -> Record:
    """Raises RecordError unless statement, ledger, runs and source are there and belong together."""
    record = load_record(folder)
    errors = errors_of(record.bundle.findings)
    if errors:
        raise RecordError(f"{folder}: {errors[0].sentence}; expected {errors[0].expected}, found {errors[0].found}")
    if not record.runs:
        raise RecordError(f"expected at least one run that counts in {folder}, found none")
    _check_track(folder, record.statement, record.runs)
    return replace(record, signer=read_manifest(folder).signer)


def load_record(folder: Path) -> Record:
    """A record of schema 2, however broken its campaign is: the bundle's findings tell. Raises RecordError."""
    path = folder / layout.RECORD_FILE
    statement = parse_statement(read_plain(path, layout.MAX_RECORD_BYTES, RecordError), path)
    bundle = read_record_bundle(folder)
    signers = signers_of(folder)
    track = bundle_track(folder)
    challenges = read_challenges(folder, ChallengedRecord(bundle=bundle, track=track), signers)
    return Record(
        name=folder.name,
        statement=statement,
        runs=tuple(bundle.runs("candidate")),
        bundle=bundle,
        evidence=derive(bundle, track),
        signature=check_signature(folder, signers) if challenges else None,
        challenges=challenges,
        source=_size(folder, bundle.plan.arms[0].submission),
    )


def _size(folder: Path, submission: SubmissionRef) -> SourceSize | None:
    try:
        return source_size(source_files(folder, "candidate", submission))
    except RecordError:
        return None


def parse_statement(content: bytes, path: Path) -> Statement:
    """Raises RecordError with the first key that is wrong."""
    try:
        return Statement.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error


def check_date(day: date) -> list[Finding]:
    """Nobody dates what they hand in so that all later ones stand before it."""
    last = clock.utc_now().date() + timedelta(days=1)  # a day: the author's time zone
    if day <= last:
        return []
    return [Finding.error("date_to_come", "it is dated in the future", f"{last} or earlier", str(day))]


def read_record_bundle(folder: Path) -> Bundle:
    """The campaign inside a record: its source lies at the top; a baseline that is another record is not here."""
    sources: dict[Arm, Path] = {"candidate": folder}
    if os.path.lexists(folder / layout.BASELINE_DIR):
        sources["baseline"] = folder / layout.BASELINE_DIR
    return read_refereed_bundle(folder, sources)


def signers_of(folder: Path) -> Path:
    """The allowed signers of the track a record belongs to; the file need not exist."""
    return folder.parent / layout.SIGNERS_FILE


def read_records(track: str) -> tuple[list[Record], list[str]]:
    """The records of a track in the order of acceptance, and a sentence for each folder that is not one."""
    return read_records_of(layout.records_root() / track)


def read_records_of(track_dir: Path) -> tuple[list[Record], list[str]]:
    """The same for a track's folder, wherever it is."""
    records, broken = [], []
    for folder in layout.record_dirs_of(track_dir):
        try:
            records.append(read_record(folder))
        except (UserError, ValueError, OSError, RecursionError) as error:  # no folder hides the others
            broken.append(str(error) if isinstance(error, UserError) else f"{folder} cannot be read: {error}")
    return in_order(records), broken


def source_files(folder: Path, arm: Arm, submission: SubmissionRef) -> dict[str, bytes]:
    """The bytes of an arm inside a record or a campaign, name to content. Raises RecordError."""
    places = {"candidate": (folder / layout.CANDIDATE_DIR, folder), "baseline": (folder / layout.BASELINE_DIR,)}
    place = next((p for p in places[arm] if p.is_dir()), places[arm][-1])
    return {name: read_plain(place / name, layout.MAX_RECORD_BYTES, RecordError) for name in submission.files}


def _check_track(folder: Path, statement: Statement, runs: tuple[RunRecord, ...]) -> None:
    found = {statement.track, *(run.track.name for run in runs)}
    if found != {folder.parent.name}:
        raise RecordError(f"{folder}: expected runs on track {folder.parent.name}, found {', '.join(sorted(found))}")
