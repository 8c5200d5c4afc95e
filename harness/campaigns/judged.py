"""Judged: the judge's scores of checkpoints that self-timed scripts left, held to plan, track and themselves. Pure.

The loss is then measured; the time, and which training the checkpoint came from, stay the script's word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.datasets import Dataset

from ..formats.run import Finding, Score
from ..formats.track import Track
from ..selftimed.record import SelfTimedRecord
from ..status import Status
from .campaign import ARMS, Plan, Slot
from .consistency import score_findings
from .relations import exam_contradictions


@dataclass(frozen=True, slots=True)
class _JudgedRun:
    """A self-timed run as one that took the exam."""

    run_id: str
    status: Status
    sentence: str
    score: Score
    errors: tuple[Finding, ...]
    practice: bool = False


@dataclass(frozen=True, slots=True)
class _JudgedFacts:
    run: _JudgedRun
    track: Track | None
    dataset: Dataset | None


def judged_findings(
    run: SelfTimedRecord, plan: Plan, slot: Slot, track: Track | None, dataset: Dataset | None
) -> Iterator[Finding]:
    """What in a run's score contradicts its plan, the track or itself. track, dataset: None where unreadable."""
    arm = plan.arm(slot.arm)
    assert arm is not None and arm.script is not None
    planned, measured = arm.script.checkpoint, run.measured
    if measured is None:
        if planned is not None and run.status == Status.COMPLETE:
            sentence = f"{run.run_id}: a complete run lacks the score of its checkpoint"
            yield Finding.error("run_edited", sentence, planned.path, "nothing")
        return
    expected = None if planned is None else (planned.path, planned.adapter)
    if expected != (measured.checkpoint, measured.adapter):
        sentence = f"{run.run_id}: what was scored is not the planned checkpoint"
        yield Finding.error("run_edited", sentence, str(expected), f"{measured.checkpoint}, {measured.adapter}")
    yield from score_findings(run, measured.score)
    taker = _JudgedRun(run.run_id, run.status, run.sentence, measured.score, run.errors)
    yield from exam_contradictions(_JudgedFacts(taker, track, dataset))
    if track is not None and measured.score.count != track.data.val_tokens:
        sentence = f"{run.run_id}: its checkpoint was not scored on the whole validation split"
        yield Finding.error("run_edited", sentence, f"{track.data.val_tokens} targets", f"{measured.score.count}")


def same_checkpoints(runs: Sequence[tuple[Slot, SelfTimedRecord]]) -> Iterator[Finding]:
    """Runs of one arm that left the same bytes are one measurement, not several: a note."""
    for arm in ARMS:
        digests = [run.measured.checkpoint_sha256 for slot, run in runs if slot.arm == arm and run.measured is not None]
        if len(set(digests)) < len(digests):
            sentence = f"{arm}: several of its runs left the same checkpoint; what it says of one it says of all"
            yield Finding.warning("same_checkpoint", sentence, f"{len(digests)} checkpoints", f"{len(set(digests))}")
