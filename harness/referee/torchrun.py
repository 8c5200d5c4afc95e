"""Being started by torchrun ourselves: local rank 0 becomes the referee, the others wait and end with it.

The referee then starts its own, sandboxed torchrun of as many ranks. Rendezvous variables of the outer one never
get there: a sandboxed process has an environment of its own.
"""

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..system import processes


@dataclass(frozen=True, slots=True)
class Outer:
    """The torchrun around us."""

    local_rank: int
    local_world_size: int


def outer() -> Outer | None:
    """The torchrun that started this process, if one did. Raises UserError on more than one node."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    local, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if local != everywhere:
        raise UserError(f"expected torchrun on one node, found {everywhere} ranks of which {local} are here")
    return Outer(int(os.environ["LOCAL_RANK"]), local)


def end_with_launcher() -> None:
    """On local rank 0, the referee: whatever kills torchrun ends the run, which is recorded as terminated.

    SIGKILL of the launcher, as batch systems send it, would otherwise leave the machine taken until the run is over.
    """
    parent = os.getppid()
    processes.die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it died between the two calls
        signal.raise_signal(signal.SIGTERM)


def wait_for_referee() -> None:
    """On local ranks other than 0: sleep until local rank 0 is gone. Dies with torchrun."""
    processes.die_with_parent()
    for pid in processes.children(os.getppid()):
        if _local_rank(pid) == 0:
            descriptor = os.pidfd_open(pid)
            select.select([descriptor], [], [])
            os.close(descriptor)
            return


def _local_rank(pid: int) -> int | None:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = [v for v in variables if v.startswith(b"LOCAL_RANK=")]
    return int(found[0].partition(b"=")[2]) if found else None
