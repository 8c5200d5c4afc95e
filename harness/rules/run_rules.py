"""The rules of single runs, each a pure function from facts to what breaks it."""

from collections.abc import Iterator

from ..formats.track import Track
from ..scoring.findings import findings
from ..system.clock import NS
from .hardware import machine_breach
from .record_rules import Breach, RuleInput

CLOCK_SLACK_S = 1.0  # a limit is enforced within this
SANDBOXES = ("process", "landlock", "namespaces")  # each withholds more than the one before


def failed_run(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A submission that fails one run in five does not hold its record; dropping that run would be choosing."""
    for run in given.runs("candidate"):
        if not run.is_valid:
            yield Breach(f"run {run.run_id} of the candidate does not hold", "complete and valid", run.sentence)


def failed_baseline(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Pairs without a baseline are lost, and with them a part of what was planned."""
    for run in given.runs("baseline"):
        if not run.is_valid:
            yield Breach(f"run {run.run_id} of the baseline does not hold", "complete and valid", run.sentence)


def own_data(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Everybody trains on the same tokens and is scored on the same tokens, but for runs in languages of their own."""
    for run in given.runs("candidate"):
        if run.language is not None:
            continue  # other digests in every language: `verify` makes the text anew
        for shard, expected in given.pinned.items():
            found = run.data.get(shard, expected)
            if found != expected:
                yield Breach(f"run {run.run_id} read another {shard}", expected[:16], found[:16])


def whole_exam(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Every target is scored once, in windows the track allows, with probes; what the probes show is told."""
    for run in given.runs("candidate"):
        score = run.score
        if score is None:
            continue  # failed_run says so
        windows, most = score.windows.tokens, track.evaluation.max_tokens
        told = {finding.id for finding in run.findings}
        untold = sorted({finding.id for finding in findings(score, track.evaluation)} - told)
        for what, expected, found in (
            ("targets", str(track.data.val_tokens), str(score.count)),
            ("windows", f"at most {most} tokens", f"at most {most} tokens" if windows <= most else f"{windows}"),
            (
                "probes",
                "at least one",
                "at least one" if score.probes.pairs or not track.evaluation.probe_pairs else "0",
            ),
            ("findings", "all that its score shows", ", ".join(untold) or "all that its score shows"),
        ):
            if expected != found:
                yield Breach(f"run {run.run_id} was not examined as the track says: {what}", expected, found)


def within_budget(given: RuleInput, track: Track) -> Iterator[Breach]:
    """The referee ends a run at its limits, so no honest run is beyond them."""
    budget = track.budget
    for run in given.runs("candidate"):
        phases, weights = run.phases, run.weights
        used = {
            "prepare_s": ((phases.prepare_ns or 0) / NS, budget.prepare_s + CLOCK_SLACK_S),
            "train_s": ((phases.train_ns or 0) / NS, budget.train_s + CLOCK_SLACK_S),
            "score_s": ((phases.score_ns or 0) / NS, budget.score_s + CLOCK_SLACK_S),
            "source_bytes": (run.submission.bytes, budget.source_bytes),
            "weights_bytes": (weights.bytes if weights else 0, budget.weights_bytes),
        }
        for name, (found, limit) in used.items():
            if run.is_valid and found > limit:
                yield Breach(f"run {run.run_id} is over its budget", f"{name} of at most {limit:,}", f"{found:,}")


def user_seed(given: RuleInput, track: Track) -> Iterator[Breach]:
    """A chosen seed is a chosen result."""
    for run in given.runs("candidate"):
        if run.seed_source != "harness":
            yield Breach(f"run {run.run_id} was given its seed by hand", "a seed drawn by the harness", str(run.seed))


def sandbox_level(given: RuleInput, track: Track) -> Iterator[Breach]:
    """What a submission could reach decides what its result is worth."""
    least = track.rules.sandbox
    for run in given.runs("candidate"):
        if run.sandbox is None:
            continue  # it never came so far, and failed_run says so
        if run.sandbox not in SANDBOXES or SANDBOXES.index(run.sandbox) < SANDBOXES.index(least):
            yield Breach(f"run {run.run_id} ran with too little sandbox", f"{least} or better", run.sandbox)


def hardware_class(given: RuleInput, track: Track) -> Iterator[Breach]:
    """Times are compared within one class of machine."""
    for run in given.runs("candidate"):
        names = [gpu.name for gpu in run.environment.gpus]
        breach = machine_breach(track.hardware, run.device, run.world_size, names, run.environment.cpu_cores)
        if breach is not None:
            what, expected, found = breach
            yield Breach(f"run {run.run_id} had {what}", expected, found)
