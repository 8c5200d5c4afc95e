"""Can this become a record here? What keeps a campaign from it, known before its first run.

The same rules judge a finished campaign (harness/rules); here they are asked of what somebody is about to run, on this
machine, so that nobody pays for a campaign that `submit` must refuse. A rule that a track lets waive by a written
reason is a warning.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..campaigns.track_match import same_rules
from ..errors import TrackError
from ..formats import environment, layout
from ..formats.run import Finding, errors_of
from ..formats.submission import Submission
from ..formats.track import Track, load_track
from ..rules import source_rules
from ..rules.hardware import machine_breach
from ..rules.run_rules import SANDBOXES
from .lookup import reigning_record
from .record import read_records_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What somebody is about to run. None: not decided yet, so nothing is said of it."""

    track: Track
    sandbox: str
    device: Literal["cpu", "cuda"]
    world_size: int
    runs: int | None = None  # of the candidate
    candidate: Submission | None = None
    candidate_sha256: str | None = None
    has_baseline: bool | None = None
    baseline_record: str | None = None  # its name, where it is a record of this checkout
    relabelled: bool = False


def hindrances(intent: Intent) -> tuple[Finding, ...]:
    """Every rule that a record of this intent would break, errors first; none: it can become a record here."""
    waivable = intent.track.rules.waivable
    found = [
        finding.model_copy(update={"severity": "warning"}) if finding.id in waivable else finding
        for finding in (*_of_track(intent), *_of_machine(intent), *_of_plan(intent), *_of_source(intent))
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != "error"))


def reproduced_record(intent: Intent) -> str | None:
    """The record whose source this is: such a campaign is for a challenge, and needs no baseline."""
    records, _ = read_records_of(layout.track_file(intent.track.name).parent)
    return next((r.name for r in records if r.submission.sha256 == intent.candidate_sha256), None)


def _of_track(intent: Intent) -> Iterator[Finding]:
    track, file = intent.track, layout.track_file(intent.track.name)
    if not track.refereed:
        sentence = "the harness cannot hold this track's rules yet: results are `reported` only"
        yield Finding.error("not_refereed", sentence, "a track that can be refereed", track.name)
        return
    try:
        ours = load_track(str(file))
    except TrackError:
        sentence = "the track is no track of this checkout: its campaigns cannot be submitted"
        yield Finding.error("track_unknown", sentence, f"a track below {file.parent.parent}", track.name)
        return
    if not same_rules(track, ours):
        sentence = "the track says something else than this checkout's own"
        yield Finding.error("track_changed", sentence, f"the rules of {file}", "another track.toml")


def _of_machine(intent: Intent) -> Iterator[Finding]:
    least = intent.track.rules.sandbox
    if SANDBOXES.index(intent.sandbox) < SANDBOXES.index(least):
        sentence = "a submission could reach too much here"
        yield Finding.error("sandbox_level", sentence, f"sandbox {least} or better", f"sandbox {intent.sandbox}")
    names = [gpu.name for gpu in environment.gpus()]
    cores = len(os.sched_getaffinity(0))
    breach = machine_breach(intent.track.hardware, intent.device, intent.world_size, names, cores)
    if breach is not None:
        what, expected, found = breach
        yield Finding.error("hardware_class", f"the runs would have {what}", expected, found)


def _of_plan(intent: Intent) -> Iterator[Finding]:
    track, runs = intent.track, intent.runs
    if runs is not None and runs < track.rules.min_runs:
        yield Finding.error("min_runs", "too few runs of the candidate", f"at least {track.rules.min_runs}", str(runs))
    if intent.relabelled and reproduced_record(intent) is None:
        sentence = "runs under other labels are evidence, never a place on a board"
        yield Finding.error("relabelled", sentence, "no --relabel", "--relabel")
    reigning, broken = reigning_record(track)
    for sentence in broken:
        yield Finding.error("record_unreadable", sentence, "records that can be read", "one that cannot")
    if reigning is None or intent.has_baseline is None or reproduced_record(intent) is not None:
        return
    if not intent.has_baseline:
        sentence = "the candidate would not be raced against the standing record"
        yield Finding.error("faster_than_parent", sentence, f"`speedrun compare` with {reigning.name}", "no baseline")
    elif intent.baseline_record != reigning.name:
        found = intent.baseline_record or "a source of its own"
        yield Finding.error("baseline_is_reigning", "the baseline is not the standing record", reigning.name, found)


def _of_source(intent: Intent) -> Iterator[Finding]:
    if intent.candidate is None:
        return
    for finding in source_rules.check(intent.candidate.root, intent.candidate.files, intent.track):
        if finding.severity == "error":
            yield finding.model_copy(update={"sentence": f"candidate: {finding.sentence}"})


def is_hindered(findings: tuple[Finding, ...]) -> bool:
    return bool(errors_of(findings))


def in_words(findings: tuple[Finding, ...]) -> str:
    """The errors among them in one line: `sandbox landlock, needs sandbox namespaces or better; ...`."""
    return "; ".join(f"{f.found}, needs {f.expected} ({f.id})" for f in errors_of(findings))
