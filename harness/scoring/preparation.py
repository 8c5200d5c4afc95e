"""Preparation: what PREPARE adds to a run's time, and how much training it may hold. Pure; `verify` derives it again.

Compute before GO is worth what it brings, so a track whose data can be known beforehand (the embedded corpus, whose
grammar is public) counts PREPARE: processor time of all processes and threads between the first process and GO, divided
by the cores of the track, beyond what a submission takes that does nothing but start torch on every rank, measured on
the same machine, and the track's allowance. That is the kernel's own account of a control group, which knows the dead
too; where none can be had it is the time on the wall on every core, which is the most it can be: who does not let
itself be counted pays for all of it.
"""

from collections.abc import Sequence

from ..formats import numbers
from ..formats.prepare import Prepare
from ..formats.run import Charge, Finding
from ..formats.track import Budget, Rules
from ..system.clock import NS


def of_prepare(prepare: Prepare | None, budget: Budget) -> tuple[Charge, ...]:
    """None where the track does not count PREPARE, or a run was not measured."""
    if prepare is None or prepare.launch_cpu_ns is None or budget.prepare_free_cpu_s is None:
        return ()
    free_ns = prepare.launch_cpu_ns + round(budget.prepare_free_cpu_s * NS)
    return (Charge.of("prepare", prepare.cpu_ns // prepare.cores, free_ns // prepare.cores),)


def told(charges: Sequence[Charge], prepare: Prepare | None) -> list[str]:
    """A sentence where PREPARE was charged, with the advice that mends it."""
    charge = next((one for one in charges if one.kind == "prepare" and one.charged_ns), None)
    if charge is None or prepare is None or prepare.launch_cpu_ns is None:
        return []
    cores = f"{prepare.cores} core{'' if prepare.cores == 1 else 's'}"
    counted = "" if prepare.counted_by == "control group" else " at most, by the clock on the wall,"
    allowance_ns = charge.free_ns * prepare.cores - prepare.launch_cpu_ns
    return [
        f"PREPARE took {_seconds(prepare.cpu_ns)} of processor time{counted} on {cores}, where "
        f"{_seconds(prepare.launch_cpu_ns)} to start torch on every rank and {_seconds(allowance_ns)} more are free; "
        f"the rest, {_seconds(charge.charged_ns)} on every core, was added to the time: compile and warm up less "
        "before go()"
    ]


def findings(prepare: Prepare | None, rules: Rules, world_size: int) -> list[Finding]:
    """Training before GO beyond what warms a script's kernels up. By the ranks' own word: who lies leaves traces of it
    in the source."""
    if prepare is None or rules.before_go_share is None or prepare.before_go is None or prepare.after_go is None:
        return []
    before, after, free = prepare.before_go, prepare.after_go, rules.before_go_passes * world_size
    passes = max(free, int(rules.before_go_share * after.passes))
    tokens = None  # how many may be seen, where a pass after GO shows how many it has
    if before.tokens and after.tokens and after.passes:
        tokens = max(free * after.tokens // after.passes, int(rules.before_go_share * after.tokens))
    if before.passes <= passes and (tokens is None or (before.tokens or 0) <= tokens):
        return []
    return [
        Finding.error(
            id="work_before_go",
            sentence="the submission trained before GO",
            expected=f"at most {passes:,} backward passes{_tokens(tokens)} before GO: {rules.before_go_passes} on each "
            f"rank, or {numbers.percent(rules.before_go_share)} of the {after.passes:,} after it",
            found=f"{before.passes:,}{_tokens(before.tokens)}",
        )
    ]


def _tokens(count: int | None) -> str:
    return "" if count is None else f" over {count:,} tokens"


def _seconds(time_ns: int) -> str:
    return numbers.fixed_seconds(time_ns / NS, 2)
