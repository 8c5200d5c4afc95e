"""A summary: what a campaign came to, as one object for a machine and in words for a person. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..formats import numbers
from ..formats.run import Finding, errors_of
from ..formats.track import Track
from ..stats.comparison import loss_sentence
from ..stats.power import Design
from ..status import ExitCode, Status
from ..system.clock import NS
from .bundle import Bundle
from .evidence import ArmEvidence, Evidence, JudgedArm, JudgedEvidence, derive, derive_judged


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSummary:
    """What `speedrun run --runs` and `speedrun compare` print with --json."""

    campaign_id: str
    folder: str
    purpose: Literal["runs", "compare", "reproduce"]
    tier: Literal["refereed", "reported"]  # reported: losses and times are those that the scripts state
    track: str
    closed: bool  # every slot is filled
    stopped_by: Status | None  # what kept the campaign from going on
    exit_code: int
    evidence: Evidence
    judged: JudgedEvidence | None  # by the judge's losses, where checkpoints were judged; the rest is as stated
    findings: tuple[Finding, ...]
    sentences: tuple[str, ...]


def summarise(bundle: Bundle, track: Track, stopped_by: Status | None) -> CampaignSummary:
    """stopped_by: the status of the run that ended the campaign early."""
    evidence, judged = derive(bundle, track), derive_judged(bundle, track)
    findings = tuple(finding for finding in bundle.findings if bundle.closed or finding.id != "not_closed")
    return CampaignSummary(
        campaign_id=bundle.plan.campaign_id,
        folder=str(bundle.folder),
        purpose=bundle.plan.purpose,
        tier="refereed" if bundle.plan.self_timed is None else "reported",
        track=track.name,
        closed=bundle.closed,
        stopped_by=stopped_by,
        exit_code=_exit_code(bundle, evidence, judged, stopped_by),
        evidence=evidence,
        judged=judged,
        findings=findings,
        sentences=tuple(_sentences(bundle, evidence, judged, track)),
    )


def _exit_code(
    bundle: Bundle, evidence: Evidence, judged: JudgedEvidence | None, stopped_by: Status | None
) -> ExitCode:
    """OK: closed, whole, every counted run of both arms valid, and the candidate passes the track's test, by the
    judge's losses too where there are any."""
    if not bundle.closed:
        return stopped_by.exit_code if stopped_by else ExitCode.REFEREE
    baselines = (evidence.baseline, None if judged is None else judged.baseline)
    baseline_failed = any(arm is not None and arm.failed for arm in baselines)
    is_whole = not errors_of(bundle.findings)
    is_valid = evidence.candidate.valid and (judged is None or judged.candidate.valid)
    good = is_valid and not baseline_failed and is_whole
    return ExitCode.OK if good else ExitCode.MISSED


def _sentences(bundle: Bundle, evidence: Evidence, judged: JudgedEvidence | None, track: Track) -> list[str]:
    found = [_validity(evidence.candidate, track), *_more_runs(evidence.candidate, track), _time(evidence.candidate)]
    if evidence.baseline is not None:
        arm = bundle.plan.arm("baseline")
        name = arm.record if arm is not None and arm.record else "the baseline"
        found += [
            f"{name}: {_lower(_validity(evidence.baseline, track))}",
            f"{name}: {_lower(_time(evidence.baseline))}",
        ]
    if evidence.comparison is not None:
        found += evidence.comparison.sentences()
    if bundle.plan.self_timed is not None:
        found += [*_reported(bundle), *_judged(judged, track)]
    if evidence.uncounted:
        found.append(f"{evidence.uncounted} of {evidence.attempts} attempts do not count; they stay in the ledger.")
    return found


def _reported(bundle: Bundle) -> tuple[str, ...]:
    """That nobody measured any of it, and what the referee's clock says of whole runs."""
    wall_s: dict[str, float] = {}
    for arm in ("candidate", "baseline"):
        seen = [a.run.observed.wall_ns for a in bundle.stated if a.counted and a.slot.arm == arm and a.run.observed]
        if seen:
            wall_s[arm] = fmean(seen) / NS
    told = "Reported: losses and times are those that the scripts state of themselves."
    if not wall_s:
        return (told,)
    shown = ", ".join(f"{arm} {numbers.fixed_seconds(value)}" for arm, value in wall_s.items())
    ratio = f", ratio {numbers.ratio(wall_s['candidate'] / wall_s['baseline'])}" if len(wall_s) == 2 else ""
    return (told, f"On the referee's clock whole runs took: {shown}{ratio}.")


def _judged(judged: JudgedEvidence | None, track: Track) -> Iterator[str]:
    """What the judge's losses say beside the stated ones."""
    if judged is None:
        return
    yield "Judged: of the following losses each is the judge's, of a checkpoint that a run left; nothing else is."
    for arm in (judged.candidate, judged.baseline):
        if arm is None:
            continue
        above = arm.above_stated_nats
        beside = "" if above is None else f" Beside the stated ones: {numbers.signed_loss(above)} nats."
        yield f"Judged, {arm.arm}: {_lower(_validity(arm, track))}{beside}"
    if judged.equal_loss is not None:
        shown = loss_sentence(judged.loss_difference, judged.equal_loss, judged.equal_loss_margin_nats)
        yield f"Judged: {_lower(shown)}"


def _validity(arm: ArmEvidence | JudgedArm, track: Track) -> str:
    """Whether an arm passes the track's test."""
    if not arm.n:
        return f"Valid? No: none of {arm.failed} counted runs is valid." if arm.failed else "Valid? No run counts yet."
    assert arm.mean_loss is not None
    mean = f"mean val_loss {numbers.loss(arm.mean_loss, 5)} of {arm.n} run{'' if arm.n == 1 else 's'}"
    if arm.failed:
        return f"Valid? No: {arm.failed} of {arm.n + arm.failed} counted runs failed; {mean}."
    target, rule = track.target_val_loss, track.significance
    if target is None:
        return f"Valid? Yes: {mean}; this track has no target."
    if arm.p_value is None:
        return f"Valid? Cannot be told: {mean}, target {target:g}, and these losses allow no {rule.test}-test."
    verdict, p_value = "Yes" if arm.valid else "Not shown", numbers.plain_p_value(arm.p_value)
    return f"Valid? {verdict}: {mean}, target {target:g}, p = {p_value} ({rule.test}-test at {rule.alpha:g})."


def _more_runs(arm: ArmEvidence, track: Track) -> tuple[str, ...]:
    """How large a campaign would show what this one did not, if the truth is what it saw."""
    target, rule = track.target_val_loss, track.significance
    if arm.valid or arm.failed or target is None or arm.mean_loss is None or rule.test == "welch":
        return ()
    if arm.mean_loss >= target:
        above = numbers.loss(arm.mean_loss - target, 5)
        return (f"The mean is {above} nats above the target: more runs would not help.",)
    sd = rule.sigma or arm.sd_loss
    needed = (
        Design(test=rule.test, alpha=rule.alpha, sd=sd, sigma=rule.sigma).runs(target - arm.mean_loss) if sd else None
    )
    if needed is None:
        return ()
    return (
        f"A new campaign of {max(needed, arm.n + 1)} runs would show it nine times in ten, if the truth is this mean.",
    )


def _time(arm: ArmEvidence) -> str:
    if arm.mean_time_s is None:
        return "Time? None was measured."
    span = arm.time_interval_s
    interval = f" (95 % interval {numbers.fixed(span.low, 3)} to {numbers.fixed(span.high, 3)})" if span else ""
    return f"Time? {numbers.fixed_seconds(arm.mean_time_s)}{interval}."


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
