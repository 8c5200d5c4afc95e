"""Fitness of a machine for a race: what two runs of a record say about it, held against the record's own runs. Pure.

A machine is fit when two more runs of the record take no longer than its own runs let expect. Where nothing can be
compared (one run, another model of machine, no record) nothing is decided, and it is said why.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..formats import numbers
from ..formats.node_check import CheckedRun, CpuLimits, ExpectedTime, NodeVerdict, StepTimes
from ..formats.run import RunRecord
from ..formats.track import Track
from ..stats.significance import DegenerateSample, time_prediction
from ..status import Status
from ..system.clock import NS
from . import comparable

RACE_RUNS = 2
CONFIDENCE = 0.95
WIDEST = 1.5  # an interval that a machine passes whose runs take half as long again decides nothing in its favour
THROTTLED_SHARE = 0.01  # of the cores' time during the race: less is the scheduler's rounding
BUSY_SHARE = 0.05  # less of its cores than the record's runs had
CLOCK_SHARE = 0.03  # a lower clock of the GPUs
HARDWARE = (
    "device",
    "GPUs",
    "world_size",
    "CPU model",
    "CPU cores",
)  # of a fingerprint: another one is another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceFacts:
    """Everything that decides. None of it is asked of the machine here."""

    record: str | None  # its name; None: the source is no record
    record_runs: tuple[RunRecord, ...]  # the record's own, those that count
    older_rules: str | None = None  # the version its runs were made under, where times were taken in another way
    here: comparable.Fingerprint  # what is known of this machine, as its own runs would be described
    cpu: CpuLimits
    bad_pairs: tuple[str, ...] = ()  # sentences
    starts: bool = True  # whether a run can start at all with this driver
    runs: tuple[CheckedRun, ...] = ()  # of the race; empty: not raced
    sentences: tuple[str, ...] = ()  # what became of them, in order
    race_ns: int = 0  # on the wall, beginning to end


def checked_run(run: RunRecord, track: Track, steps: tuple[StepTimes, ...]) -> CheckedRun:
    """What decides of a run. One that was ended, in training or when it was scored, still says that it took so long."""
    least_s = None if run.time_ns is None else run.time_ns / NS
    if run.status == Status.TRAIN_TIMEOUT:
        least_s = track.budget.train_s
    return CheckedRun(
        run_id=run.run_id,
        status=run.status,
        time_s=None if run.result is None else run.result[0],
        at_least_s=None if run.result is not None else least_s,
        steps=steps,
        available=None if run.load is None else run.load.available,
        gpu_sm_mhz=None if run.load is None else run.load.gpu_sm_mhz,
    )


def expected_time(record_runs: Sequence[RunRecord]) -> ExpectedTime | None:
    """Where two more runs of the record are expected; None: its runs allow no such statement."""
    times = [run.result[0] for run in record_runs if run.result is not None]
    try:
        found = time_prediction(times, RACE_RUNS, CONFIDENCE)
    except DegenerateSample:
        return None
    return ExpectedTime(
        runs=len(times), mean_s=found.estimate, low_s=found.low, high_s=found.high, confidence=CONFIDENCE,
        further=RACE_RUNS,
    )  # fmt: skip


def foreseen(facts: RaceFacts) -> tuple[NodeVerdict, tuple[str, ...]] | None:
    """The verdict that needs no race; None: a race decides."""
    if (sentence := quota_sentence(facts.cpu)) is not None and facts.here.get("device") == "cpu":
        return "slow", (sentence, *facts.bad_pairs)
    if not facts.starts:
        return "undecided", facts.bad_pairs
    return None


def judge(facts: RaceFacts) -> tuple[NodeVerdict, tuple[str, ...]]:
    """The verdict after a race, and its reasons, the one that decides first."""
    verdict, reason = _of_times(facts)
    causes = tuple(_causes(facts))
    if (known := foreseen(facts)) is not None:
        return known[0], (*known[1], reason, *(cause for cause in causes if cause not in known[1]))
    return verdict, (reason, *causes)


def quota_sentence(cpu: CpuLimits) -> str | None:
    """One sentence about a quota below the cores that a run uses; None where there is none."""
    if cpu.quota_cores is None or cpu.quota_cores >= cpu.needed_cores:
        return None
    share = numbers.percent(cpu.quota_cores / cpu.needed_cores, 0)
    return (
        f"expected {cpu.needed_cores} whole cores for a run, found a CPU quota of {numbers.fixed(cpu.quota_cores, 2)} "
        f"cores ({share} of them) in {cpu.quota_file}; lift it, or take another machine"
    )


def unlike(facts: RaceFacts) -> list[comparable.Difference]:
    """What this machine and software differ in from those of the record's runs: key, there, here."""
    if not facts.record_runs:
        return []
    first = facts.record_runs[0]
    theirs = comparable.machine_fingerprint(first.environment, first.device, first.world_size)
    return comparable.compare(theirs, facts.here)


def _of_times(facts: RaceFacts) -> tuple[NodeVerdict, str]:
    times = [time_s for run in facts.runs if (time_s := _least_s(run)) is not None]
    counted = sum(run.time_s is not None for run in facts.runs)
    failed = zip(facts.runs, facts.sentences, strict=True)
    sentence = next((said for run, said in failed if run.time_s is None), "none was started")
    uncounted: tuple[NodeVerdict, str] = (
        "undecided",
        f"expected {RACE_RUNS} runs that count, found {counted}: {sentence}",
    )
    if len(times) < RACE_RUNS:
        return uncounted
    took = " and ".join(_took(run) for run in facts.runs)
    if facts.record is None or not facts.record_runs:
        return "undecided", f"two runs took {took}, and there is no record of this source here to hold them against"
    if facts.older_rules is not None:
        return (
            "undecided",
            f"two runs took {took}; the record's were timed under rules {facts.older_rules}: another clock",
        )
    if hardware := [d for d in unlike(facts) if d[0] in HARDWARE]:
        told = ", ".join(f"{key} {there}, here {here}" for key, there, here in hardware)
        return "undecided", f"two runs took {took}; the record's were made on another machine ({told}): not comparable"
    expected = expected_time(facts.record_runs)
    if expected is None:
        n = len(facts.record_runs)
        why = "one run has no spread" if n == 1 else "their times allow no interval"
        return "undecided", f"two runs took {took}; the record has {n} run{'' if n == 1 else 's'}, and {why}"
    if counted < RACE_RUNS and min(times) <= expected.high_s:
        return uncounted  # a run that did not count can show that it took too long, never that it did not
    return _held_against(times, took, expected)


def _least_s(run: CheckedRun) -> float | None:
    """Seconds that a run took, or took at least; None: it says nothing of time."""
    return run.at_least_s if run.time_s is None else run.time_s


def _took(run: CheckedRun) -> str:
    if run.time_s is None and run.at_least_s is not None:
        return f"{numbers.seconds(run.at_least_s)} or more"
    return "" if run.time_s is None else numbers.seconds(run.time_s)


def _held_against(times: Sequence[float], took: str, expected: ExpectedTime) -> tuple[NodeVerdict, str]:
    span = (
        f"{numbers.span_seconds(expected.low_s, expected.high_s)} (the {numbers.percent(expected.confidence, 0)} "
        f"interval for {expected.further} more runs like the record's {expected.runs})"
    )
    above = sum(time > expected.high_s for time in times)
    if above == len(times):
        share = numbers.percent(min(times) / expected.mean_s - 1)
        return "slow", f"both runs, {took}, took longer than {span}: by {share} of the mean at least"
    if above:
        return "undecided", f"one of two runs, {took}, took longer than {span}; check again"
    slack = expected.high_s / expected.mean_s
    if slack >= WIDEST:
        return "undecided", f"two runs, {took}, lie within {span}, which is too wide to tell a slow machine"
    return "fit", f"no run, {took}, took longer than {span}; what is slower by less than " + (
        f"{numbers.short_percent(slack - 1)} can pass unseen"
    )


def _causes(facts: RaceFacts) -> Iterator[str]:
    """What may have made the runs slow, or different; none of it decides."""
    cpu = facts.cpu
    if quota_sentence(cpu) is not None and facts.here.get("device") != "cpu" and cpu.quota_cores is not None:
        yield f"a CPU quota allows {numbers.fixed(cpu.quota_cores, 2)} of {cpu.needed_cores} cores ({cpu.quota_file})"
    if cpu.throttled_ns is not None and cpu.throttled_ns > THROTTLED_SHARE * cpu.needed_cores * facts.race_ns > 0:
        yield (
            f"a CPU quota held processes back in {numbers.count(cpu.throttled_periods) or 'unknown many'} periods, for "
            f"{numbers.seconds(cpu.throttled_ns / NS)} of core time in {numbers.seconds(facts.race_ns / NS)}"
        )
    yield from facts.bad_pairs
    if cpu.others_share is not None and cpu.others_share > BUSY_SHARE:
        yield f"other processes had {numbers.percent(cpu.others_share, 0)} of the machine's cores meanwhile"
    yield from _had_less(facts)
    if cpu.clock_limit_mhz is not None and cpu.clock_most_mhz is not None and cpu.clock_limit_mhz < cpu.clock_most_mhz:
        held, most = numbers.whole(cpu.clock_limit_mhz), numbers.whole(cpu.clock_most_mhz)
        governor = f", governor {cpu.governor}" if cpu.governor else ""
        yield f"the CPU's clock is held to {held} of {most} MHz{governor}"
    for key, there, here in unlike(facts):
        if key not in HARDWARE:
            yield f"{key} of the record's runs was {there}, here it is {here}"


def _had_less(facts: RaceFacts) -> Iterator[str]:
    """Cores that others had, and GPUs that ran slower, against what the record's own runs had."""
    loads = [run.load for run in facts.record_runs if run.load is not None]
    shares = [run.available for run in facts.runs if run.available is not None]
    usual = min((load.available for load in loads), default=1.0)
    if shares and min(shares) < usual - BUSY_SHARE:
        against = f", the record's runs at least {numbers.percent(usual, 0)}" if loads else ""
        yield (
            f"a run could have {numbers.percent(min(shares), 0)} of its cores' time{against}; other processes, the "
            "hypervisor or a quota had the rest"
        )
    clocks = [load.gpu_sm_mhz for load in loads if load.gpu_sm_mhz is not None]
    here = [run.gpu_sm_mhz for run in facts.runs if run.gpu_sm_mhz is not None]
    if clocks and here and min(here) < min(clocks) * (1 - CLOCK_SHARE):
        slow, usual_mhz = numbers.whole(min(here)), numbers.whole(min(clocks))
        yield f"the GPUs ran at {slow} MHz, in the record's runs at {usual_mhz} MHz or more"
