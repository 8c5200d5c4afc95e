"""The newest node check of this machine: what a campaign states and keeps of it, or why there is none to state."""

from datetime import datetime
from pathlib import Path

from data.printing import printable

from ..errors import RecordError
from ..formats import environment, numbers
from ..formats.node_check import NodeCheckLine, read_node_check
from ..formats.run import owner, same_machine
from .comparable import compare, machine_fingerprint

MAKE = "`speedrun doctor --race` makes one"


def newest_check(parent: Path, now: datetime) -> tuple[NodeCheckLine | None, str]:
    """The check in a folder of runs, if it is one of this machine as it is now; and a sentence about it.

    None where there is none, or where it is of another machine, of other software, or of a time still to come.
    """
    try:
        check = read_node_check(parent)
    except RecordError as error:
        return None, f"not used: {error}"
    if check is None:
        return None, f"none; {MAKE}"
    if not same_machine(check.owner, owner()):
        return None, f"not used: it was made on another machine, {check.owner.host}; {MAKE}"
    if check.checked_at > now:
        return None, f"not used: it says it was made at {check.checked_at:%Y-%m-%d %H:%M} UTC, which is still to come"
    here = environment.collect()
    if changed := compare(check.machine, machine_fingerprint(here, check.device, check.world_size)):
        key, before, now_is = changed[0]
        return None, f"not used: {key} was {before} then and is {now_is} now; {MAKE}"
    if sorted(check.gpu_uuids) != sorted(gpu.uuid for gpu in here.gpus):
        return None, f"not used: it was made with other GPUs of the same model; {MAKE}"
    return check.kept, told(check.kept, now)


def told(line: NodeCheckLine, now: datetime) -> str:
    """fit, 3.2 h ago, by nano-2cpu/2026-11-27_MuonFirst: no run took longer ..."""
    age = numbers.age((now - line.checked_at).total_seconds())
    raced = f"{line.track}/{line.record}" if line.record else f"a source on {line.track}"
    return printable(f"{line.verdict}, {age} ago, by {raced}: {line.reason}")
