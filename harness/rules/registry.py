"""The table of rules that a record must hold, and the findings they come to.

Each rule is a function of record_rules.py or run_rules.py, which says what it expects and what it found; its number
is in track.toml. A machine reads the verdict as ids and severities, a person as sentences; nobody types a number, nor
decides a case by hand. An error-level finding keeps a record out. A few rules may be waived, by a written reason that
is then always shown; no statistic and no digest is ever waived.

The rules of the source are in source_rules.py; harness/campaigns/bundle.py checks that the evidence is whole.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from data.datasets import load_dataset

from ..errors import DataError
from ..formats.run import Finding, RunRecord
from ..formats.track import Track
from . import arm_rules, exam_rules, record_rules, run_rules
from .record_rules import Breach, RuleInput, StatedClaim

if TYPE_CHECKING:
    from ..campaigns.bundle import Bundle
    from ..campaigns.evidence import Evidence

MIN_REASON = 20  # characters of a waiver's reason


class StatedWaiver(Protocol):
    """One entry of a statement's waivers."""

    @property
    def finding(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    broken: Callable[[RuleInput, Track], Iterator[Breach]]
    severity: Literal["error", "warning"]
    number: str | None  # key of track.toml that holds its number
    answers: str  # the ways to cheat or to err that it closes

    @property
    def id(self) -> str:
        """The name of its function."""
        return self.broken.__name__

    @property
    def why(self) -> str:
        """One sentence or two, for a person."""
        return " ".join((inspect.getdoc(self.broken) or "").split())


@dataclass(frozen=True, slots=True)
class Waived:
    """A finding that does not count, and why; always shown."""

    finding: Finding
    reason: str


def check_rules(
    bundle: "Bundle",
    evidence: "Evidence",
    track: Track,
    statement: StatedClaim,
    source_findings: Sequence[Finding],
    *,
    reigning: str | None,
    history: Sequence[RunRecord] = (),
    record_bytes: int | None = None,
    rules: Sequence["Rule"] | None = None,
) -> tuple[Finding, ...]:
    """Every finding about a bundle that wants to be a record: the bundle's own, its runs', the source's, the rules'.

    reigning: the record that stood before this one; None only where there is none. history: that record's runs.
    record_bytes: of the folder as it will be, where it is made already. rules: all of them by default.
    """
    given = RuleInput(
        bundle=bundle,
        evidence=evidence,
        statement=statement,
        reigning=reigning,
        history=tuple(history),
        record_bytes=record_bytes,
        pinned=_pinned(track),
    )
    broken = [
        Finding(
            id=rule.id,
            severity=rule.severity,
            sentence=breach.sentence,
            expected=breach.expected,
            found=breach.found,
        )
        for rule in (RULES if rules is None else rules)
        for breach in rule.broken(given, track)
    ]
    return tuple(dict.fromkeys((*bundle.findings, *_of_runs(given), *source_findings, *broken)))


def _pinned(track: Track) -> Mapping[str, str]:
    try:
        return load_dataset(track.data.dataset).sha256
    except DataError:  # a dataset that this checkout does not know
        return {}


def waive(
    findings: Iterable[Finding], waivers: Iterable[StatedWaiver], track: Track
) -> tuple[tuple[Finding, ...], tuple[Waived, ...]]:
    """The findings that stand, and those waived with their reasons.

    A waiver the track does not allow, or without a reason of 20 characters, is itself an error; one that nothing
    needs is a warning.
    """
    findings, reasons, refused = tuple(findings), {}, []
    for waiver in waivers:
        problem = _problem(waiver, findings, track)
        if problem is None:
            reasons[waiver.finding] = " ".join(waiver.reason.split())
        else:
            refused.append(problem)
    standing = [finding for finding in findings if finding.id not in reasons]
    waived = [Waived(finding, reasons[finding.id]) for finding in findings if finding.id in reasons]
    return (*standing, *refused), tuple(waived)


def _problem(waiver: StatedWaiver, findings: Sequence[Finding], track: Track) -> Finding | None:
    allowed = ", ".join(track.rules.waivable) or "none"
    if waiver.finding not in track.rules.waivable:
        expected, found = f"one of the findings this track lets waive: {allowed}", repr(waiver.finding)
    elif len(" ".join(waiver.reason.split())) < MIN_REASON:
        expected, found = f"a reason of at least {MIN_REASON} characters", repr(waiver.reason)
    elif all(finding.id != waiver.finding for finding in findings):
        expected, found = "a finding to waive", f"no {waiver.finding}"
        return Finding.warning("waiver_unused", "nothing to waive", expected, found)
    else:
        return None
    return Finding.error(
        id="waiver_refused",
        sentence=f"the waiver of {waiver.finding!r} does not hold",
        expected=expected,
        found=found,
    )


def _of_runs(given: RuleInput) -> Iterator[Finding]:
    """What the referee and the judge found in the counted runs, with the run's name."""
    for arm in ("candidate", "baseline"):
        for run in given.runs(arm):
            for finding in run.findings:
                yield finding.model_copy(update={"sentence": f"run {run.run_id} ({arm}): {finding.sentence}"})


RULES = (
    Rule(record_rules.significance, "error", "significance.alpha",
         "optional stopping, lucky runs, a target met by rounding"),
    Rule(record_rules.degenerate_sample, "error", None,
         "one run called an experiment, equal losses, NaN and infinite losses"),
    Rule(record_rules.faster_than_parent, "error", "rules.faster_alpha",
         "noise sold as progress, a faster machine sold as a faster method"),
    Rule(record_rules.lower_loss_than_parent, "error", "significance.alpha",
         "noise sold as progress where the lowest loss wins"),
    Rule(record_rules.baseline_is_reigning, "error", None,
         "a race against an opponent of one's own choice"),
    Rule(record_rules.equal_loss, "error", "rules.equal_loss_margin_nats",
         "a change of the numbers passed off as a faster system, to skip the loss test"),
    Rule(record_rules.min_runs, "error", "rules.min_runs",
         "a variance guessed from too few runs"),
    Rule(run_rules.failed_run, "error", None,
         "crashes, timeouts and invalid runs left out of the mean; a probe's findings forgotten"),
    Rule(run_rules.failed_baseline, "warning", None,
         "a baseline that was made to fail"),
    Rule(run_rules.own_data, "error", None,
         "training on validation text; shards that are easier or in another order"),
    Rule(run_rules.whole_exam, "error", "data.val_tokens",
         "only easy tokens scored, probes left out, a finding taken out of a run"),
    Rule(exam_rules.shadow_gap_over_runs, "error", "evaluation.shadow_tolerance_nats",
         "scored text known a little, below what one run shows"),
    Rule(exam_rules.leak_over_runs, "error", "evaluation.leak_standard_errors",
         "a look ahead, or learning while asked, below what one run shows"),
    Rule(run_rules.within_budget, "error", "budget.train_s",
         "a run that went on after its limit"),
    Rule(run_rules.user_seed, "error", None,
         "seeds searched by brute force and then called typical"),
    Rule(record_rules.repeated_seed, "error", None,
         "one run repeated and counted as many"),
    Rule(record_rules.equal_weights, "error", None,
         "weights carried in the source or from an earlier run; a seed that is ignored"),
    Rule(record_rules.uncounted_attempts, "error", "rules.uncounted_share",
         "slow runs interrupted until a fast one comes"),
    Rule(record_rules.own_track, "error", None,
         "a result carried over from an easier contest"),
    Rule(record_rules.date_of_runs, "error", None,
         "a date set back to come first"),
    Rule(run_rules.sandbox_level, "error", "rules.sandbox",
         "validation data, network and earlier runs within a submission's reach"),
    Rule(run_rules.hardware_class, "error", "hardware.gpu_models",
         "faster, more or mixed hardware under the name of the class"),
    Rule(record_rules.budget_margin, "warning", "rules.budget_share",
         "work moved into PREPARE; a record that dies on the next machine"),
    Rule(record_rules.time_spread, "warning", "rules.time_spread",
         "a busy or throttled machine; runs stopped one by one at a lucky moment"),
    Rule(record_rules.baseline_in_its_own_interval, "warning", "rules.baseline_offset",
         "a baseline held back: other settings, a cold cache, a busy neighbour"),
    Rule(arm_rules.machine_taken_from_baseline, "error", None,
         "a neighbour that wakes for the baseline: a slowed baseline sells a fast candidate"),
    Rule(arm_rules.machine_differs_between_arms, "warning", None,
         "a busy neighbour of one arm"),
    Rule(arm_rules.gpu_clocks_differ_between_arms, "warning", None,
         "clocks or power limits that are lowered for the baseline"),
    Rule(record_rules.record_size, "error", "rules.record_bytes",
         "weights or tables handed in as evidence; a repository nobody can clone"),
)  # fmt: skip
