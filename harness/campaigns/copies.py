"""Copies: what two campaigns may not have in common, since each run happened once, on a machine it had alone.

Seeds, secrets and the machine's own clock differ from campaign to campaign; so weights, losses of all windows, shadow
text and stamps do. A run that shares one of them with a run of another campaign is that run told twice.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence

from ..formats.run import Finding, RunRecord
from .campaign_relations import times_of


def copied(runs: Sequence[RunRecord], others: Iterable[tuple[str, Sequence[RunRecord]]]) -> Iterator[Finding]:
    """What these runs share with those of other campaigns. others: what to call a campaign, and its runs."""
    known: dict[tuple[str, Hashable], tuple[str, str]] = {}
    busy: dict[str, list[tuple[int, int, str, str]]] = {}
    for name, theirs in others:
        for run in theirs:
            known |= dict.fromkeys(_marks(run), (name, run.run_id))
            if (span := times_of(run)) is not None:
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


def _overlapping(run: RunRecord, busy: dict[str, list[tuple[int, int, str, str]]]) -> Iterator[Finding]:
    span = times_of(run)
    if span is None:
        return
    for start_ns, end_ns, name, other in busy.get(run.owner.boot_id, []):
        if span[0] < end_ns and start_ns < span[1]:
            sentence = f"run {run.run_id} overlaps with {other} of {name} on one machine"
            yield Finding.error(
                "runs_overlap", sentence, f"none of {start_ns} to {end_ns} ns", f"{span[0]} to {span[1]} ns"
            )


def _marks(run: RunRecord) -> list[tuple[str, Hashable]]:
    """What only this run can have."""
    marks: list[tuple[str, Hashable]] = [("name", run.run_id)]
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
