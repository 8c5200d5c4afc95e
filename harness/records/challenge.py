"""A challenge: somebody else's campaign of a record's source, attached to that record.

It reproduces the record or refutes it, and which of the two is derived from its runs, not claimed. It lies in
`challenges/<date>_<digest>/`, a whole campaign with a manifest of its own, so that it is as hard to edit as a record.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ..campaigns.bundle import Bundle, read_refereed_bundle
from ..campaigns.evidence import Evidence, derive
from ..campaigns.track_match import bundle_track, contest_findings, core
from ..errors import RecordError, UserError, first_problem
from ..formats import layout, numbers
from ..formats.run import Finding, Section, errors_of
from ..formats.track import Track
from ..system.plainfile import read_plain
from .manifest import Manifest, check_manifest
from .signing import Signature, check_signature
from .vouching import (
    ChallengedRecord,
    missed_under_labels,
    relabelled_findings,
    speaks_another_language,
    vouching_findings,
)

Kind = Literal["reproduction", "refutation"]
MAX_STATEMENT_BYTES = 2**16


class ChallengeStatement(Section):
    """challenge.json"""

    schema_version: Literal[1] = 1
    track: str
    record: str  # name of the record's folder
    author: Annotated[str, Field(min_length=1, max_length=200)]
    date: date
    kind: Kind  # derived from the runs, and derived again by whoever reads it
    sentence: str

    @property
    def claim(self) -> str:
        """What the rules ask of a statement; nobody claims equal numbers here."""
        return "speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A challenge folder, checked down to its bytes."""

    name: str
    statement: ChallengeStatement | None  # None: unreadable
    signature: Signature
    evidence: Evidence | None
    findings: tuple[Finding, ...]
    on_unknown_text: bool = False  # it holds a relabelled run, or its runs were in another language than the record's
    bundle: Bundle | None = None

    @property
    def kind(self) -> Kind | None:
        return self.statement.kind if self.statement else None

    @property
    def is_intact(self) -> bool:
        return not errors_of(self.findings)


def read_challenges(record: Path, challenged: ChallengedRecord, signers: Path) -> tuple[Challenge, ...]:
    """Whatever lies in a record's folder of challenges, oldest first; what is no challenge comes with findings."""
    return tuple(read_challenge(folder, challenged, signers) for folder in layout.challenge_dirs(record))


def read_challenge(folder: Path, challenged: ChallengedRecord, signers: Path, name: str | None = None) -> Challenge:
    """Check everything: name, manifest, signature, campaign, source, rules, and that the runs say what is stated.

    challenged: the record's own campaign, of which nothing may be here. name: of the folder where it is going to be,
    if it is not there yet.
    """
    name = name or folder.name
    if folder.is_symlink() or not folder.is_dir():
        finding = Finding.error("challenge_place", f"{folder.name} is no challenge", "a folder", "something else")
        return Challenge(
            name=folder.name, statement=None, signature=Signature(status="unsigned"), evidence=None, findings=(finding,)
        )
    manifest, findings = check_manifest(folder)
    findings += _check_name(folder, name)
    signature = check_signature(folder, signers)
    findings += signature_findings(signature, manifest.signer if manifest else None, signers.exists())
    statement, evidence, unknown, bundle = None, None, False, None
    try:
        statement = read_statement(folder)
        bundle = read_refereed_bundle(folder)
        track = bundle_track(folder)
        labels = read_labels(folder)
        findings += [*bundle.findings, *contest_findings(bundle, track), *_check_files(manifest, bundle, labels)]
        evidence = derive(bundle, track)
        refutes = statement.kind == "refutation"
        findings += vouching_findings(bundle, evidence, track, statement, challenged, refutes=refutes)
        if labels is not None:
            label_track = bundle_track(folder / layout.RELABELLED_DIR)
            findings += relabelled_findings(labels, bundle, label_track, challenged)
        findings += _check_statement(folder, statement, bundle, evidence, challenged, labels)
        unknown = labels is not None or speaks_another_language([a.run for a in bundle.attempts], challenged.runs)
    except RecordError as error:
        findings.append(Finding.error("challenge_unreadable", str(error), "a challenge", "none that can be read"))
    return Challenge(
        name=name, statement=statement, signature=signature, evidence=evidence,
        findings=tuple(dict.fromkeys(findings)), on_unknown_text=unknown, bundle=bundle,
    )  # fmt: skip


def read_labels(folder: Path) -> Bundle | None:
    """The relabelled campaign of a challenge, whose source is that of the plain one; None where there is none."""
    inner = folder / layout.RELABELLED_DIR
    if not os.path.lexists(inner):
        return None
    if inner.is_symlink() or not inner.is_dir():
        raise RecordError(f"expected a folder at {inner}, found something else")
    return read_refereed_bundle(inner, {"candidate": folder / layout.CANDIDATE_DIR})


def read_statement(folder: Path) -> ChallengeStatement:
    """Raises RecordError."""
    path = folder / layout.CHALLENGE_FILE
    try:
        return ChallengeStatement.model_validate_json(read_plain(path, MAX_STATEMENT_BYTES, RecordError))
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error


def what_it_shows(bundle: Bundle, evidence: Evidence, track: Track, labels: Bundle | None = None) -> tuple[Kind, str]:
    """Reproduction or refutation, and why in one sentence.

    A reproduction passes the track's test again, and is not slower than what it was compared with. A refutation has a
    run that fails, a mean loss above the target, also under other labels, or is slower. Raises UserError where the
    runs show neither, which is no refutation but too few runs.
    """
    if bundle.plan.relabel:
        raise UserError("expected runs on the track's own data, found relabelled ones; they show honesty, not speed")
    arm, target, test = evidence.candidate, track.target_val_loss, track.significance
    failed = [run for run in bundle.runs("candidate") if not run.is_valid]
    if failed:
        return "refutation", f"run {failed[0].run_id} does not hold: {failed[0].sentence}"
    if target is not None and (arm.mean_loss is None or arm.mean_loss > target):
        return (
            "refutation",
            f"mean val_loss {numbers.loss(arm.mean_loss, 5)} of {arm.n} runs is above the target {target:g}",
        )
    missed = None if labels is None else missed_under_labels(labels, track)
    if missed is not None:
        return "refutation", missed
    if evidence.comparison is not None and evidence.comparison.verdict == "slower":
        return "refutation", f"slower than its baseline, {numbers.ratio(evidence.comparison.ratio)} times its time"
    if target is None or test.test == "welch":
        return "reproduction", f"{arm.n} valid runs, mean val_loss {numbers.loss(arm.mean_loss, 5)}"
    if arm.p_value is None or not arm.p_value < test.alpha:
        p_value = "no p-value" if arm.p_value is None else f"p = {numbers.plain_p_value(arm.p_value, 3)}"
        raise UserError(
            f"expected runs that reproduce or refute, found {p_value} at alpha {test.alpha:g} with a mean val_loss of "
            f"{numbers.loss(arm.mean_loss, 5)} below the target {target:g}: too few to say; run a longer campaign"
        )
    return (
        "reproduction",
        f"mean val_loss {numbers.loss(arm.mean_loss, 5)} of {arm.n} runs, p = {numbers.plain_p_value(arm.p_value, 3)}",
    )


def campaign_files(bundle: Bundle) -> set[str]:
    """Every file that may stand in a record or a challenge for its campaign, but sources."""
    runs = {
        f"{layout.RECORD_RUNS_DIR}/{attempt.run.run_id}/{name}"
        for attempt in bundle.attempts
        for name in (layout.RUN_FILE, layout.PROGRESS_FILE)
    }
    return {layout.LEDGER_FILE, layout.TRACK_FILE, *runs}


def _check_files(manifest: Manifest | None, bundle: Bundle, labels: Bundle | None) -> list[Finding]:
    """A challenge holds a campaign, perhaps a relabelled one, and nothing else, and stays small."""
    found = manifest.files if manifest else {}
    sources = {f"{arm.arm}/{name}" for arm in bundle.plan.arms for name in arm.submission.files}
    inner = set() if labels is None else {f"{layout.RELABELLED_DIR}/{name}" for name in campaign_files(labels)}
    foreign = sorted(found.keys() - campaign_files(bundle) - sources - inner - {layout.CHALLENGE_FILE})
    findings = [
        Finding.error("foreign", f"{name} does not belong into a challenge", "no such file", name) for name in foreign
    ]
    total = sum(entry.bytes for entry in found.values())
    if total > layout.MAX_RECORD_BYTES:
        limit = f"{layout.MAX_RECORD_BYTES:,} bytes"
        findings.append(Finding.error("challenge_size", "the challenge is too big", limit, f"{total:,}"))
    return findings


def signature_findings(signature: Signature, named: str | None, demanded: bool) -> list[Finding]:
    """What is wrong with a signature, given the signer its manifest names and whether the track demands one."""
    if signature.status == "bad":
        return [
            Finding.error("signature", "the signature does not hold", "a signature of the manifest", signature.problem)
        ]
    if signature.key != named:
        found = signature.key or "no signature"
        return [Finding.error("signature", "the manifest names another signer", named or "no signature", found)]
    if demanded and signature.status != "good":
        expected = f"a signature by a key of {layout.SIGNERS_FILE}"
        return [Finding.error("signature", "this track wants signatures by keys it knows", expected, str(signature))]
    return []


def challenge_name(day: date, manifest: bytes) -> str:
    return f"{day}_{hashlib.sha256(manifest).hexdigest()[:8]}"


def _check_name(folder: Path, name: str) -> list[Finding]:
    try:
        manifest = read_plain(folder / layout.MANIFEST_FILE, layout.MAX_RECORD_BYTES, RecordError)
        expected = challenge_name(read_statement(folder).date, manifest)
    except RecordError:
        return []  # said already
    if name == expected:
        return []
    return [Finding.error("challenge_place", "the folder is not named after its manifest", expected, name)]


def _check_statement(
    folder: Path,
    statement: ChallengeStatement,
    bundle: Bundle,
    evidence: Evidence,
    challenged: ChallengedRecord,
    labels: Bundle | None,
) -> list[Finding]:
    record = folder.parent.parent
    contests = [core(challenged.track), core(bundle_track(folder))]
    findings = []
    for what, expected, found in (
        ("contest", contests[0], contests[1]),
        ("record", record.name, statement.record),
        ("track", record.parent.name, statement.track),
        ("track of the campaign", record.parent.name, bundle.plan.track.name),
        ("source", challenged.bundle.plan.arms[0].submission.sha256, bundle.plan.arms[0].submission.sha256),
    ):
        if expected != found:
            findings.append(Finding.error("challenge_subject", f"it challenges another {what}", expected, found))
    if not findings and not bundle.findings:
        try:
            shown = ": ".join(what_it_shows(bundle, evidence, bundle_track(folder), labels))
        except UserError as error:
            shown = str(error)
        said = f"{statement.kind}: {statement.sentence}"
        if shown != said:
            findings.append(Finding.error("challenge_kind", "its runs show something else", shown, said))
    return findings
