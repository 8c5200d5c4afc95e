"""Challenging: a bundle is attached to a record, whose own files never change."""

import os
import shutil
from datetime import date
from pathlib import Path

from data.files import sync_folder

from ..campaigns.bundle import read_refereed_bundle
from ..campaigns.evidence import derive
from ..campaigns.track_match import bundle_track, contest_findings
from ..errors import UserError
from ..formats import layout
from ..formats.run import errors_of
from ..system import scratch
from ..system.plainfile import read_plain
from .challenge import (
    Challenge,
    ChallengeStatement,
    Kind,
    campaign_files,
    challenge_name,
    read_challenge,
    what_it_shows,
)
from .manifest import manifest_bytes, write_manifest
from .record import read_record, signers_of, source_files
from .signing import fingerprint_of_key, sign
from .submitting import sync_tree, write_new
from .tree_digest import add_to_digests
from .vouching import ChallengedRecord


def attach(
    record_dir: Path,
    bundle_dir: Path,
    *,
    author: str,
    day: date,
    key: Path | None,
    expected: Kind | None,
    dry_run: bool,
    relabelled: Path | None = None,
) -> tuple[Path, Challenge]:
    """Attach a campaign of a record's source to the record, and return what was attached and where.

    Whether it reproduces or refutes is derived; `expected` only insists. Raises UserError where it is neither, where
    the bundle is broken, or where it ran something else. relabelled: a campaign of the same source under a secret
    vocabulary, which goes along. A dry run does everything and leaves nothing.
    """
    record = read_record(record_dir)
    challenged = ChallengedRecord(bundle=record.bundle, track=bundle_track(record_dir))
    bundle, track = read_refereed_bundle(bundle_dir), bundle_track(bundle_dir)
    findings = (*bundle.findings, *contest_findings(bundle, track))
    broken = errors_of(findings)
    if broken:
        raise UserError(f"expected a bundle that holds, found {broken[0].id}: {broken[0].sentence}")
    labels = None if relabelled is None else read_refereed_bundle(relabelled)
    kind, sentence = what_it_shows(bundle, derive(bundle, track), track, labels)
    if expected is not None and kind != expected:
        raise UserError(f"expected runs that show a {expected}, found a {kind}: {sentence}")
    statement = ChallengeStatement(
        track=record.statement.track, record=record.name, author=author, date=day, kind=kind, sentence=sentence
    )
    challenges = record_dir / layout.CHALLENGES_DIR
    was_there = challenges.is_dir()
    challenges.mkdir(exist_ok=True)
    scratch.sweep(challenges)
    temporary = scratch.make_scratch(challenges, ".challenge")
    try:
        temporary.chmod(0o755)
        _fill(temporary, bundle_dir, statement, relabelled)
        manifest = write_manifest(temporary, None if key is None else fingerprint_of_key(key))
        if key is not None:
            sign(temporary / layout.MANIFEST_FILE, key)
        sync_tree(temporary)
        place = challenges / challenge_name(day, manifest_bytes(manifest))
        if os.path.lexists(place):
            raise UserError(f"expected a new challenge, found the same one at {place}")
        challenge = read_challenge(temporary, challenged, signers_of(record_dir), name=place.name)
        if not challenge.is_intact:
            first = errors_of(challenge.findings)[0]
            raise UserError(f"{first.sentence}: expected {first.expected}, found {first.found}")
        if not dry_run:
            temporary.rename(place)
            sync_folder(challenges)
            add_to_digests(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not was_there and not any(challenges.iterdir()):
            challenges.rmdir()
    return place, challenge


def _fill(folder: Path, bundle_dir: Path, statement: ChallengeStatement, relabelled: Path | None) -> None:
    """The evidence of a campaign, of a relabelled one too, and nothing else of it, at most 1 MB."""
    bundle = read_refereed_bundle(bundle_dir)
    files = {layout.CHALLENGE_FILE: (statement.model_dump_json(indent=1) + "\n").encode()}
    for arm in bundle.plan.arms:
        for name, content in source_files(bundle_dir, arm.arm, arm.submission).items():
            files[f"{arm.arm}/{name}"] = content
    campaigns = [("", bundle_dir, bundle)]
    if relabelled is not None:
        campaigns.append((f"{layout.RELABELLED_DIR}/", relabelled, read_refereed_bundle(relabelled)))
    for place, origin, campaign in campaigns:
        for name in campaign_files(campaign):
            if os.path.lexists(origin / name):
                files[place + name] = read_plain(origin / name, layout.MAX_RECORD_BYTES)
    total = sum(map(len, files.values()))
    if total > layout.MAX_RECORD_BYTES:
        raise UserError(f"expected a challenge of at most {layout.MAX_RECORD_BYTES:,} bytes, found {total:,}")
    for name, content in files.items():
        write_new(folder / name, content)
