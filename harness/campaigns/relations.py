"""Every relation between two numbers of a campaign that physics, the track or the harness fixes, in one table.

Whoever invents a run has to invent all of it: what contradicts itself is an error, named after the relation it
breaks. Whoever computes every number so that all relations hold has forged well; against that there are other
people's runs. Two campaigns are compared in copies.py, numbers with their derivation in verdict.py.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..formats.run import Finding
from . import campaign_relations, exam_relations, run_relations
from .campaign_relations import CampaignFacts
from .exam_relations import ExamFacts
from .run_relations import Contradiction, RunFacts

FixedBy = Literal["physics", "the track", "the harness"]


@dataclass(frozen=True, slots=True)
class Relation:
    """One row of the table. holds_of: a function from facts to what contradicts it; its name is the finding's id."""

    holds_of: Callable[[RunFacts], Iterator[Contradiction]] | Callable[[CampaignFacts], Iterator[Contradiction]]
    between: str  # the numbers
    fixed_by: FixedBy

    @property
    def id(self) -> str:
        return self.holds_of.__name__

    @property
    def why(self) -> str:
        """One sentence or two, for a person."""
        return " ".join((inspect.getdoc(self.holds_of) or "").split())


OF_EXAMS: tuple[tuple[Callable[[ExamFacts], Iterator[Contradiction]], str, FixedBy], ...] = (
    (exam_relations.negative_loss, "losses, 0", "physics"),
    (exam_relations.mean_above_maximum, "mean and maximum of probes, pairs", "physics"),
    (exam_relations.gain_beyond_its_probes, "gain, its error, maximum, window", "physics"),
    (exam_relations.leak_is_not_charged, "leak_nats, gains of the last position and of state, maxima", "the track"),
    (exam_relations.gap_is_no_difference, "gap, losses of shadow and scored text", "physics"),
    (exam_relations.gap_error_below_its_windows, "error of the gap, losses of windows", "physics"),
    (exam_relations.windows_are_not_the_tracks, "window, batch, sums, evaluation", "the track"),
    (exam_relations.fewer_probes_than_the_tracks, "pairs, probe_pairs", "the track"),
    (exam_relations.shadow_is_not_the_tracks, "shadow's count and source, shadow_tokens, dataset", "the track"),
    (exam_relations.untold_finding, "findings, score, tolerances", "the track"),
    (exam_relations.sentence_tells_another_loss, "sentence, val_loss", "the harness"),
)
OF_RUNS: tuple[tuple[Callable[[RunFacts], Iterator[Contradiction]], str, FixedBy], ...] = (
    (run_relations.run_ends_before_it_begins, "started_at, finished_at", "physics"),
    (run_relations.run_named_after_its_start, "run_id, started_at", "the harness"),
    (run_relations.stamps_out_of_order, "stamps of a run", "physics"),
    (run_relations.complete_run_lacks_times, "status, phases", "physics"),
    (run_relations.run_shorter_than_its_phases, "started_at, finished_at, stamps, score_ns", "physics"),
    (run_relations.exam_longer_than_scoring, "eval_ns, charges, score_ns", "physics"),
    (run_relations.prepared_more_than_its_cores, "charge of PREPARE, prepare_ns, cpu_cores", "physics"),
    (run_relations.beyond_a_limit, "phases, weights, budget", "the track"),
    (run_relations.curve_outside_the_run, "elapsed_ns of progress.jsonl, stamps", "physics"),
    *OF_EXAMS,
    (run_relations.machine_did_the_impossible, "load, train_ns, cores", "physics"),
    (run_relations.data_is_not_the_tracks, "shards read, shards of the dataset", "the track"),
    (run_relations.relabelling_without_digest, "relabelled, its digest", "the harness"),
    (run_relations.impossible_machine, "cores, memory, ranks, GPUs", "physics"),
    (run_relations.empty_weights, "tensors, bytes", "physics"),
)
OF_CAMPAIGNS: tuple[tuple[Callable[[CampaignFacts], Iterator[Contradiction]], str, FixedBy], ...] = (
    (campaign_relations.ledger_goes_back_in_time, "times of the ledger's lines", "physics"),
    (campaign_relations.plan_named_after_its_time, "campaign_id, created_at, first line", "the harness"),
    (campaign_relations.run_outside_its_attempt, "started_at, finished_at, plan, attempt, outcome", "physics"),
    (campaign_relations.runs_overlap, "stamps of runs of one boot", "physics"),
    (campaign_relations.clocks_disagree, "wall and raw clock of runs of one boot", "physics"),
    (campaign_relations.one_boot_of_two_machines, "boot, kernel, processor, memory", "physics"),
    (campaign_relations.load_of_some_runs, "load of a campaign's runs", "the harness"),
    (campaign_relations.secrets_told_twice, "shadow text, permutation, stamps of two runs", "physics"),
)
RELATIONS = (*(Relation(*row) for row in OF_RUNS), *(Relation(*row) for row in OF_CAMPAIGNS))


def contradictions(facts: CampaignFacts) -> Iterator[Finding]:
    """Everything in a campaign that cannot be, as errors named after the relations."""
    for of_run, _, _ in OF_RUNS:
        for run in facts.runs:
            yield from (Finding.error(of_run.__name__, *found) for found in of_run(run))
    for of_campaign, _, _ in OF_CAMPAIGNS:
        yield from (Finding.error(of_campaign.__name__, *found) for found in of_campaign(facts))


def exam_contradictions(facts: ExamFacts) -> Iterator[Finding]:
    """Everything in an exam alone that cannot be."""
    for of_exam, _, _ in OF_EXAMS:
        yield from (Finding.error(of_exam.__name__, *found) for found in of_exam(facts))


def table() -> list[str]:
    """The relations as rows of Markdown, for docs/relations.md."""
    rows = ["| finding | between | fixed by | why |", "| --- | --- | --- | --- |"]
    return rows + [f"| `{r.id}` | {r.between} | {r.fixed_by} | {r.why} |" for r in RELATIONS]
