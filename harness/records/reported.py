"""A reported campaign: scripts that timed themselves, handed in whole, on a track's board without a place.

records/<track>/reported/<campaign>/ holds the campaign as it ran, `reported.json` and a manifest, which may be signed.
People say title, authors, date, techniques and a note; the numbers beside them are derived, and derived again from logs
and the referee's observations by everybody who reads them. Its tier is `reported`, whatever it says: it holds no place,
races no record and challenges none. Nothing here raises for what strangers put there: it becomes a finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from ..campaigns.bundle import Bundle, evidence_files, read_bundle
from ..campaigns.campaign import Plan
from ..campaigns.copies import copied
from ..campaigns.evidence import Evidence, derive
from ..campaigns.ledger import read_ledger
from ..campaigns.track_match import bundle_track, contest_findings, known_rules
from ..errors import RecordError, UserError, first_problem
from ..formats import layout
from ..formats.run import Finding, Section, errors_of
from ..formats.track import Track
from ..selftimed.record import SelfTimedRecord
from ..system.clock import NS
from ..system.plainfile import read_plain
from .challenge import signature_findings
from .entry import paired_ratio
from .manifest import Manifest, check_manifest
from .record import Line, Slug, check_date, one_line
from .signing import Signature, check_signature

BADGE: Literal["campaign"] = "campaign"
MAX_BYTES = 2**26  # of everything in it: logs are evidence, and go along whole
MAX_STATEMENT_BYTES = 2**18
TOLERANCE = 1e-9  # relative: the last digits of a mean may differ between machines

UNSIGNED = Signature(status="unsigned")

Note = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(one_line)]


class ReportedNumbers(Section):
    """What its row shows, of the candidate's counted runs. Times in seconds, losses in nats per token."""

    runs: Annotated[int, Field(ge=1)]  # that count and state both a time and a loss
    failed: Annotated[int, Field(ge=0)]  # that count and do not
    train_time_s: float  # mean of what the scripts state
    train_time_sd_s: float | None
    train_time_low_s: float | None  # 95 % interval of the mean
    train_time_high_s: float | None
    val_loss: float  # mean of what the scripts state
    p_value: float | None  # of the track's test on these losses
    ratio: float | None  # stated time / its baseline's, from the pairs of their race
    wall_s: float | None  # mean of whole runs, first process to last, on the referee's clock


class ReportedWords(Section):
    """What people say of a campaign."""

    title: Line
    authors: Annotated[tuple[Line, ...], Field(min_length=1, max_length=100)]
    date: date
    techniques: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    note: Note | None = None


class ReportedStatement(ReportedWords):
    """reported.json"""

    schema_version: Literal[1] = 1
    track: Slug
    campaign: Annotated[str, Field(max_length=80)]  # the plan's own name, which is the folder's
    numbers: ReportedNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCampaign:
    """The folder, checked down to its bytes. What could not be read is None, and a finding says why."""

    folder: Path
    statement: ReportedStatement | None = None
    bundle: Bundle | None = None
    track: Track | None = None  # the rules it ran under
    evidence: Evidence | None = None
    signature: Signature = UNSIGNED
    signer: str | None = None  # fingerprint that its manifest names
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors_of(self.findings)

    @property
    def numbers(self) -> ReportedNumbers | None:
        """Of its runs, whatever reported.json says."""
        return None if self.bundle is None or self.evidence is None else numbers_of(self.bundle, self.evidence)

    @property
    def runs(self) -> list[SelfTimedRecord]:
        """The candidate's counted runs, in slot order."""
        found = [] if self.bundle is None else self.bundle.counted("candidate")
        return [run for run in found if isinstance(run, SelfTimedRecord)]


def read_all_reported(track_dir: Path) -> list[ReportedCampaign]:
    """The reported campaigns of a track, by name; a run that an earlier one tells of already is a finding."""
    found: list[ReportedCampaign] = []
    for folder in layout.reported_dirs_of(track_dir):
        one = read_reported(folder)
        if one.bundle is not None:
            one = replace(one, findings=(*one.findings, *told_before(one.bundle, found)))
        found.append(one)
    return found


def shown_name(folder: Path) -> str:
    """Its name as text: a disk may hold bytes that no text can."""
    return _clean(folder.name)


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def read_reported(folder: Path) -> ReportedCampaign:
    """One of them, alone."""
    try:
        return _read(folder)
    except (UserError, ValueError, TypeError, LookupError, ArithmeticError, OSError, RecursionError) as error:
        sentence = f"{shown_name(folder)} cannot be read"
        found = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"[:300]
        finding = Finding.error("unreadable", sentence, "a reported campaign", _clean(found))
        return ReportedCampaign(folder=folder, findings=(finding,))


def _read(folder: Path) -> ReportedCampaign:
    entries = list(folder.rglob("*"))
    total = sum(path.lstat().st_size for path in entries)
    if total > MAX_BYTES:
        return ReportedCampaign(folder=folder, findings=tuple(size_findings(total)))
    track_dir = folder.parent.parent
    manifest, problems = check_manifest(folder)
    signers = track_dir / layout.SIGNERS_FILE
    signature, signer = check_signature(folder, signers), manifest.signer if manifest else None
    findings = [*problems, *signature_findings(signature, signer, signers.exists())]
    read = ReportedCampaign(folder=folder, signature=signature, signer=signer, findings=tuple(findings))
    if any(path.is_symlink() for path in entries):
        return read if manifest else replace(read, findings=(*findings, _LINKED))  # nothing is read through links
    bundle, track = read_bundle(folder), bundle_track(folder)
    evidence = derive(bundle, track)
    findings += [*campaign_findings(bundle, track, track_dir), *_check_files(manifest, bundle.plan, folder)]
    try:
        statement = read_statement(folder)
        findings += _check_statement(folder, statement, bundle, evidence)
    except RecordError as error:
        statement = None
        findings.append(Finding.error("statement", str(error), f"a {layout.REPORTED_FILE}", "none that can be read"))
    return replace(
        read, statement=statement, bundle=bundle, track=track, evidence=evidence,
        findings=tuple(dict.fromkeys(findings)),
    )  # fmt: skip


def read_statement(folder: Path) -> ReportedStatement:
    """Raises RecordError with the first key that is wrong, also for bytes in another form than `statement_bytes`."""
    path = folder / layout.REPORTED_FILE
    content = read_plain(path, MAX_STATEMENT_BYTES, RecordError)
    try:
        statement = ReportedStatement.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{layout.REPORTED_FILE}: {first_problem(error)}") from error
    if statement_bytes(statement) != content:
        raise RecordError(f"expected {layout.REPORTED_FILE} in its one form, found other bytes")
    return statement


_LINKED = Finding.error("not_plain", "there are links in it", "plain files", "a link")


def statement_bytes(statement: ReportedStatement) -> bytes:
    return (statement.model_dump_json(indent=1) + "\n").encode()


def numbers_of(bundle: Bundle, evidence: Evidence) -> ReportedNumbers | None:
    """What the row of a campaign shows; None where no counted run of the candidate states a time and a loss."""
    arm, span = evidence.candidate, evidence.candidate.time_interval_s
    if arm.mean_time_s is None or arm.mean_loss is None:
        return None
    seen = [a.run.observed for a in bundle.stated if a.counted and a.slot.arm == "candidate"]
    walls = [observed.wall_ns / NS for observed in seen if observed is not None]
    return ReportedNumbers(
        runs=arm.n,
        failed=arm.failed,
        train_time_s=arm.mean_time_s,
        train_time_sd_s=arm.sd_time_s,
        train_time_low_s=span.low if span else None,
        train_time_high_s=span.high if span else None,
        val_loss=arm.mean_loss,
        p_value=arm.p_value,
        ratio=paired_ratio(evidence.comparison) if evidence.comparison else None,
        wall_s=fmean(walls) if walls else None,
    )


def campaign_findings(bundle: Bundle, track: Track, track_dir: Path) -> Iterator[Finding]:
    """What keeps a campaign from the board of the track in `track_dir`, and what of it does not hold."""
    plan = bundle.plan
    if plan.self_timed is None:
        sentence = "its runs were refereed: such a campaign is handed in as a record"
        yield Finding.error("not_self_timed", sentence, "runs of scripts that time themselves", "refereed runs")
    if plan.track.name != track_dir.name:
        yield Finding.error("own_track", "the campaign is one of another track", shown_name(track_dir), plan.track.name)
    yield from bundle.findings
    yield from contest_findings(bundle, track)
    yield from known_rules(track, track_dir)[1]
    if plan.self_timed is not None and not any(run.result is not None for run in bundle.counted("candidate")):
        yield Finding.error(
            "no_numbers", "the candidate has no run that counts and states a time and a loss", "one or more", "none"
        )


def told_before(bundle: Bundle, others: Sequence[ReportedCampaign]) -> Iterator[Finding]:
    """Runs of a campaign that another one on the same board holds already."""
    known = [
        (shown_name(other.folder), [attempt.run for attempt in other.bundle.tried])
        for other in others
        if other.bundle is not None
    ]
    yield from copied([attempt.run for attempt in bundle.tried], known)


def size_findings(total_bytes: int) -> Iterator[Finding]:
    if total_bytes > MAX_BYTES:
        sentence = "the campaign with its logs is too big for a repository"
        yield Finding.error("reported_size", sentence, f"at most {MAX_BYTES:,} bytes", f"{total_bytes:,}")


def reported_names(folder: Path, plan: Plan) -> set[str]:
    """Every file that a campaign may have there, but reported.json and the manifest: sources and evidence."""
    runs = {
        f"{layout.RECORD_RUNS_DIR}/{entry.run_id}/{name}"
        for entry, _ in read_ledger(folder / layout.LEDGER_FILE).attempts
        for name in evidence_files(plan)
    }
    sources = {f"{arm.arm}/{name}" for arm in plan.arms for name in arm.submission.files}
    return {layout.LEDGER_FILE, layout.TRACK_FILE, *runs, *sources}


def _check_files(manifest: Manifest | None, plan: Plan, folder: Path) -> Iterator[Finding]:
    """The campaign and what is said of it, and nothing else."""
    allowed = reported_names(folder, plan) | {layout.REPORTED_FILE}
    for name in sorted(set(manifest.files if manifest else ()) - allowed):
        yield Finding.error("foreign", f"{name} does not belong to a reported campaign", "no such file", name)


def _check_statement(
    folder: Path, statement: ReportedStatement, bundle: Bundle, evidence: Evidence
) -> Iterator[Finding]:
    plan = bundle.plan
    if not folder.name == statement.campaign == plan.campaign_id:
        sentence = "folder and statement are not named as the campaign"
        yield Finding.error("renamed", sentence, plan.campaign_id, f"{shown_name(folder)}, {statement.campaign}")
    if statement.track != plan.track.name:
        yield Finding.error("own_track", "the statement names another track", plan.track.name, statement.track)
    yield from check_date(statement.date)
    derived = numbers_of(bundle, evidence)
    if derived is None:
        return  # `no_numbers` says so
    kept, found = statement.numbers.model_dump(), derived.model_dump()
    for name in kept:
        if not _same(kept[name], found[name]):
            sentence = f"{layout.REPORTED_FILE}: {name} is not what its runs show"
            yield Finding.error("numbers_differ", sentence, str(found[name]), str(kept[name]))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(a == b)
