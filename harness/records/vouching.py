"""What a challenge has to hold besides its own chain, so that nobody is `reproduced` for nothing.

Its campaign is another one than the record's: other runs, seeds, weights, secrets and hours. Every rule of a run and of
a record applies to it, at no weaker sandbox than the record's. And beside the plain runs it holds one under a secret
permutation of the vocabulary, unless the plain runs were of other text than the record's, in a language of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..campaigns.bundle import Bundle
from ..campaigns.copies import copied
from ..campaigns.evidence import Evidence
from ..campaigns.track_match import contest_findings, core
from ..formats import numbers
from ..formats.run import Finding, RunRecord
from ..formats.track import Track
from ..rules.record_rules import StatedClaim
from ..rules.registry import RULES, check_rules
from ..rules.run_rules import SANDBOXES

# Who raced whom, how big a record is and what a systems claim needs are questions to records alone.
NOT_ASKED = frozenset({
    "faster_than_parent", "lower_loss_than_parent", "baseline_is_reigning", "baseline_in_its_own_interval",
    "equal_loss", "record_size", "budget_margin", "time_spread",
})  # fmt: skip
# A refutation is made of runs that fail or miss: those rules are what it shows to be broken.
SHOWN_BY_REFUTATIONS = frozenset({"failed_run", "significance", "degenerate_sample", "min_runs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengedRecord:
    """What a challenge is held against: the record's campaign and its track."""

    bundle: Bundle
    track: Track

    @property
    def runs(self) -> list[RunRecord]:
        return [attempt.run for attempt in self.bundle.attempts]


def vouching_findings(
    bundle: Bundle, evidence: Evidence, track: Track, statement: StatedClaim, record: ChallengedRecord, *, refutes: bool
) -> Iterator[Finding]:
    """What keeps a campaign from speaking about a record."""
    yield from own_campaign_findings(bundle, record)
    unasked = NOT_ASKED | (SHOWN_BY_REFUTATIONS if refutes else frozenset())
    asked = tuple(rule for rule in RULES if rule.id not in unasked)
    known = set(bundle.findings)
    findings = check_rules(bundle, evidence, track, statement, (), reigning=None, rules=asked)
    for finding in findings:
        if (
            finding not in known
            and finding.severity == "error"
            and (not refutes or finding.id in {r.id for r in asked})
        ):
            yield finding
    weakest, least = bundle.plan.sandbox, record.bundle.plan.sandbox
    if not refutes and _level(weakest) < _level(least):
        yield Finding.error(
            "weaker_sandbox", "it ran with less of a sandbox than the record", f"{least} or better", weakest
        )


def _level(sandbox: str) -> int:
    return SANDBOXES.index(sandbox) if sandbox in SANDBOXES else -1


def own_campaign_findings(bundle: Bundle, record: ChallengedRecord) -> Iterator[Finding]:
    """A campaign of its own: not the record's, none of its runs, and no seed of its."""
    own, theirs = bundle.plan, record.bundle.plan
    if own.campaign_id == theirs.campaign_id:
        yield Finding.error("copied_campaign", "the campaign is the record's own", "another campaign", own.campaign_id)
    shared = sorted(set(own.seeds) & set(theirs.seeds))
    if shared:
        yield Finding.error(
            "copied_seed", "its seeds are the record's", "seeds of its own", ", ".join(map(str, shared))
        )
    yield from copied([attempt.run for attempt in bundle.attempts], [("the record", record.runs)])


def relabelled_findings(labels: Bundle, plain: Bundle, track: Track, record: ChallengedRecord) -> Iterator[Finding]:
    """A relabelled campaign that belongs beside a plain one: whole, of the same source and contest, and its own."""
    yield from labels.findings
    yield from contest_findings(labels, track)
    yield from own_campaign_findings(labels, record)
    yield from copied([a.run for a in labels.attempts], [("the plain campaign", [a.run for a in plain.attempts])])
    for what, expected, found in (
        ("labels", "relabelled", "relabelled" if labels.plan.relabel else "plain"),
        ("source", plain.plan.arms[0].submission.sha256, labels.plan.arms[0].submission.sha256),
        ("contest", core(record.track), core(track)),
        ("track", plain.plan.track.name, labels.plan.track.name),
    ):
        if expected != found:
            yield Finding.error("relabelled_subject", f"the relabelled campaign is of other {what}", expected, found)


def speaks_another_language(plain: Sequence[RunRecord], record: Sequence[RunRecord]) -> bool:
    """Whether no shard of these runs was one of the record's: text unknown to all when the source was written."""
    theirs = {digest for run in record for digest in run.data.values()}
    ours = {digest for run in plain for digest in run.data.values()}
    return bool(ours and theirs) and ours.isdisjoint(theirs)


def mean_of_labels(labels: Bundle) -> tuple[float | None, int]:
    """Mean loss of the relabelled runs that count, and how many they are."""
    losses = [found[1] for run in labels.runs("candidate") if (found := run.result) is not None]
    return (fmean(losses) if losses else None), len(losses)


def missed_under_labels(labels: Bundle, track: Track) -> str | None:
    """In words, where the same source misses the target once its words are called otherwise; None where it does not."""
    mean, runs = mean_of_labels(labels)
    if track.target_val_loss is None or (mean is not None and mean <= track.target_val_loss):
        return None
    loss = numbers.loss(mean, 5)
    return f"under other labels val_loss {loss} of {runs} runs misses the target {track.target_val_loss:g}"
