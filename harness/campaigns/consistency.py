"""Consistency: what in a run contradicts its plan or itself. Pure.

The phases follow from the stamps, the loss from the windows' losses, the identity from the plan: whoever edits one
number of a run has to edit them all.
"""

import math
from collections.abc import Iterator

from ..formats.run import Charge, Finding, Phases, RunRecord, Score
from ..formats.track import Track
from ..scoring import charges, preparation
from ..selftimed.record import SelfTimedRecord
from ..status import Status
from .campaign import Plan, Slot
from .languages import language_secret
from .ledger import Ledger

ANSWERS_SINCE_RULES = 2  # major version of a track's rules
SUM_TOLERANCE = 1e-12  # relative, of a sum of fp64 against the same sum taken in another order


def run_findings(run: RunRecord, plan: Plan, slot: Slot) -> Iterator[Finding]:
    """What in a run contradicts its plan or itself."""
    arm = plan.arm(slot.arm)
    assert arm is not None
    campaign = None if run.campaign is None else (run.campaign.id, run.campaign.slot, run.campaign.arm)
    claims = {
        "track": (plan.track, run.track),
        "submission": (arm.submission, run.submission),
        "seed": (slot.seed, run.seed),
        "seed_source": ("harness", run.seed_source),
        "campaign": ((plan.campaign_id, slot.index, slot.arm), campaign),
        "world_size": (plan.world_size, run.world_size),
        "device": (plan.device, run.device),
        "practice": (False, run.practice),
        "relabelled": (plan.relabel, run.relabelled),
        "sandbox": (run.sandbox and plan.sandbox, run.sandbox),  # a run that failed early has none
        "phases": (Phases.of(run.stamps, run.phases.score_ns), run.phases),
        "charges": (_charges(run), run.charges),
    }
    for key, (expected, found) in claims.items():
        if expected != found:
            yield _edited(run, f"{key} is not what it has to be", str(expected), str(found))
    if run.status == Status.COMPLETE:
        yield from _completeness(run)
    if run.score is not None:
        yield from score_findings(run, run.score)


def _charges(run: RunRecord) -> tuple[Charge, ...]:
    """What was charged, from what was measured; one charge of a kind."""
    once = {charge.kind: charge for charge in run.charges}
    return tuple(Charge.of(kind, charge.measured_ns, charge.free_ns) for kind, charge in once.items())


def answer_findings(run: RunRecord, track: Track) -> Iterator[Finding]:
    """What was charged for answers is what the track makes of the times in run.json. Required since rules 2.0."""
    if run.status != Status.COMPLETE or run.practice or run.score is None or run.weights is None:
        return  # other findings name what is missing
    claimed = tuple(charge for charge in run.charges if charge.kind != "prepare")
    if run.score.answers is None or run.phases.train_ns is None:
        if track.major >= ANSWERS_SINCE_RULES:
            yield _edited(run, "a complete run lacks a part", "the times of its answers", "nothing")
        elif claimed:
            yield _edited(run, "answers were charged that nobody timed", "no charge", str(claimed))
        return
    expected = charges.of_answers(run.score.answers, track.evaluation, run.phases.train_ns, run.weights.bytes)
    if claimed != expected:
        yield _edited(run, "what is charged for answers does not follow from their times", str(expected), str(claimed))


def language_findings(run: RunRecord, ledger: Ledger, number: int) -> Iterator[Finding]:
    """Whether a run, the attempt of this number, spoke the language that follows from its campaign's secret.

    A secret that is not the planned one is a finding of the ledger itself.
    """
    plan, secret = ledger.plan, ledger.languages
    assert plan is not None
    if plan.languages_sha256 is None and run.language is not None:
        yield _edited(run, "its language is none of its campaign", "no language", run.language)
    if plan.languages_sha256 is not None and run.language is None and run.status == Status.COMPLETE:
        yield _edited(run, "a complete run of this campaign lacks its language", "a secret", "nothing")
    if run.language is None or secret is None:
        return
    slot = plan.slots[ledger.attempts[number][0].slot]
    expected = language_secret(bytes.fromhex(secret), slot, ledger.repeats(number)).hex()
    if run.language != expected:
        yield _edited(run, "its language does not follow from its campaign's secret", expected, run.language)


def prepare_findings(run: RunRecord, track: Track) -> Iterator[Finding]:
    """What was charged for PREPARE is what the track makes of the counts in run.json."""
    counts = track.budget.prepare_free_cpu_s is not None
    if counts and run.status == Status.COMPLETE and (run.prepare is None or run.prepare.launch_cpu_ns is None):
        yield _edited(run, "a complete run lacks a part", "the processor time of PREPARE and of a launch", "nothing")
        return
    expected = preparation.of_prepare(run.prepare, track.budget)
    claimed = tuple(charge for charge in run.charges if charge.kind == "prepare")
    if claimed != expected:
        yield _edited(run, "what is charged for PREPARE does not follow from its counts", str(expected), str(claimed))
    told = [finding for finding in run.findings if finding.id == "work_before_go"]
    if run.finished_at is not None and told != preparation.findings(run.prepare, track.rules, run.world_size):
        yield _edited(
            run, "training before GO is not told as it was counted", "the rule's finding", f"{len(told)} of it"
        )
    found, cores = run.prepare, track.hardware.cpu_cores
    if found is not None and cores is not None and found.cores > cores:
        yield _edited(run, "PREPARE is counted on other cores than the track's", f"at most {cores}", f"{found.cores}")
    most_ns = None if found is None or run.phases.prepare_ns is None else run.phases.prepare_ns * found.cores
    if found is not None and found.counted_by == "wall clock" and found.cpu_ns != most_ns:
        yield _edited(run, "PREPARE is not counted by its own clock", str(most_ns), str(found.cpu_ns))


def _completeness(run: RunRecord) -> Iterator[Finding]:
    parts = {"sandbox": run.sandbox, "data": run.data, "weights": run.weights, "score": run.score, "stamps": run.stamps}
    for name, value in parts.items():
        if not value:
            yield _edited(run, "a complete run lacks a part", name, "nothing")
    if run.phases.train_ns is None:
        yield _edited(run, "a complete run lacks its time", "train_ns", "nothing")


def score_findings(run: RunRecord | SelfTimedRecord, score: Score) -> Iterator[Finding]:
    """What in the score of a run, or of a checkpoint it left, contradicts itself."""
    windows = score.windows
    if len(windows.loss_sums) != len(windows.counts) or score.count <= 0:
        yield _edited(run, "the windows do not fit", f"{len(windows.counts)} sums", f"{len(windows.loss_sums)}")
        return
    if sum(windows.counts) != score.count or min(windows.counts) <= 0:
        yield _edited(run, "the windows' counts do not make the count", str(score.count), str(sum(windows.counts)))
    per_sum = windows.tokens * windows.windows_per_sum
    if windows.counts[:-1] != [per_sum] * (len(windows.counts) - 1) or windows.counts[-1] > per_sum:
        yield _edited(run, "the windows are not of one length", f"{per_sum} targets in each but the last", "others")
    total = math.fsum(windows.loss_sums)
    if not math.isclose(total, score.loss_sum, rel_tol=SUM_TOLERANCE):
        yield _edited(run, "the windows' losses do not make the loss sum", repr(score.loss_sum), repr(total))
    if score.val_loss != round(score.loss_sum / score.count, 7):
        yield _edited(
            run, "val_loss is not the mean", repr(round(score.loss_sum / score.count, 7)), f"{score.val_loss}"
        )


def _edited(run: RunRecord | SelfTimedRecord, sentence: str, expected: str, found: str) -> Finding:
    return Finding.error("run_edited", f"{run.run_id}: {sentence}", expected, found)
