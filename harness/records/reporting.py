"""Reporting: a closed campaign of self-timed scripts is put beside its track's records, whole or not at all.

Judged in memory, written to a temporary folder in the track's, checked there as everybody checks it, and renamed.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from data.files import sync_folder

from ..campaigns.bundle import MAX_LOG_BYTES, Bundle, read_bundle
from ..campaigns.evidence import Evidence, derive
from ..campaigns.ledger import read_ledger
from ..campaigns.track_match import bundle_track, same_rules
from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.run import Finding, errors_of
from ..formats.track import Track, load_track
from ..system import scratch
from ..system.plainfile import read_plain
from .manifest import MAX_FILES, name_findings, write_manifest
from .record import check_date
from .reported import (
    MAX_BYTES,
    ReportedCampaign,
    ReportedNumbers,
    ReportedStatement,
    ReportedWords,
    campaign_findings,
    numbers_of,
    read_all_reported,
    read_reported,
    reported_names,
    size_findings,
    statement_bytes,
    told_before,
)
from .signing import fingerprint_of_key, sign
from .submitting import missing_signature, sync_tree, write_new
from .tree_digest import add_to_digests


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedDraft:
    """A reported campaign that is judged but not written."""

    folder: Path  # where it will be
    track: Track
    bundle: Bundle
    evidence: Evidence
    words: ReportedWords
    numbers: ReportedNumbers | None  # None: there are none, which is an error
    findings: tuple[Finding, ...]
    files: dict[str, bytes]  # relative name -> content, without the manifest; empty where there are errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors_of(self.findings)


def is_self_timed(folder: Path) -> bool:
    """Whether a folder holds a campaign of scripts that time themselves; what is no campaign is none."""
    try:
        plan = read_ledger(folder / layout.LEDGER_FILE).plan
    except RecordError:
        return False
    return plan is not None and plan.self_timed is not None


def draft_reported(folder: Path, words: ReportedWords, key: Path | None = None) -> ReportedDraft:
    """Read and judge a campaign that `key` is going to sign. Raises UserError where there is none."""
    bundle, track = read_bundle(folder), bundle_track(folder)
    evidence, plan = derive(bundle, track), bundle.plan
    numbers = numbers_of(bundle, evidence)
    track_dir = layout.records_root() / plan.track.name
    place = track_dir / layout.REPORTED_DIR / plan.campaign_id
    findings = [*campaign_findings(bundle, track, track_dir), *check_date(words.date), *_place(place, track, bundle)]
    findings += missing_signature(track_dir / layout.SIGNERS_FILE, key)
    files: dict[str, bytes] = {}
    if numbers is not None and not errors_of(findings):
        said = words.model_dump(mode="python")
        statement = ReportedStatement(track=track.name, campaign=plan.campaign_id, numbers=numbers, **said)
        files, problems = _files(folder, bundle, statement)
        findings += problems
    return ReportedDraft(
        folder=place, track=track, bundle=bundle, evidence=evidence, words=words, numbers=numbers,
        findings=tuple(dict.fromkeys(findings)), files=files,
    )  # fmt: skip


def write_reported(draft: ReportedDraft, key: Path | None = None) -> ReportedCampaign:
    """Make its folder, signed by `key` if there is one, and return it as it was read there.

    It appears whole or not at all. Raises UserError where the draft has errors, or where what was written does not
    verify; nothing is left behind then.
    """
    if draft.errors:
        raise UserError(f"expected a campaign without error-level findings, found {draft.errors[0].id}")
    signer, track_dir = None if key is None else fingerprint_of_key(key), draft.folder.parent.parent
    scratch.sweep(track_dir)
    temporary = scratch.make_scratch(track_dir, ".submit")
    try:
        beside = temporary / track_dir.name
        inner = beside / layout.REPORTED_DIR / draft.folder.name
        inner.mkdir(parents=True)
        for name, content in draft.files.items():
            write_new(inner / name, content)
        write_manifest(inner, signer, max_file_bytes=MAX_BYTES)
        if key is not None:
            sign(inner / layout.MANIFEST_FILE, key)
        for name in (layout.TRACK_FILE, layout.SIGNERS_FILE):  # verification looks at them
            if (track_dir / name).is_file():
                shutil.copy(track_dir / name, beside / name)
        found = read_reported(inner)
        if found.errors:
            first = found.errors[0]
            raise UserError(f"expected a campaign that verifies, found {first.id}: {first.sentence} ({first.found})")
        sync_tree(inner)
        draft.folder.parent.mkdir(exist_ok=True)
        if os.path.lexists(draft.folder):
            raise UserError(f"expected no reported campaign at {draft.folder}, found one")
        inner.rename(draft.folder)
        sync_folder(draft.folder.parent)
        add_to_digests(draft.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def _place(place: Path, track: Track, bundle: Bundle) -> list[Finding]:
    """What keeps a campaign from its place among the track's files."""
    track_dir = place.parent.parent
    try:
        current = load_track(str(track_dir / layout.TRACK_FILE))
    except UserError as error:
        return [Finding.error("track_unknown", str(error), "a track of this checkout", track.name)]
    findings = []
    if not same_rules(track, current):
        sentence = "the campaign was run under other rules than this checkout's"
        expected = f"the rules of {track_dir / layout.TRACK_FILE}, {current.rules_version}"
        findings.append(Finding.error("track_changed", sentence, expected, f"{track.name} {track.rules_version}"))
    if place.parent.is_symlink() or (os.path.lexists(place.parent) and not place.parent.is_dir()):
        findings.append(Finding.error("not_plain", f"{place.parent} is no folder", "a folder", "something else"))
    elif os.path.lexists(place):
        sentence = "the campaign has been handed in already"
        findings.append(Finding.error("place_taken", sentence, "a campaign that is not there", str(place)))
    else:
        findings += told_before(bundle, read_all_reported(track_dir))
    return findings


def _files(folder: Path, bundle: Bundle, statement: ReportedStatement) -> tuple[dict[str, bytes], list[Finding]]:
    """Everything in it but its manifest, and what keeps it from standing in a repository."""
    names = sorted(name for name in reported_names(folder, bundle.plan) if os.path.lexists(folder / name))
    total = sum((folder / name).lstat().st_size for name in names)
    findings = [*size_findings(total), *name_findings([*names, layout.REPORTED_FILE], layout.RECORD_OWN)]
    if len(names) >= MAX_FILES:
        findings.append(
            Finding.error("too_many_files", "there are too many files", f"fewer than {MAX_FILES}", f"{len(names)}")
        )
    if findings:
        return {}, findings
    files = {name: read_plain(folder / name, MAX_LOG_BYTES, RecordError) for name in names}
    return files | {layout.REPORTED_FILE: statement_bytes(statement)}, []
