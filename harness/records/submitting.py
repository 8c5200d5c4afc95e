"""Submitting: a bundle becomes a record folder, whole or not at all.

Everything is put together and judged in memory, written to a temporary folder beside its place, verified there as
anybody would verify it, and renamed. Nobody types a number; what a person has to say are a title, names and a reason.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from data.files import sync_folder

from ..campaigns.bundle import Bundle, read_refereed_bundle
from ..campaigns.evidence import Evidence, derive
from ..campaigns.track_match import bundle_track, same_rules
from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.run import Finding, errors_of
from ..formats.track import Track, load_track
from ..system import clock, scratch
from ..system.plainfile import read_plain
from .acceptance import in_order, of_major
from .challenge import campaign_files
from .environments import lock_bytes
from .manifest import write_manifest
from .readme import readme_bytes
from .record import Record, Statement, Waiver, check_date, read_records_of, signers_of, source_files
from .signing import fingerprint_of_key, sign
from .tree_digest import add_to_digests
from .verdict import Verdict, derive_verdict, verdict_bytes
from .verification import NOT_IN_MANIFEST, VerificationReport, check_baseline, verify_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a person says about a bundle."""

    title: str
    authors: tuple[str, ...]
    name: str | None = None  # the second half of the folder's name; made of the title by default
    date: date
    techniques: tuple[str, ...] = ()
    claim: Literal["speed", "systems"] = "speed"
    parents: tuple[str, ...] | None = None  # the record it was raced against by default
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDraft:
    """A record that is judged but not written."""

    folder: Path  # where it will be
    track: Track
    record: Record
    bundle: Bundle
    evidence: Evidence
    verdict: Verdict
    findings: tuple[Finding, ...]  # of the verdict, and of the place it wants
    before: tuple[Record, ...]  # the records that stand, in order, those of older major rules first
    files: dict[str, bytes]  # relative name -> content, without the manifest

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors_of(self.findings)


def draft(folder: Path, claims: Claims, key: Path | None = None) -> RecordDraft:
    """Read and judge a bundle that `key` is going to sign. Raises RecordError or UserError where there is none."""
    if not (folder / layout.LEDGER_FILE).is_file():
        raise UserError(
            f"expected a bundle (the folder of `speedrun run --runs` or `compare`) at {folder}, found no "
            f"{layout.LEDGER_FILE} there; a single run cannot be submitted"
        )
    bundle = read_refereed_bundle(folder)
    track = bundle_track(folder)
    evidence = derive(bundle, track)
    track_dir = layout.records_root() / bundle.plan.track.name
    before, broken = read_records_of(track_dir)
    statement = _statement(claims, bundle)
    runs = tuple(bundle.runs("candidate"))
    if not runs:
        raise RecordError(f"expected at least one run of the candidate that counts in {folder}, found none")
    record = Record(name=statement.name, statement=statement, runs=runs, bundle=bundle, evidence=evidence)
    files = _files(bundle, statement, track, evidence, {other.name for other in before})
    verdict = derive_verdict(
        bundle,
        evidence,
        track,
        statement,
        _source_root(folder),
        predecessor=next(reversed(of_major(before, track.major)), None),
        record_bytes=sum(map(len, files.values())),
    )
    files[layout.VERDICT_FILE] = verdict_bytes(verdict)
    place = track_dir / statement.name
    findings = (
        *_place_findings(place, track, record, before, bundle),
        *missing_signature(signers_of(place), key),
        *_foreign(broken),
        *verdict.findings,
    )
    return RecordDraft(
        folder=place, track=track, record=record, bundle=bundle, evidence=evidence, verdict=verdict,
        findings=findings, before=tuple(before), files=files,
    )  # fmt: skip


def foreseen_findings(folder: Path) -> tuple[Finding, ...]:
    """What `submit` would find in a campaign, whatever its authors will say of it: no name, date or signature."""
    claims = Claims(title="A campaign", authors=("somebody",), date=clock.utc_now().date())
    try:
        findings = draft(folder, claims).findings
    except UserError as error:
        return (Finding.error("no_record", str(error), "a campaign that can be submitted", "this one"),)
    return tuple(finding for finding in findings if finding.id not in ("place_taken", "signature", "order"))


def write(draft: RecordDraft, key: Path | None = None) -> VerificationReport:
    """Make the record's folder, signed by `key` if there is one, and return what verification says of it.

    It appears whole or not at all. Raises UserError where the draft has errors, or where what was written does not
    verify; nothing is left behind then.
    """
    if draft.errors:
        raise UserError(f"expected a bundle without error-level findings, found {draft.errors[0].id}; nothing written")
    signer = None if key is None else fingerprint_of_key(key)
    scratch.sweep(draft.folder.parent)
    temporary = scratch.make_scratch(draft.folder.parent, ".submit")
    try:
        inner = temporary / draft.folder.parent.name / draft.folder.name
        inner.mkdir(parents=True)
        for name, content in draft.files.items():
            write_new(inner / name, content)
        write_manifest(inner, signer, NOT_IN_MANIFEST)
        if key is not None:
            sign(inner / layout.MANIFEST_FILE, key)
        for name in (layout.TRACK_FILE, layout.SIGNERS_FILE):  # verification looks at them beside the record
            if (draft.folder.parent / name).is_file():
                shutil.copy(draft.folder.parent / name, inner.parent / name)
        (report,) = verify_record(inner, list(draft.before))
        if not report.holds:
            first = report.errors[0]
            raise UserError(f"expected a record that verifies, found {first.id}: {first.sentence} ({first.found})")
        sync_tree(inner)
        if os.path.lexists(draft.folder):
            raise UserError(f"expected no record at {draft.folder}, found one; choose another --name")
        inner.rename(draft.folder)
        sync_folder(draft.folder.parent)
        add_to_digests(draft.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Make every name below a folder durable."""
    for parent, _, _ in os.walk(folder):
        sync_folder(Path(parent))


def parent_and_source(draft: RecordDraft) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The source of the first parent, or of the baseline it was raced against, and its own; its own twice where there
    is neither."""
    own = {name: draft.files[name] for name in draft.record.submission.files}
    named = {record.name: record for record in draft.before}
    parent = next((named[name] for name in draft.record.statement.parents if name in named), None)
    if parent is not None:
        return source_files(draft.folder.parent / parent.name, "candidate", parent.submission), own
    if draft.bundle.baseline is not None:
        return source_files(draft.bundle.folder, "baseline", draft.bundle.baseline), own
    return own, own


def _statement(claims: Claims, bundle: Bundle) -> Statement:
    """Raises UserError with the first thing said that cannot be."""
    from pydantic import ValidationError

    from ..errors import first_problem

    raced = bundle.plan.arm("baseline")
    default = (raced.record,) if raced and raced.record else ()
    try:
        return Statement(
            name=f"{claims.date}_{claims.name or name_of(claims.title)}",
            track=bundle.plan.track.name,
            title=claims.title,
            authors=claims.authors,
            date=claims.date,
            parents=default if claims.parents is None else claims.parents,
            techniques=claims.techniques,
            claim=claims.claim,
            waivers=claims.waivers,
        )
    except ValidationError as error:
        raise UserError(
            f"expected a statement about the record that can be kept, found {first_problem(error)}"
        ) from error


def name_of(title: str) -> str:
    """A folder's name from a title: its words in one, letters and digits of ASCII only."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in title).split()
    return "".join(word[0].upper() + word[1:] for word in words)[:40] or "Record"


def _files(
    bundle: Bundle, statement: Statement, track: Track, evidence: Evidence, records: set[str]
) -> dict[str, bytes]:
    """Everything in a record but its verdict and its manifest."""
    candidate, baseline = bundle.plan.arms[0].submission, bundle.plan.arm("baseline")
    files = source_files(bundle.folder, "candidate", candidate)
    if taken := sorted(name for name in files if name.partition("/")[0] in layout.RECORD_OWN):
        raise UserError(f"expected source files whose names a record does not use itself, found {taken[0]}; rename it")
    if baseline is not None and (baseline.record is None or baseline.record not in records):
        own = source_files(bundle.folder, "baseline", baseline.submission)
        files |= {f"{layout.BASELINE_DIR}/{name}": content for name, content in own.items()}
    for name in campaign_files(bundle):
        if os.path.lexists(bundle.folder / name):
            files[name] = read_plain(bundle.folder / name, layout.MAX_RECORD_BYTES, RecordError)
    files[layout.LOCK_FILE] = lock_bytes(bundle.runs("candidate")[0].environment)
    files[layout.RECORD_FILE] = (statement.model_dump_json(indent=1) + "\n").encode()
    files[layout.README_FILE] = readme_bytes(statement, evidence, bundle)
    return files


def _source_root(folder: Path) -> Path:
    return folder / layout.CANDIDATE_DIR


def _place_findings(
    place: Path, track: Track, record: Record, before: Sequence[Record], bundle: Bundle
) -> list[Finding]:
    """What keeps a record from the place it wants, however good it is."""
    findings = []
    try:
        current = load_track(str(place.parent / layout.TRACK_FILE))
    except UserError as error:
        return [Finding.error("track_unknown", str(error), "a track of this checkout", track.name)]
    if not same_rules(track, current):
        expected = f"the rules of {place.parent / layout.TRACK_FILE}, {current.rules_version}"
        sentence = "the campaign was run under other rules than this checkout's"
        findings.append(Finding.error("track_changed", sentence, expected, f"{track.name} {track.rules_version}"))
    if os.path.lexists(place):
        findings.append(Finding.error("place_taken", "there is a record of this name", "another --name", place.name))
    elif in_order([*before, record])[-1] is not record:
        sentence = "it would stand before a record that was accepted earlier"
        findings.append(
            Finding.error(
                "order",
                sentence,
                f"a date, or a parent, that puts it after {before[-1].name}",
                str(record.statement.date),
            )
        )
    findings += check_date(record.statement.date)
    findings += check_baseline(bundle, of_major(before, track.major), own=True)
    known = {other.name for other in before}
    for parent in record.statement.parents:
        if parent not in known:
            findings.append(Finding.error("parent_unknown", "a parent is no record of this track", "a record", parent))
    return findings


def missing_signature(signers: Path, key: Path | None) -> list[Finding]:
    """What a track that knows its signers says where nobody signs."""
    if key is not None or not signers.exists():
        return []
    expected = f"--key with a key of {layout.SIGNERS_FILE}"
    return [Finding.error("signature", "this track wants signatures by keys it knows", expected, "no key")]


def _foreign(broken: Sequence[str]) -> list[Finding]:
    """A record that cannot be read might be the reigning one: nothing is accepted over it."""
    return [
        Finding.error("record_unreadable", sentence, "records that can be read", "one that cannot")
        for sentence in broken
    ]
