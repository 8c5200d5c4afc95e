"""Relations between the runs of a campaign, its plan and its ledger, each a pure function to what cannot be.

The docstring of a relation says why it holds; the table is in relations.py.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..formats.run import RunRecord
from ..selftimed.record import SelfTimedRecord
from ..status import Status
from ..system import clock
from .campaign import Plan
from .ledger import Entry, Ledger, OutcomeEntry
from .run_relations import Contradiction, RunFacts, least_wall_s, wall_seconds

AHEAD = timedelta(days=1)  # a clock, or a time zone, that is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFacts:
    """A campaign as it was read: its ledger and the readable runs in the order of their attempts."""

    plan: Plan
    ledger: Ledger
    runs: Sequence[RunFacts]
    self_timed: Sequence[SelfTimedRecord] = ()  # the same, where scripts timed themselves

    def over(self) -> list[RunRecord]:
        """The runs that have an end, in the order of their attempts."""
        return [facts.run for facts in self.runs if facts.run.finished_at is not None]


def times_of(run: RunRecord) -> tuple[int, int] | None:
    """When a run held its machine, first process to last stamp and scoring, on that machine's raw clock."""
    if run.stamps is None:
        return None
    stamps = run.stamps
    last_ns = max(t for t in (stamps.start_ns, stamps.go_ns, stamps.stop_ns, stamps.dead_ns) if t is not None)
    return stamps.start_ns, last_ns + (run.phases.score_ns or 0)


def ledger_goes_back_in_time(facts: CampaignFacts) -> Iterator[Contradiction]:
    """Lines are appended one after the other, so none is older than the one before; none is of the future."""
    for a, b in itertools.pairwise(facts.ledger.entries):
        if wall_seconds(a.at, b.at) < 0:
            yield f"line {b.seq + 1} of the ledger is older than the one before it", f"{a.at} or later", f"{b.at}"
    latest = max((entry.at for entry in facts.ledger.entries), default=None)
    if latest is not None and latest > clock.utc_now() + AHEAD:
        yield (
            "the ledger is of the future, or this machine's clock is behind",
            f"{clock.utc_now()} or earlier",
            f"{latest}",
        )


def plan_named_after_its_time(facts: CampaignFacts) -> Iterator[Contradiction]:
    """A campaign is named with the second of its plan, which is entered then or later."""
    plan, first = facts.plan, facts.ledger.entries[0] if facts.ledger.entries else None
    if plan.campaign_id[:20] != f"{plan.created_at:%Y-%m-%dT%H-%M-%SZ}":
        yield "the campaign is not named after its plan's time", f"{plan.created_at}", plan.campaign_id
    if first is not None and wall_seconds(plan.created_at, first.at) < 0:
        yield "the plan was entered before it was made", f"{plan.created_at} or later", f"{first.at}"


def run_outside_its_attempt(facts: CampaignFacts) -> Iterator[Contradiction]:
    """A run begins after the plan and after its attempt was entered, and ends before its outcome was."""
    spans = _spans(facts.ledger.entries)
    runs: list[RunRecord | SelfTimedRecord] = [*(each.run for each in facts.runs), *facts.self_timed]
    for run in runs:
        if wall_seconds(facts.plan.created_at, run.started_at) < 0:
            yield f"run {run.run_id} begins before its plan", f"{facts.plan.created_at} or later", f"{run.started_at}"
        entered, left = spans.get(run.run_id, (None, None))
        if entered is not None and wall_seconds(entered, run.started_at) < 0:
            yield f"run {run.run_id} begins before its attempt was entered", f"{entered} or later", f"{run.started_at}"
        # a run whose referee was killed is closed when the campaign is taken up, which may be any time later
        if left is not None and run.finished_at is not None and wall_seconds(run.finished_at, left) < 0:
            yield f"run {run.run_id} ends after its outcome was entered", f"{left} or earlier", f"{run.finished_at}"


def _spans(entries: Sequence[Entry]) -> dict[str, tuple[datetime | None, datetime | None]]:
    """When each run's attempt and outcome were entered."""
    spans: dict[str, tuple[datetime | None, datetime | None]] = {}
    for entry in entries:
        if entry.kind == "attempt":
            spans[entry.run_id] = (entry.at, None)
        elif isinstance(entry, OutcomeEntry):
            spans[entry.run_id] = (spans.get(entry.run_id, (None, None))[0], entry.at)
    return spans


def runs_overlap(facts: CampaignFacts) -> Iterator[Contradiction]:
    """One run at a time on a machine: on its raw clock, a run begins after the one before has been scored."""
    for a, b in pairs_on_one_boot(facts.over()):
        first, second = times_of(a), times_of(b)
        if first is not None and second is not None and second[0] < first[1]:
            sentence = f"runs {a.run_id} and {b.run_id} overlap on one machine"
            yield sentence, f"a start after {first[1]} ns", f"{second[0]} ns"


def clocks_disagree(facts: CampaignFacts) -> Iterator[Contradiction]:
    """Between two runs of one boot the wall clock shows no less than the raw clock."""
    for a, b in pairs_on_one_boot(facts.over()):
        if a.stamps is None or b.stamps is None:
            continue
        least_s, found_s = least_wall_s(b.stamps.start_ns - a.stamps.start_ns), wall_seconds(a.started_at, b.started_at)
        waited_s = wall_seconds(b.started_at, b.finished_at) if b.finished_at else 0  # before its first process
        if found_s + waited_s < least_s:
            sentence = f"from run {a.run_id} to run {b.run_id} the wall clock shows less than the raw clock"
            yield sentence, f"at least {least_s:.1f} s", f"{found_s:.0f} s"


def one_boot_of_two_machines(facts: CampaignFacts) -> Iterator[Contradiction]:
    """What was booted once has one kernel, one processor, one memory."""
    for a, b in pairs_on_one_boot([each.run for each in facts.runs]):
        for name in ("kernel", "cpu_model", "memory_bytes"):
            x, y = getattr(a.environment, name), getattr(b.environment, name)
            if x != y:
                yield f"runs {a.run_id} and {b.run_id} are of one boot and of two machines: {name}", f"{x}", f"{y}"


def load_of_some_runs(facts: CampaignFacts) -> Iterator[Contradiction]:
    """Of one campaign either all complete runs keep what else the machine did, or none does."""
    complete = [each.run for each in facts.runs if each.run.status == Status.COMPLETE]
    without = [run.run_id for run in complete if run.load is None]
    if without and len(without) < len(complete):
        sentence = f"run {without[0]} does not tell what else its machine did, and others of its campaign do"
        yield sentence, f"a load in each of {len(complete)} runs", f"none in {len(without)}"


def pairs_on_one_boot(runs: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, RunRecord]]:
    """Every run with the one before it on the same boot of the same machine, in the given order."""
    last: dict[str, RunRecord] = {}
    for run in runs:
        boot = run.owner.boot_id
        if boot in last:
            yield last[boot], run
        last[boot] = run


def secrets_told_twice(facts: CampaignFacts) -> Iterator[Contradiction]:
    """No two runs have the same secret or the same nanoseconds: shadow text, permutation, stamps.

    That two seeds come to the same weights is no contradiction but a seed ignored: equal_weights of the rules says so.
    """
    for i, a in enumerate(facts.runs):
        for b in facts.runs[i + 1 :]:
            same = _shared_secret(a.run, b.run)
            if same is not None:
                yield f"runs {a.run.run_id} and {b.run.run_id} have the same {same}", "another in each run", "the same"


def _shared_secret(a: RunRecord, b: RunRecord) -> str | None:
    """What two runs have in common that only one run can have; None where nothing."""
    x, y = (run.score.shadow if run.score is not None else None for run in (a, b))
    if x is not None and y is not None and x.seed == y.seed:
        return "secret shadow text"
    if a.stamps is not None and a.stamps == b.stamps:
        return "stamps"
    if a.relabelling_sha256 is not None and a.relabelling_sha256 == b.relabelling_sha256:
        return "secret permutation"
    return None
