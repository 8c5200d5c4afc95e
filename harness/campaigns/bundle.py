"""A bundle: a campaign on disk, read with suspicion; whatever does not fit together becomes a finding.

Every number of a campaign follows from its ledger, the files the ledger names, and the sources beside it. A bundle
that was altered anywhere without rewriting the whole chain is found out here.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from data.datasets import Dataset, load_dataset

from ..errors import DataError, RecordError, TrackError, UserError, first_problem
from ..formats import layout
from ..formats.run import Finding, RunRecord, SubmissionRef, same_machine
from ..formats.track import Track, load_track
from ..selftimed.record import MAX_LEGACY_BYTES, SelfTimedRecord
from ..status import Status
from ..system import scratch
from ..system.plainfile import read_plain
from . import comparable, relations
from .campaign import Arm, CampaignRun, Plan, Slot, fills_slot
from .campaign_relations import CampaignFacts
from .consistency import answer_findings, language_findings, prepare_findings, run_findings
from .judged import judged_findings, same_checkpoints
from .ledger import AttemptEntry, Ledger, OutcomeEntry, ResumedEntry, read_ledger
from .run_relations import RunFacts
from .sources import arms_findings
from .stated import campaign_findings, stated_findings
from .step_times import read_curve

MAX_RUN_BYTES = 2 * 2**20  # of one run.json
MAX_PROGRESS_BYTES = 16 * 2**20
MAX_LOG_BYTES = 2**28  # of one log of a script
MAX_TRACK_BYTES = 2**20
STATED_FILES = (layout.LEGACY_FILE, layout.LOG_FILE)  # of a script that timed itself
MOST_BYTES = {
    layout.RUN_FILE: MAX_RUN_BYTES,
    layout.PROGRESS_FILE: MAX_PROGRESS_BYTES,
    layout.LEGACY_FILE: MAX_LEGACY_BYTES,
    layout.LOG_FILE: MAX_LOG_BYTES,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One refereed run of a campaign. counted: the one that fills its slot."""

    slot: Slot
    run: RunRecord
    counted: bool


@dataclass(frozen=True, slots=True)
class StatedAttempt:
    """The same of a script that timed itself."""

    slot: Slot
    run: SelfTimedRecord
    counted: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """A campaign, read. findings: everything about it that does not hold; attempts: the readable ones, in order.

    Either `attempts` or `stated` is empty: what asks for refereed runs is never given what scripts said of themselves.
    """

    folder: Path
    plan: Plan
    attempts: tuple[Attempt, ...]
    closed: bool
    findings: tuple[Finding, ...]
    lost: int = 0  # attempts besides those, which ended before they had written anything
    stated: tuple[StatedAttempt, ...] = ()

    @property
    def tried(self) -> tuple[Attempt, ...] | tuple[StatedAttempt, ...]:
        """All attempts, of whichever kind the campaign is."""
        return self.attempts if self.plan.self_timed is None else self.stated

    def counted(self, arm: Arm) -> list[CampaignRun]:
        """The counted runs of an arm, of whichever kind, in slot order."""
        found = [attempt for attempt in self.tried if attempt.counted and attempt.slot.arm == arm]
        return [attempt.run for attempt in sorted(found, key=lambda attempt: attempt.slot.index)]

    def runs(self, arm: Arm) -> list[RunRecord]:
        """The counted refereed runs of an arm, in slot order."""
        return [run for run in self.counted(arm) if isinstance(run, RunRecord)]

    @property
    def candidate(self) -> SubmissionRef | None:
        return self._submission("candidate")

    @property
    def baseline(self) -> SubmissionRef | None:
        return self._submission("baseline")

    def _submission(self, name: Arm) -> SubmissionRef | None:
        arm = self.plan.arm(name)
        return None if arm is None else arm.submission


def read_bundle(folder: Path, sources: Mapping[Arm, Path | None] | None = None) -> Bundle:
    """Read a campaign from its folder, or from a record, and check all of it.

    sources: where the arms' files lie; candidate/ and baseline/ of the folder by default, which then hold nothing
    else; the files of an arm that `sources` leaves out, or gives None, are not checked. Raises RecordError only where
    there is no readable plan.
    """
    ledger = read_ledger(folder / layout.LEDGER_FILE)
    plan = ledger.plan
    if plan is None:
        problem = ledger.problems[0] if ledger.problems else None
        found = f"{problem.sentence}: {problem.found}" if problem else "an empty file"
        raise RecordError(f"expected a plan in {folder / layout.LEDGER_FILE}, found {found}")
    reading = _Reading(folder, plan, ledger)
    reading.read_attempts()
    stated = reading.stated
    tried: list[Attempt | StatedAttempt] = [*reading.attempts, *stated]
    findings = [*ledger.problems, *reading.findings, *_alike(tried), *_track(folder, plan)]
    findings += _answers(folder, plan, reading.attempts)
    findings += _reopened(ledger, tried)
    told = [(attempt.slot, attempt.run) for attempt in stated if attempt.counted]
    findings += [*campaign_findings(told), *same_checkpoints(told)]
    findings += arms_findings(folder, plan, sources)
    findings += relations.contradictions(
        CampaignFacts(plan=plan, ledger=ledger, runs=reading.facts, self_timed=[a.run for a in stated])
    )
    if not ledger.closed:
        filled = sum(attempt.counted for attempt in tried)
        sentence = "the campaign is not closed"
        findings.append(
            Finding.error("not_closed", sentence, f"{len(plan.slots)} filled slots and an end", f"{filled}")
        )
    return Bundle(folder, plan, tuple(reading.attempts), ledger.closed, tuple(findings), reading.lost, tuple(stated))


def read_refereed_bundle(folder: Path, sources: Mapping[Arm, Path | None] | None = None) -> Bundle:
    """The same of a campaign whose runs were refereed. Raises RecordError for one of self-timed scripts."""
    bundle = read_bundle(folder, sources)
    if bundle.plan.self_timed is not None:
        raise RecordError(
            f"expected a campaign of refereed runs at {folder}, found one of scripts that timed themselves; its "
            "results are `reported` and make no record and no challenge"
        )
    return bundle


def file_digests(run_folder: Path, plan: Plan | None = None) -> dict[str, str]:
    """SHA-256 of a run's files that are evidence, where they exist: what an outcome entry holds."""
    found = {}
    for name in evidence_files(plan):
        if os.path.lexists(run_folder / name):
            found[name] = hashlib.sha256(read_plain(run_folder / name, MOST_BYTES[name], RecordError)).hexdigest()
    return found


def evidence_files(plan: Plan | None) -> tuple[str, ...]:
    """Names of the files of a run that are evidence; the record first. None: of a campaign of refereed runs."""
    return layout.EVIDENCE_FILES if plan is None or plan.self_timed is None else STATED_FILES


@dataclass(slots=True)
class _Reading:
    """The attempts of a ledger, met with the files on disk."""

    folder: Path
    plan: Plan
    ledger: Ledger
    attempts: list[Attempt] = field(default_factory=list)
    stated: list[StatedAttempt] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    facts: list[RunFacts] = field(default_factory=list)  # of each attempt
    lost: int = 0

    def read_attempts(self) -> None:
        filling, track = self.ledger.filling, _contest(self.folder)
        for number, (entry, outcome) in enumerate(self.ledger.attempts):
            if not 0 <= entry.slot < len(self.plan.slots):
                continue  # the ledger's own findings name it
            run, contents = self._read(entry, outcome)
            if run is None:
                continue
            counted = entry.run_id in filling
            slot = self.plan.slots[entry.slot]
            if isinstance(run, SelfTimedRecord):
                self.findings += stated_findings(run, self.plan, slot, contents.get(layout.LOG_FILE))
                self.findings += judged_findings(run, self.plan, slot, *track)
                self.stated.append(StatedAttempt(slot, run, counted))
                continue
            curve = read_curve(contents.get(layout.PROGRESS_FILE, b""))
            self.facts.append(RunFacts(run=run, track=track[0], dataset=track[1], curve=curve))
            self.findings += run_findings(run, self.plan, slot)
            self.findings += language_findings(run, self.ledger, number)
            self.attempts.append(Attempt(slot, run, counted))
        self._find_extra()

    def _read(self, entry: AttemptEntry, outcome: OutcomeEntry | None) -> tuple[CampaignRun | None, dict[str, bytes]]:
        """The run of an attempt and its files. None where there is none: a finding, unless the ledger says so too."""
        folder = self.folder / layout.RECORD_RUNS_DIR / entry.run_id
        named: Mapping[str, str] = {} if outcome is None else {str(k): v for k, v in outcome.files.items()}
        contents: dict[str, bytes] = {}
        names = evidence_files(self.plan)
        for name in names:
            content = self._file(folder, name, named.get(name), outcome is not None)
            if content is not None:
                contents[name] = content
        raw = contents.get(names[0])
        if raw is None:
            self.lost += 1
            if not named and outcome is not None and outcome.status != Status.ABANDONED:
                self._found(
                    "run_missing", f"{entry.run_id} has no {names[0]}", "one of a run that ended", "no such file"
                )
            return None, contents
        form: type[RunRecord | SelfTimedRecord] = RunRecord if self.plan.self_timed is None else SelfTimedRecord
        try:
            run = form.model_validate_json(raw)
        except ValidationError as error:
            self._found(
                "run_edited", f"{entry.run_id}: {names[0]} is not what its schema says", "", first_problem(error)
            )
            return None, contents
        if run.run_id != entry.run_id or (outcome is not None and run.status != outcome.status):
            expected = f"{entry.run_id}, {outcome.status if outcome else 'in progress'}"
            self._found("run_edited", f"{names[0]} tells of another run", expected, f"{run.run_id}, {run.status}")
        return run, contents

    def _file(self, folder: Path, name: str, expected: str | None, is_over: bool) -> bytes | None:
        where = f"{folder.name}/{name}"
        if not os.path.lexists(folder / name):
            if expected is not None:
                self._found("run_missing", f"{where} is missing", expected[:12], "no such file")
            return None
        try:
            content = read_plain(folder / name, MOST_BYTES[name], RecordError)
        except UserError as error:
            self._found("run_missing", f"{where} cannot be read", "a plain file", str(error))
            return None
        found = hashlib.sha256(content).hexdigest()
        if is_over and found != expected:
            sentence = f"{where} is not the file of which the ledger tells"
            self._found("run_digest", sentence, expected[:12] if expected else "no such file", found[:12])
        return content

    def _find_extra(self) -> None:
        runs = self.folder / layout.RECORD_RUNS_DIR
        known = {entry.run_id for entry, _ in self.ledger.attempts}
        present = {path.name for path in runs.iterdir()} if runs.is_dir() else set()
        for name in sorted(present - known):
            if scratch.is_scratch(name) and not self.ledger.closed:
                continue  # a run in the making, or one whose maker was killed: who takes the campaign up removes it
            self._found("run_extra", f"the ledger knows nothing of {name!r}", "only runs of the ledger", f"{name!r}")

    def _found(self, id: str, sentence: str, expected: str, found: str) -> None:
        self.findings.append(Finding.error(id, sentence, expected, found))


def _contest(folder: Path) -> tuple[Track | None, Dataset | None]:
    """The campaign's track and its dataset; None of what cannot be read, which is a finding elsewhere."""
    try:
        read_plain(folder / layout.TRACK_FILE, MAX_TRACK_BYTES, RecordError)
        track = load_track(str(folder / layout.TRACK_FILE))
        return track, load_dataset(track.data.dataset)
    except (RecordError, TrackError):
        return None, None
    except DataError:
        return track, None


def _alike(attempts: Sequence[Attempt | StatedAttempt]) -> Iterator[Finding]:
    """Every counted run against the first one: it names the key and both values."""
    counted = [attempt.run for attempt in attempts if attempt.counted]
    known: comparable.Fingerprint = {}
    for run in counted:
        facts = comparable.fingerprint(run)
        for key, expected, found in comparable.compare(known, facts):
            yield Finding.error("not_alike", f"{run.run_id} is not alike: {key}", expected, found)
        known = {**{key: value for key, value in facts.items() if value is not None}, **known}


def _reopened(ledger: Ledger, attempts: Sequence[Attempt | StatedAttempt]) -> Iterator[Finding]:
    """A pair starts anew only because its machine is gone: on the same one its first run would have counted."""
    reopened = {entry.reopens for entry in ledger.entries if isinstance(entry, ResumedEntry)} - {None}
    for attempt in attempts:
        slot, run = attempt.slot, attempt.run
        if attempt.counted or slot.index not in reopened or not fills_slot(run.status):
            continue
        later = [other.run for other in attempts if other.counted and other.slot.index == slot.index]
        if any(same_machine(run.owner, other.owner) for other in later):
            sentence = f"{run.run_id} was run again on its own machine"
            yield Finding.error("reopened_without_cause", sentence, "another machine", f"{run.owner.host}")


def _track(folder: Path, plan: Plan) -> Iterator[Finding]:
    try:
        content = read_plain(folder / layout.TRACK_FILE, MAX_TRACK_BYTES, RecordError)
    except UserError as error:
        yield Finding.error("track_digest", "the track's file cannot be read", plan.track.sha256[:12], str(error))
        return
    found = hashlib.sha256(content).hexdigest()
    if found != plan.track.sha256:
        yield Finding.error("track_digest", "the track is not the planned one", plan.track.sha256[:12], found[:12])


def _answers(folder: Path, plan: Plan, attempts: list[Attempt]) -> Iterator[Finding]:
    """Under the rules of the bundle's own track file; where that is not the planned one, other findings say so."""
    if not any(_track(folder, plan)):
        try:
            track = load_track(str(folder))
        except TrackError as error:
            yield Finding.error("track_digest", "the track's file is none", "the planned one", str(error))
            return
        for attempt in attempts:
            yield from answer_findings(attempt.run, track)
            yield from prepare_findings(attempt.run, track)
