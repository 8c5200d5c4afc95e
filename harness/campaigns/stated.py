"""Stated: what self-timed scripts say in a campaign, held against their logs, the plan and the referee's clock. Pure.

What a record says its script stated is read again from the log. Whether a stated time is true no log can tell; but a
script that leaves more of the clock out than the other arm does, line for line, is seen. Nothing here makes a stated
number more than `reported`.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from statistics import fmean

from ..formats import numbers
from ..formats.run import Finding
from ..selftimed.grammars import BY_NAME
from ..selftimed.logs import LogReader
from ..selftimed.observed_log import SLACK_NS, SLACK_SHARE, claim_of, result_lines_of
from ..selftimed.record import ResultLine, SelfTimedRecord
from ..selftimed.training_log import TrainingLog
from ..status import Status
from ..system.clock import NS
from .campaign import ARMS, Arm, Plan, Slot

SHARE_DIFFERENCE = 0.03  # of the time between lines: more of it left out by every run of one arm is an error
LEAST_GAP_NS = NS // 4  # and at least so much time in a run: a busy machine hands a line on late
OUTSIDE_DIFFERENCE = 0.05  # of the stated time: more outside the lines in every run of one arm is a warning
LEAST_OUTSIDE_NS = NS // 4
WALL_SLACK_NS = 2 * NS  # started_at and finished_at are whole seconds
LEAST_INTERVALS = 4  # between training lines, to leave out those with a validation in between


def stated_findings(run: SelfTimedRecord, plan: Plan, slot: Slot, log: bytes | None) -> Iterator[Finding]:
    """What in a run contradicts its plan, its own log or itself. log: the content of log.txt; None: there is none."""
    yield from _unlike_the_plan(run, plan, slot)
    if run.finished_at is None:
        return
    if run.observed is not None:
        yield from _impossible_times(run, run.observed.wall_ns)
    if run.status not in (Status.COMPLETE, Status.ABANDONED):
        yield _note("run_failed", run, run.sentence, "a run that ends well", str(run.status))
    if run.status == Status.COMPLETE and run.result is None:
        yield _note("no_result", run, run.sentence, "a last val_loss and a training time, both finite", _shown(run))
    if run.claim is not None and log is None:
        yield _edited(run, "what it states has no log", "log.txt", "no such file")
    if log is not None:
        yield from _against_the_log(run, plan, slot, log)


def _unlike_the_plan(run: SelfTimedRecord, plan: Plan, slot: Slot) -> Iterator[Finding]:
    arm, shared, script = plan.arm(slot.arm), plan.self_timed, run.script
    assert arm is not None and arm.script is not None and shared is not None
    seed = {} if shared.seed_variable is None else {shared.seed_variable: str(slot.seed)}
    campaign = None if run.campaign is None else (run.campaign.id, run.campaign.slot, run.campaign.arm)
    claims = {
        "track": (plan.track, run.track),
        "campaign": ((plan.campaign_id, slot.index, slot.arm), campaign),
        "seed": (slot.seed if seed else None, run.seed),
        "entry": (arm.submission.entry, script.entry),
        "sha256": (arm.submission.files[arm.submission.entry], script.sha256),
        "checkout": (arm.script.checkout, script.checkout),
        "checkout_sha256": (arm.script.checkout_sha256, script.checkout_sha256),
        "arguments": (arm.script.arguments, script.arguments),
        "launcher": (arm.script.launcher, script.launcher),
        "world_size": (plan.world_size, script.world_size),
        "environment": ({**arm.script.environment, **seed}, script.environment),
        "secrets": (arm.script.secrets, script.secrets),
        "readable": (arm.script.readable, script.readable),
        "linked": (tuple(arm.script.linked), script.linked),
        "device": (plan.device, run.device),
        "sandbox": (run.sandbox and plan.sandbox, run.sandbox),  # a run that failed early has none
    }
    for key, (expected, found) in claims.items():
        if expected != found:
            yield _edited(run, f"{key} is not what it has to be", str(expected), str(found))


def _impossible_times(run: SelfTimedRecord, wall_ns: int) -> Iterator[Finding]:
    assert run.finished_at is not None
    passed_ns = int((run.finished_at - run.started_at).total_seconds() * NS) + WALL_SLACK_NS
    if wall_ns > passed_ns:
        yield _edited(run, "its processes lived longer than it took", f"at most {passed_ns} ns", f"{wall_ns} ns")
    late_ns = max((point.arrived_ns or 0 for point in run.points), default=0)
    if late_ns > wall_ns:
        yield _edited(run, "a line arrived after its last process", f"at most {wall_ns} ns", f"{late_ns} ns")
    claimed_ns = run.claim.train_time_ns if run.claim is not None else None
    told = any(finding.id == "clock_ahead" for finding in run.findings)
    if claimed_ns is not None and not told and claimed_ns > wall_ns * (1 + SLACK_SHARE) + 3 * SLACK_NS:
        yield _edited(run, "it states more time than passed, and is not told", f"{wall_ns} ns", f"{claimed_ns} ns")


def _against_the_log(run: SelfTimedRecord, plan: Plan, slot: Slot, content: bytes) -> Iterator[Finding]:
    """What the record says was stated follows from the log, line for line."""
    arm = plan.arm(slot.arm)
    assert plan.self_timed is not None and arm is not None
    reader = LogReader(tuple(BY_NAME[name] for name in plan.self_timed.grammars))
    reader.feed(content)
    log = reader.finish()
    yield from _about_source(run, log, arm.submission.files[arm.submission.entry])
    if run.log_truncated:
        sentence = "its log was too long to be kept whole: what it states cannot be read again"
        yield _note("log_cut", run, sentence, "a whole log", f"{len(content):,} bytes of it")
        return
    claim = claim_of(log)
    nothing_read = run.claim is None and run.observed is None and run.status != Status.COMPLETE
    if claim != run.claim and not nothing_read:  # a referee that was killed has kept the log, and read nothing of it
        expected, found = (("nothing" if each is None else each.model_dump_json()) for each in (claim, run.claim))
        yield Finding.error("claim_not_in_log", f"{run.run_id} says another thing than its log", expected, found)
    in_log = {_line(point) for point in result_lines_of(log)}
    invented = [point for point in run.points if _line(point) not in in_log]
    if invented:
        sentence = f"{run.run_id}: {len(invented)} of its result lines are not in its log"
        yield Finding.error("claim_not_in_log", sentence, "lines of the log", str(_line(invented[0])))
    losses = {claim.val_loss, *(later.val_loss for later in claim.later)} - {None} if claim is not None else set()
    if len(losses) > 1:
        shown = ", ".join(numbers.loss(loss) for loss in sorted(losses, key=lambda x: x or 0.0) if loss is not None)
        sentence = "it prints more than one last loss; the one of its last step counts"
        yield _note("several_last_losses", run, sentence, "one", shown)


def _about_source(run: SelfTimedRecord, log: TrainingLog, entry_sha256: str) -> Iterator[Finding]:
    """A log that begins with its script's source begins with this script's."""
    if not log.source:
        return
    forms = {log.source, log.source.rstrip(b"\n"), log.source.rstrip(b"\n") + b"\n", log.source.strip() + b"\n"}
    if entry_sha256 not in {hashlib.sha256(form).hexdigest() for form in forms}:
        found = hashlib.sha256(log.source).hexdigest()
        sentence = "its log begins with the source of another script"
        yield _note("log_of_another_script", run, sentence, entry_sha256[:12], found[:12])


def campaign_findings(runs: Sequence[tuple[Slot, SelfTimedRecord]]) -> Iterator[Finding]:
    """What only the counted runs together show: notes that all have, runs told twice, arms whose clocks differ."""
    yield from _notes(runs)
    seen: dict[tuple[tuple[object, ...], ...], str] = {}
    for _, run in runs:
        stamps = tuple((point.step, point.loss, point.arrived_ns) for point in run.points)
        if len(stamps) > 1 and stamps in seen:
            sentence = f"runs {seen[stamps]} and {run.run_id} have lines that arrived in the same nanoseconds"
            yield Finding.error("run_told_twice", sentence, "another in each run", "the same")
        seen.setdefault(stamps, run.run_id)
    arms: dict[Arm, list[SelfTimedRecord]] = {arm: [run for slot, run in runs if slot.arm == arm] for arm in ARMS}
    yield from _shares_differ(arms)
    yield from _outside_differs(arms)


def _notes(runs: Sequence[tuple[Slot, SelfTimedRecord]]) -> Iterator[Finding]:
    """What the runs themselves note, once for each arm."""
    for arm in ARMS:
        ours = [run for slot, run in runs if slot.arm == arm]
        found: dict[str, list[Finding]] = {}
        for run in ours:
            for id, finding in {finding.id: finding for finding in run.findings}.items():
                found.setdefault(id, []).append(finding)
        for id, same in found.items():
            first = same[0]
            sentence = f"{arm}, {len(same)} of {len(ours)} runs: {first.sentence}"
            yield Finding.warning(id, sentence, first.expected, first.found)


def _shares_differ(arms: dict[Arm, list[SelfTimedRecord]]) -> Iterator[Finding]:
    """Between lines of a kind, every run of one arm states a smaller share of the clock than any of the other.

    A busy machine may have delayed the other arm's lines by LEAST_GAP_NS: of so much more time its share is counted.
    """
    spans = {arm: [span for run in runs if (span := clock_span(run)) is not None] for arm, runs in arms.items()}
    low, high = _apart({arm: [claimed / passed for claimed, passed in found] for arm, found in spans.items()})
    if low is None or high is None:
        return
    shares = {arm: fmean(claimed / passed for claimed, passed in spans[arm]) for arm in (low, high)}
    stated_ns, passed_ns = (fmean(each) for each in zip(*spans[low], strict=True))
    other_stated_ns, other_passed_ns = (fmean(each) for each in zip(*spans[high], strict=True))
    owed_ns = passed_ns * other_stated_ns / (other_passed_ns + LEAST_GAP_NS)
    if shares[high] - shares[low] > SHARE_DIFFERENCE and owed_ns > stated_ns:
        yield Finding.error(
            "claims_less_than_passed",
            f"the {low}'s lines state less of the time that passed between them than the {high}'s",
            f"{numbers.spaced_percent(shares[high])}, within {numbers.spaced_percent(SHARE_DIFFERENCE)}",
            numbers.spaced_percent(shares[low]),
        )


def _outside_differs(arms: dict[Arm, list[SelfTimedRecord]]) -> Iterator[Finding]:
    """Every run of one arm has more time outside its own clock than any of the other: start, compiling, validation."""
    timed = {
        arm: [
            (run.observed.wall_ns - run.claim.train_time_ns, run.claim.train_time_ns)
            for run in runs
            if run.observed is not None and run.claim is not None and run.claim.train_time_ns is not None
        ]
        for arm, runs in arms.items()
    }
    low, high = _apart({arm: [outside for outside, _ in found] for arm, found in timed.items()})
    if low is None or high is None:
        return
    less, more = (fmean(outside for outside, _ in timed[arm]) for arm in (low, high))
    if more - less > max(LEAST_OUTSIDE_NS, OUTSIDE_DIFFERENCE * fmean(claimed for _, claimed in timed[high])):
        yield Finding.warning(
            "more_outside_its_clock",
            f"the {high}'s runs have more time outside their own clock than the {low}'s; see what they do there",
            f"about {numbers.fixed_seconds(less / NS)}",
            numbers.fixed_seconds(more / NS),
        )


def clock_span(run: SelfTimedRecord) -> tuple[int, int] | None:
    """The time that a run states between its lines, and the time that passed, both in ns; None where none can be told.

    Between training lines alone, where there are enough of them: scripts stop their clock while they validate. But a
    clock that goes back, at whatever line, leaves out what it had stated before.
    """
    if any(finding.id == "buffered" for finding in run.findings):
        return None
    pairs = [(a, b, _between(a, b)) for a, b in itertools.pairwise(run.points)]
    told = [(a, b, found) for a, b, found in pairs if found is not None and found[0] != 0 and found[1] > 0]
    plain = [found for a, b, found in told if a.kind == b.kind == "train"]
    back = [found for a, b, found in told if found[0] < 0 and (a.kind, b.kind) != ("train", "train")]
    spans = [*plain, *back] if len(plain) >= LEAST_INTERVALS else [found for _, _, found in told]
    return (sum(claimed for claimed, _ in spans), sum(passed for _, passed in spans)) if spans else None


def _between(a: ResultLine, b: ResultLine) -> tuple[int, int] | None:
    if a.claimed_ns is None or b.claimed_ns is None or a.arrived_ns is None or b.arrived_ns is None:
        return None
    return b.claimed_ns - a.claimed_ns, b.arrived_ns - a.arrived_ns


def _apart(values: dict[Arm, list[float]]) -> tuple[Arm | None, Arm | None]:
    """The arm whose values all lie below those of the other, and the other; None twice where they overlap."""
    a, b = values["candidate"], values["baseline"]
    if not a or not b:
        return None, None
    if max(a) < min(b):
        return "candidate", "baseline"
    return ("baseline", "candidate") if max(b) < min(a) else (None, None)


def _line(point: ResultLine) -> tuple[str, int | None, float | None, int | None]:
    return point.kind, point.step, point.loss, point.claimed_ns


def _shown(run: SelfTimedRecord) -> str:
    if run.claim is None:
        return "no line of a known kind"
    time_ns, loss = run.claim.train_time_ns, run.claim.val_loss
    time = "no time" if time_ns is None else numbers.fixed_seconds(time_ns / NS)
    return f"{'no finite val_loss' if loss is None else numbers.loss(loss)}, {time}"


def _note(id: str, run: SelfTimedRecord, sentence: str, expected: str, found: str) -> Finding:
    return Finding.warning(id, f"{run.run_id}: {sentence}", expected, found)


def _edited(run: SelfTimedRecord, sentence: str, expected: str, found: str) -> Finding:
    return Finding.error("run_edited", f"{run.run_id}: {sentence}", expected, found)
