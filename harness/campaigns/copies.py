"""Copies: what two campaigns may not have in common, since each run happened once, on a machine it had alone.

Seeds, secrets and the machine's own clock differ from campaign to campaign; so weights, losses of all windows, shadow
text, stamps and the nanoseconds in which lines arrive do. A run that shares one of them with a run of another campaign
is that run told twice.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence

from ..formats.run import Finding, RunRecord
from ..selftimed.record import SelfTimedRecord
from .campaign import CampaignRun
from .campaign_relations import times_of


def copied(runs: Sequence[CampaignRun], others: Iterable[tuple[str, Sequence[CampaignRun]]]) -> Iterator[Finding]:
    """What these runs share with those of other campaigns. others: what to call a campaign, and its runs."""
    known: dict[tuple[str, Hashable], tuple[str, str]] = {}
    busy: dict[str, list[tuple[int, int, str, str]]] = {}
    for name, theirs in others:
        for run in theirs:
            known |= dict.fromkeys(_marks(run), (name, run.run_id))
            if (span := _span(run)) is not None:
                busy.setdefault(run.owner.boot_id, []).append((*span, name, run.run_id))
    for run in runs:
        shared = [(mark, known[mark]) for mark in _marks(run) if mark in known]
        if shared:
            (what, _), (name, other) = shared[0]
            expected = f"a run of its own, not {other} of {name}"
            yield Finding.error(
                "copied_run", f"run {run.run_id} is that of another campaign", expected, f"the same {what}"
            )
            continue
        yield from _overlapping(run, busy)


def _overlapping(run: CampaignRun, busy: dict[str, list[tuple[int, int, str, str]]]) -> Iterator[Finding]:
    span = _span(run)
    if span is None:
        return
    for start_ns, end_ns, name, other in busy.get(run.owner.boot_id, []):
        if span[0] < end_ns and start_ns < span[1]:
            sentence = f"run {run.run_id} overlaps with {other} of {name} on one machine"
            yield Finding.error(
                "runs_overlap", sentence, f"none of {start_ns} to {end_ns} ns", f"{span[0]} to {span[1]} ns"
            )


def _span(run: CampaignRun) -> tuple[int, int] | None:
    """When it held its machine. A self-timed run has no stamps on the machine's own clock."""
    return times_of(run) if isinstance(run, RunRecord) else None


def _marks(run: CampaignRun) -> list[tuple[str, Hashable]]:
    """What only this run can have."""
    marks: list[tuple[str, Hashable]] = [("name", run.run_id)]
    if isinstance(run, SelfTimedRecord):
        arrivals = tuple((point.step, point.arrived_ns) for point in run.points if point.arrived_ns is not None)
        return [*marks, ("arrivals of its lines", arrivals)] if len(arrivals) > 1 else marks
    if run.weights is not None:
        marks.append(("weights", run.weights.sha256))
    if run.score is not None:
        marks.append(("losses of all windows", tuple(run.score.windows.loss_sums)))
        if run.score.shadow is not None:
            marks.append(("secret shadow text", run.score.shadow.seed))
    if run.relabelling_sha256 is not None:
        marks.append(("secret permutation", run.relabelling_sha256))
    if run.stamps is not None:
        marks.append(("stamps", (run.owner.boot_id, *run.stamps.model_dump().values())))
    return marks
