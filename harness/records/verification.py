"""Verification: everything a record or a bundle says, derived again from its raw runs.

Nothing is taken on trust: not the order of the ledger, the digests, the manifest or its signature, not the source, the
package lock, the evidence, the findings or the size. What holds here holds for whoever runs it anywhere.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from ..campaigns.bundle import Bundle, read_bundle
from ..campaigns.copies import copied
from ..campaigns.evidence import Evidence, derive
from ..campaigns.track_match import bundle_track, contest_findings, known_rules, spoken_findings
from ..errors import RecordError, TrackError, UserError
from ..formats import layout
from ..formats.run import Finding, errors_of
from ..formats.track import load_track
from ..selftimed.record import read_self_timed
from ..system import scratch
from ..system.plainfile import read_plain
from .acceptance import in_order, of_major
from .challenge import Challenge, campaign_files, signature_findings
from .environments import lock_bytes
from .manifest import Manifest, check_manifest
from .record import Record, Statement, check_date, load_record, read_records_of, signers_of
from .reported import ReportedCampaign, read_all_reported, read_reported
from .signing import Signature, check_signature
from .tree_digest import against, tree_findings
from .verdict import WaivedFinding, derive_verdict, difference, read_verdict

Imported = Callable[[Path], Iterable[Finding]]  # a track's folder -> what of its imported rows does not hold
NOT_IN_MANIFEST = frozenset({layout.README_FILE, layout.CHALLENGES_DIR})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What verification found out about one folder."""

    path: Path
    kind: Literal["record", "challenge", "bundle", "track", "tree", "reported"]
    findings: tuple[Finding, ...] = ()
    waived: tuple[WaivedFinding, ...] = ()
    record: Record | None = None  # where it could be read
    reported: ReportedCampaign | None = None
    predecessor: Record | None = None  # the record it was judged against
    evidence: Evidence | None = None
    signature: Signature | None = None
    digest: str | None = None  # of a tree's digests.json

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors_of(self.findings)

    @property
    def holds(self) -> bool:
        return not self.errors


def verify_each(
    paths: list[Path], imported: Imported = lambda _: (), *, deep: bool = False
) -> Iterator[VerificationReport]:
    """Verify records, tracks, folders of tracks and bundles, one after the other.

    imported: what does not hold of the rows that a track's folder has from elsewhere. deep: make training shards anew
    too, where runs spoke languages of their own, not only their validation text. Raises UserError for a path that is
    none of them.
    """
    reports = chain.from_iterable(_verify_path(path.absolute(), imported) for path in paths)
    return (with_texts(report, deep=deep) for report in reports)


def with_texts(report: VerificationReport, *, deep: bool) -> VerificationReport:
    """The report, and what the texts of its runs are not, made anew from the secrets that the runs revealed."""
    if report.kind == "track" or (bundle := _bundle_of(report)) is None:
        return report
    findings = spoken_findings(bundle, bundle_track(bundle.folder), deep=deep)
    return replace(report, findings=(*report.findings, *findings))


def _bundle_of(report: VerificationReport) -> Bundle | None:
    """The campaign a report is about; None where it cannot be read, which is a finding already."""
    if report.record is not None:
        return report.record.bundle
    try:
        return read_bundle(report.path, {}) if report.kind in ("bundle", "challenge") else None
    except RecordError:
        return None


def verify_against(path: Path, other: str) -> VerificationReport:
    """A folder of tracks held against a copy of it elsewhere. Raises UserError where either is none."""
    root = path.absolute()
    if not any(root.glob(f"*/{layout.TRACK_FILE}")):
        raise UserError(f"expected a folder of tracks to hold against {other}, found none at {path}")
    return VerificationReport(path=root, kind="tree", findings=tuple(against(root, other)))


def _verify_path(path: Path, imported: Imported) -> Iterable[VerificationReport]:
    if not os.path.lexists(path):
        raise UserError(f"expected a record, a bundle, a track or a folder of tracks, found nothing at {path}")
    if os.path.lexists(path / layout.RECORD_FILE) or layout.RECORD_NAME.match(path.name):
        return verify_record(path, read_records_of(path.parent)[0])
    if os.path.lexists(path / layout.REPORTED_FILE) or (path.parent.name == layout.REPORTED_DIR and path.is_dir()):
        return [_report_campaign(read_reported(path))]
    if (path / layout.LEDGER_FILE).is_file():
        return [verify_bundle(path)]
    if (path / layout.TRACK_FILE).is_file():
        return _each_of_track(path, imported)
    tracks = sorted(file.parent for file in path.glob(f"*/{layout.TRACK_FILE}"))
    if not tracks:
        raise UserError(f"expected a record, a bundle, a track or a folder of tracks, found none of them at {path}")
    return chain([_verify_tree(path)], chain.from_iterable(_each_of_track(track, imported) for track in tracks))


def _verify_tree(root: Path) -> VerificationReport:
    """Every file below a folder of tracks against its digests, and whatever there is no track."""
    findings, digest = tree_findings(root)
    for entry in sorted(root.iterdir()):
        if entry.name != layout.DIGESTS_FILE and not (entry / layout.TRACK_FILE).is_file():
            expected = f"folders with a {layout.TRACK_FILE}"
            findings.append(Finding.error("foreign", f"{entry.name!r} is no track", expected, entry.name))
    return VerificationReport(path=root, kind="tree", findings=tuple(findings), digest=digest)


def verify_track(track_dir: Path) -> list[VerificationReport]:
    """Every record of a track with its challenges, after a report that nothing else lies among them."""
    return list(_each_of_track(track_dir))


def _each_of_track(track_dir: Path, imported: Imported = lambda _: ()) -> Iterator[VerificationReport]:
    allowed = {
        layout.TRACK_FILE, layout.SIGNERS_FILE, layout.HISTORY_FILE, layout.CLAIMS_FILE, layout.PAST_RULES_DIR,
        layout.REPORTED_DIR, layout.LOCKS_DIR,
    }  # fmt: skip
    being_made = scratch.sweep(track_dir)
    others = [p for p in sorted(track_dir.iterdir()) if p.name not in allowed and not layout.RECORD_NAME.match(p.name)]
    foreign = [p for p in others if p not in being_made]
    findings = [
        Finding.error("foreign", f"{p.name} is no record", "records and the track's own files", p.name) for p in foreign
    ]
    try:
        load_track(str(track_dir / layout.TRACK_FILE))
    except TrackError as error:
        findings.append(Finding.error("track", str(error), "a track", "none that can be read"))
    records, _ = read_records_of(track_dir)
    yield VerificationReport(
        path=track_dir, kind="track", findings=(*findings, *_reported(track_dir), *imported(track_dir))
    )
    yield from map(_report_campaign, read_all_reported(track_dir))
    for folder in layout.record_dirs_of(track_dir):
        yield from _whatever_happens(folder, records)


def _whatever_happens(folder: Path, records: list[Record]) -> list[VerificationReport]:
    """A record, whatever it does to its readers: no folder keeps the others from being verified."""
    try:
        return verify_record(folder, records)
    except (UserError, ValueError, TypeError, LookupError, ArithmeticError, OSError, RecursionError) as error:
        sentence = f"{folder.name} cannot be verified"
        finding = Finding.error(
            "unreadable", sentence, "a folder that can be read", f"{type(error).__name__}: {error}"[:300]
        )
        return [VerificationReport(path=folder, kind="record", findings=(finding,))]


def _reported(track_dir: Path) -> Iterator[Finding]:
    """Whatever lies among a track's reported results and is none: another file, another track, no measured loss.

    Folders among them are campaigns, and have reports of their own.
    """
    folder, campaigns = track_dir / layout.REPORTED_DIR, layout.reported_dirs_of(track_dir)
    if folder.is_symlink():
        yield Finding.error("reported", f"{folder.name} is no folder", "a folder", "a link")
        return
    for path in sorted(set(folder.iterdir()).difference(campaigns)) if folder.is_dir() else ():
        try:
            if path.is_symlink():
                raise RecordError(f"expected a file, found a link at {path}")
            result = read_self_timed(path)
        except UserError as error:
            yield Finding.error("reported", f"{path.name} is no reported result", "a legacy.json", str(error))
            continue
        found = "none" if result.track is None else result.track.name
        if found != track_dir.name or result.measured is None:
            expected = f"a measured loss on {track_dir.name}"
            yield Finding.error("reported", f"{path.name} has no place on this board", expected, f"track {found}")


def _report_campaign(found: ReportedCampaign) -> VerificationReport:
    return VerificationReport(
        path=found.folder, kind="reported", findings=found.findings, reported=found, evidence=found.evidence,
        signature=found.signature,
    )  # fmt: skip


def verify_bundle(folder: Path) -> VerificationReport:
    """A campaign that is no record yet: its ledger, its runs, its source. The rules are judged when it is submitted."""
    try:
        bundle, track = read_bundle(folder), bundle_track(folder)
    except RecordError as error:
        return VerificationReport(path=folder, kind="bundle", findings=(_unreadable(error),))
    findings = (*bundle.findings, *contest_findings(bundle, track))
    return VerificationReport(path=folder, kind="bundle", findings=findings, evidence=derive(bundle, track))


def verify_record(folder: Path, records: list[Record]) -> list[VerificationReport]:
    """A record and its challenges. `records` are those of its track; those before it are what it is judged against."""
    if folder.is_symlink() or not folder.is_dir():
        finding = Finding.error("not_plain", f"{folder.name} is no record", "a folder", "something else")
        return [VerificationReport(path=folder, kind="record", findings=(finding,))]
    scratch.sweep(folder / layout.CHALLENGES_DIR)
    manifest, findings = check_manifest(folder, NOT_IN_MANIFEST)
    signature = check_signature(folder, signers_of(folder))
    named = manifest.signer if manifest else None
    findings += signature_findings(signature, named, signers_of(folder).exists())
    report = VerificationReport(path=folder, kind="record", findings=tuple(findings), signature=signature)
    try:
        record = load_record(folder)
        report = replace(report, record=record, evidence=record.evidence)
        report = _judged(report, record, manifest, records)
    except RecordError as error:
        report = replace(report, findings=(*report.findings, _unreadable(error)))
    challenges = report.record.challenges if report.record else ()
    return [report, *(_report_challenge(folder, challenge) for challenge in challenges)]


def _judged(
    report: VerificationReport, record: Record, manifest: Manifest | None, records: list[Record]
) -> VerificationReport:
    """The report with everything that needs a readable record."""
    folder, bundle = report.path, record.bundle
    before = predecessors(record, records)
    track = bundle_track(folder)
    raced = of_major(before, track.major)  # of older rules there are parents, but nothing to race
    rules_hold, findings = known_rules(track, folder.parent)
    findings += _check_statement(folder, record.statement, before)
    findings += _check_files(folder, record, manifest)
    findings += check_baseline(bundle, raced, own=(folder / layout.BASELINE_DIR).is_dir())
    findings += check_copies(bundle, before)
    findings += _check_lock(folder, record)
    derived = derive_verdict(
        bundle,
        record.evidence,
        track,
        record.statement,
        folder,
        predecessor=raced[-1] if raced else None,
        record_bytes=record_bytes(folder),
    )
    kept = read_verdict(folder)
    differs = difference(kept, derived, rules_hold)
    if differs is not None:
        findings.append(
            Finding.error("verdict_differs", "verdict.json is not what its runs show", differs[1], differs[0])
        )
    judged = derived.findings if rules_hold else (*kept.findings, *bundle.findings)
    return replace(
        report,
        findings=tuple(dict.fromkeys((*report.findings, *findings, *judged))),
        waived=derived.waived,
        predecessor=raced[-1] if raced else None,
    )


def predecessors(record: Record, records: list[Record]) -> list[Record]:
    """The records accepted before this one, in order, those of older major rules first."""
    ordered = in_order([*(other for other in records if other.name != record.name), record])
    return ordered[: ordered.index(record)]


def record_bytes(folder: Path) -> int:
    """Everything a record takes in git but what was attached to it later."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(p.stat().st_size for p in paths if p.relative_to(folder).parts[0] != layout.CHALLENGES_DIR)


def _check_statement(folder: Path, statement: Statement, before: list[Record]) -> list[Finding]:
    findings = check_date(statement.date)
    if statement.name != folder.name or not statement.name.startswith(f"{statement.date}_"):
        findings.append(
            Finding.error("renamed", "the folder is not named as its statement says", statement.name, folder.name)
        )
    if statement.track != folder.parent.name:
        findings.append(
            Finding.error("own_track", "the statement names another track", folder.parent.name, statement.track)
        )
    names = {record.name for record in before}
    for parent in statement.parents:
        if parent not in names:
            findings.append(
                Finding.error("parent_unknown", "a parent is no earlier record of this track", "a record", parent)
            )
    return findings


def _check_files(folder: Path, record: Record, manifest: Manifest | None) -> list[Finding]:
    """A record holds what it needs, and nothing else."""
    findings: list[Finding] = []
    if not (folder / layout.README_FILE).is_file() or (folder / layout.README_FILE).is_symlink():
        findings.append(Finding.error("readme", "there is no README.md for people", "a README.md", "none"))
    challenges = folder / layout.CHALLENGES_DIR
    if os.path.lexists(challenges) and (challenges.is_symlink() or not challenges.is_dir()):
        findings.append(Finding.error("foreign", "challenges is no folder", "a folder", "something else"))
    wanted = set(record_files(record.bundle, baseline=(folder / layout.BASELINE_DIR).is_dir()))
    found = set(manifest.files) if manifest else wanted
    optional = {name for name in wanted if name.endswith(layout.PROGRESS_FILE)}
    for name in sorted(found - wanted):
        findings.append(Finding.error("foreign", f"{name} does not belong into a record", "no such file", name))
    for name in sorted(wanted - found - optional):
        findings.append(Finding.error("incomplete", f"{name} belongs into the record", name, "no such file"))
    return findings


def record_files(bundle: Bundle, *, baseline: bool) -> list[str]:
    """The names of everything in a record that its manifest covers."""
    fixed = [layout.RECORD_FILE, layout.LOCK_FILE, layout.VERDICT_FILE]
    source = list(bundle.plan.arms[0].submission.files)
    if baseline:
        source += [f"{layout.BASELINE_DIR}/{name}" for name in bundle.plan.arms[1].submission.files]
    return [*fixed, *source, *campaign_files(bundle)]


def check_baseline(bundle: Bundle, before: list[Record], own: bool) -> list[Finding]:
    """A baseline that calls itself a record is that record, byte for byte; any other brings its source along."""
    arm = bundle.plan.arm("baseline")
    if arm is None or (arm.record is None and own):
        return []
    named = next((record for record in before if record.name == arm.record), None)
    if named is not None and named.submission.sha256 == arm.submission.sha256:
        return []
    found = "no such record" if named is None else f"source {named.submission.sha256[:12]}"
    expected = f"the record {arm.record} with source {arm.submission.sha256[:12]}"
    return [Finding.error("baseline_source", "the baseline is not the record it is said to be", expected, found)]


def check_copies(bundle: Bundle, before: list[Record]) -> list[Finding]:
    """No run of a campaign is one of an earlier record, or of a campaign that is attached to one."""
    own = bundle.plan.campaign_id
    others = [(f"record {record.name}", record.bundle) for record in before]
    others += [(f"a challenge of {r.name}", c.bundle) for r in before for c in r.challenges if c.bundle is not None]
    runs = [
        (name, [attempt.run for attempt in other.attempts]) for name, other in others if other.plan.campaign_id != own
    ]
    findings = list(copied([attempt.run for attempt in bundle.attempts], runs))
    for name, other in others:
        if other.plan.campaign_id == own:
            findings.append(
                Finding.error("copied_campaign", f"the campaign is that of {name}", "another campaign", own)
            )
    return findings


def _check_lock(folder: Path, record: Record) -> list[Finding]:
    if not record.runs:
        return []  # said already
    expected = lock_bytes(record.runs[0].environment)
    if read_plain(folder / layout.LOCK_FILE, layout.MAX_RECORD_BYTES, RecordError) == expected:
        return []
    sentence = "requirements.lock does not list the packages of the runs"
    return [Finding.error("lock_differs", sentence, f"{len(expected)} bytes derived from the first run", "others")]


def _report_challenge(folder: Path, challenge: Challenge) -> VerificationReport:
    return VerificationReport(
        path=folder / layout.CHALLENGES_DIR / challenge.name,
        kind="challenge",
        findings=challenge.findings,
        evidence=challenge.evidence,
        signature=challenge.signature,
    )


def _unreadable(error: RecordError) -> Finding:
    return Finding.error("unreadable", str(error), "a folder that can be read", "one that cannot")
