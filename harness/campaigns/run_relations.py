"""Relations between two numbers of one run, each a pure function from the run to what cannot be.

The docstring of a relation says why it holds; the table is in relations.py. What is compared with a wall clock bears
its rounding to the second and its drift; nothing else bears anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from data.datasets import Dataset

from ..formats.run import Finding, RunRecord, Score
from ..formats.track import Track
from ..status import Status
from ..system.clock import NS

Contradiction = tuple[str, str, str]  # sentence, expected, found
WALL_SLACK_S = 2.0  # two stamps of the wall clock, each rounded to the second
WALL_DRIFT = 1e-3  # by which a wall clock may be slewed against the raw one
LIMIT_SLACK_S = 1.0  # a limit is enforced within this
ROUNDED = 2e-7  # nats: the difference of two losses of 7 digits each
COUNTER_SLACK_NS = NS // 10  # of one core: its counters grow by ticks
ARITHMETIC = 1e-6  # relative: float32 means against their own maximum


class Examined(Protocol):
    """What took the exam: a run, or a checkpoint that a self-timed script left."""

    @property
    def run_id(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def sentence(self) -> str: ...
    @property
    def practice(self) -> bool: ...
    @property
    def score(self) -> Score | None: ...
    @property
    def errors(self) -> tuple[Finding, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run, and what it has to fit. track, dataset: None where they cannot be read; other findings say so."""

    run: RunRecord
    track: Track | None
    dataset: Dataset | None
    curve: tuple[tuple[int, int], ...] = ()  # step and elapsed_ns of every line of progress.jsonl


def wall_seconds(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds()


def least_wall_s(raw_ns: int) -> float:
    """What the wall clock shows at least while so much time passes on the raw one."""
    return raw_ns / NS * (1 - WALL_DRIFT) - WALL_SLACK_S


def the_run(run: Examined) -> str:
    """Of a run, in a sentence."""
    return f"run {run.run_id}"


# -------------------------------------------------------------------------------------------------------- times


def run_ends_before_it_begins(facts: RunFacts) -> Iterator[Contradiction]:
    """A run begins, and then it ends."""
    run = facts.run
    if run.finished_at is not None and wall_seconds(run.started_at, run.finished_at) < 0:
        yield f"{the_run(run)} ends before it begins", f"{run.started_at} or later", f"{run.finished_at}"


def run_named_after_its_start(facts: RunFacts) -> Iterator[Contradiction]:
    """A run is named with the second at which it was entered, and begins then or later."""
    run = facts.run
    named = named_at(run.run_id)
    if named is None or wall_seconds(named, run.started_at) < 0:
        yield f"{the_run(run)} begins before it was named", run.run_id[:20], f"{run.started_at}"


def named_at(run_id: str) -> datetime | None:
    """The second in a run's name; None where it names no date."""
    try:
        return datetime.strptime(f"{run_id[:19]}+0000", "%Y-%m-%dT%H-%M-%S%z")
    except ValueError:
        return None


def stamps_out_of_order(facts: RunFacts) -> Iterator[Contradiction]:
    """Start, GO, STOP and the last death follow each other on one clock; there is no STOP without a GO."""
    run, stamps = facts.run, facts.run.stamps
    if stamps is None:
        return
    times = [stamps.start_ns, stamps.go_ns, stamps.stop_ns]
    reached = [time for time in times if time is not None]
    if stamps.dead_ns is not None:
        reached.append(stamps.dead_ns)
    gap = stamps.go_ns is None and stamps.stop_ns is not None
    if gap or reached != sorted(reached) or (stamps.stop_ns is not None and stamps.stop_ns == stamps.go_ns):
        found = ", ".join(map(str, [*times, stamps.dead_ns]))
        yield f"{the_run(run)}: its stamps are in no order", "start, GO, STOP and death one after the other", found


def complete_run_lacks_times(facts: RunFacts) -> Iterator[Contradiction]:
    """A complete run went through every phase, and each took time."""
    run = facts.run
    if run.status != Status.COMPLETE:
        return
    phases = {
        **run.phases.model_dump(),
        "finished_at": run.finished_at and 1,
        "dead_ns": run.stamps and run.stamps.dead_ns,
    }
    missing = [name for name, value in phases.items() if not value]
    if missing:
        yield f"{the_run(run)} is complete and lacks times", "every phase of a run", ", ".join(missing)


def run_shorter_than_its_phases(facts: RunFacts) -> Iterator[Contradiction]:
    """From start to end passes at least what the phases took together."""
    run, stamps = facts.run, facts.run.stamps
    if run.finished_at is None or stamps is None:
        return
    last_ns = max(t for t in (stamps.start_ns, stamps.go_ns, stamps.stop_ns, stamps.dead_ns) if t is not None)
    least_s = least_wall_s(last_ns - stamps.start_ns + (run.phases.score_ns or 0))
    found_s = wall_seconds(run.started_at, run.finished_at)
    if found_s < least_s:
        sentence = f"{the_run(run)} took less time on the wall clock than its phases"
        yield sentence, f"at least {least_s:.1f} s from its start to its end", f"{found_s:.0f} s"


def exam_longer_than_scoring(facts: RunFacts) -> Iterator[Contradiction]:
    """The exam, and what was charged for answers, are parts of scoring."""
    run, score_ns = facts.run, facts.run.phases.score_ns
    if score_ns is None:
        return
    parts = {"the exam": (run.score and run.score.eval_ns) or 0}
    parts |= {charge.kind: charge.measured_ns for charge in run.charges if charge.kind != "prepare"}
    for name, took_ns in parts.items():
        if took_ns > score_ns * (1 + WALL_DRIFT):  # the judge's clock is slewed
            yield f"{the_run(run)}: {name} took longer than all of scoring", f"at most {score_ns} ns", f"{took_ns} ns"
    if run.score is not None and run.score.eval_ns == 0:
        yield f"{the_run(run)}: the exam took no time", "more than 0 ns", "0 ns"


def prepared_more_than_its_cores(facts: RunFacts) -> Iterator[Contradiction]:
    """Processor time charged for PREPARE is no more than the cores could give in that time."""
    run, prepare_ns = facts.run, facts.run.phases.prepare_ns
    for charge in run.charges:
        most_ns = (prepare_ns or 0) * run.environment.cpu_cores + NS
        if charge.kind == "prepare" and charge.measured_ns > most_ns:
            yield (
                f"{the_run(run)}: PREPARE had more processor time than its cores gave",
                f"at most {most_ns} ns",
                (f"{charge.measured_ns} ns"),
            )


def beyond_a_limit(facts: RunFacts) -> Iterator[Contradiction]:
    """The referee ends a run of either arm at its limits, so no complete run is beyond them."""
    run, track = facts.run, facts.track
    if track is None or run.status != Status.COMPLETE:
        return
    limits_s = {"prepare": track.budget.prepare_s, "train": track.budget.train_s, "score": track.budget.score_s}
    for phase, limit_s in limits_s.items():
        took_s = (getattr(run.phases, f"{phase}_ns") or 0) / NS
        if took_s > limit_s + LIMIT_SLACK_S:
            yield f"{the_run(run)} was complete beyond a limit", f"{phase} of at most {limit_s:g} s", f"{took_s:.3f} s"
    if run.weights is not None and run.weights.bytes > track.budget.weights_bytes:
        expected = f"weights of at most {track.budget.weights_bytes} bytes"
        yield f"{the_run(run)} was complete beyond a limit", expected, f"{run.weights.bytes}"


def curve_outside_the_run(facts: RunFacts) -> Iterator[Contradiction]:
    """Lines of the curve are stamped by the referee one after the other, between GO and the last death."""
    run, stamps = facts.run, facts.run.stamps
    elapsed = [elapsed_ns for _, elapsed_ns in facts.curve]
    if not elapsed:
        return
    if elapsed != sorted(elapsed) or elapsed[0] < 0:
        yield f"{the_run(run)}: its curve goes back in time", "points one after the other", "others"
    if run.status == Status.COMPLETE and stamps is not None and stamps.go_ns is not None and stamps.dead_ns is not None:
        most_ns = stamps.dead_ns - stamps.go_ns
        if max(elapsed) > most_ns:
            yield f"{the_run(run)}: its curve goes on after its end", f"at most {most_ns} ns", f"{max(elapsed)} ns"


def machine_did_the_impossible(facts: RunFacts) -> Iterator[Contradiction]:
    """A load is measured from GO to STOP or a little more, and nobody takes more of a core than there is."""
    run, load = facts.run, facts.run.load
    if load is None:
        return
    if run.phases.train_ns is not None and load.wall_ns < run.phases.train_ns:
        yield (
            f"{the_run(run)}: its load is of less time than its training",
            f"{run.phases.train_ns} ns",
            f"{load.wall_ns} ns",
        )
    if load.cores > run.environment.cpu_cores:
        yield (
            f"{the_run(run)}: its load is of more cores than there are",
            f"{run.environment.cpu_cores}",
            f"{load.cores}",
        )
    most_ns = load.cores * (load.wall_ns + COUNTER_SLACK_NS)
    if load.others_ns + load.steal_ns > most_ns:
        found = f"{load.others_ns + load.steal_ns} ns"
        yield f"{the_run(run)}: others had more of its cores than there was", f"at most {most_ns} ns", found


def data_is_not_the_tracks(facts: RunFacts) -> Iterator[Contradiction]:
    """A complete run had the dataset's validation shard and as many training shards as the track gives."""
    run, track, dataset = facts.run, facts.track, facts.dataset
    if track is None or dataset is None or run.status != Status.COMPLETE or not dataset.sha256:
        return
    expected = {*dataset.train_files()[: track.data.train_shards], dataset.val_file}
    if run.data.keys() != expected:
        wrong = sorted(run.data.keys() ^ expected)
        yield (
            f"{the_run(run)} had other shards than its track",
            f"{len(expected)} shards",
            f"{len(wrong)} wrong, {wrong[0]}",
        )


def relabelling_without_digest(facts: RunFacts) -> Iterator[Contradiction]:
    """A run under other labels names the digest of its permutation, and only such a run does."""
    run = facts.run
    named = run.relabelling_sha256 is not None
    if (named and not run.relabelled) or (run.relabelled and not named and run.status == Status.COMPLETE):
        yield f"{the_run(run)}: relabelled and its digest do not fit", f"{run.relabelled}", f"{named}"


def impossible_machine(facts: RunFacts) -> Iterator[Contradiction]:
    """A machine has a core and memory, a run has a rank, and no GPU is there twice."""
    run, world = facts.run, facts.run.environment
    has = f"{world.cpu_cores}, {world.memory_bytes}"
    for what, wrong, found in (
        ("a core and memory", world.cpu_cores < 1 or world.memory_bytes < 1, has),
        ("a rank", run.world_size < 1, f"{run.world_size}"),
        ("GPUs that differ", len({gpu.uuid for gpu in world.gpus}) < len(world.gpus), f"{len(world.gpus)}"),
    ):
        if wrong:
            yield f"{the_run(run)} tells of an impossible machine", what, found


def empty_weights(facts: RunFacts) -> Iterator[Contradiction]:
    """Weights that were handed over are tensors with bytes."""
    run, weights = facts.run, facts.run.weights
    if weights is not None and (weights.tensors < 1 or weights.bytes < 1):
        yield (
            f"{the_run(run)} handed over nothing",
            "a tensor with a byte",
            f"{weights.tensors} of {weights.bytes} bytes",
        )
