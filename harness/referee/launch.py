"""A launch: what it takes to start torch on every rank and do nothing, measured where a run is about to start.

The same torchrun, sandbox, files and cores as of a run, with a submission of ours that calls reserve, go and stop. No
submission runs meanwhile and nothing one has written is read, so none can make it longer. It is measured once by every
process that referees, after a launch that only brings the files of torch into memory.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..formats.logfile import Curve, LogFile
from ..formats.observer import Observer
from ..formats.prepare import Prepare, Work
from ..formats.track import Track
from ..sandbox.policy import View
from ..sandbox.process_tree import ProcessTree
from ..system import scratch
from . import machine
from .referee import Referee, RunOrders, listen

EMPTY = """import torch

EVAL_TOKENS, EVAL_BATCH = 1, 1


def train(run):
    weights = {} if run.rank else {"nothing": torch.zeros(1)}
    run.reserve(weights)
    run.go()
    run.stop(weights)


def load(weights, device):
    raise NotImplementedError
"""
_measured: dict[tuple[str, ...], int] = {}


@dataclass(frozen=True, slots=True)
class NoData:
    """A gate with nothing behind it."""

    shards: tuple[str, ...] = ()

    def reveal(self) -> None: ...


def cpu_ns(orders: RunOrders, track: Track, temporary: Path) -> int:
    """Processor time of a launch under these orders of a run (ns). Raises RunFailure where even that fails."""
    cores = machine.cores(track)
    environment = orders.tree.view.environment.items()
    threads = [f"{name}={value}" for name, value in sorted(environment) if name != "SPEEDRUN_SOCKET"]
    key = (orders.tree.level, *map(str, sorted(cores)), *orders.argv[:-1], *threads)
    if key not in _measured:
        _launch(orders, track, temporary)
        _measured[key] = _launch(orders, track, temporary)
    return _measured[key]


def of_run(referee: Referee, track: Track, launch_cpu_ns: int | None) -> Prepare | None:
    """What a run's PREPARE took; None where it did not come to GO."""
    times, cores = referee.times, len(machine.cores(track))
    if times.go_ns is None:
        return None
    counted = referee.prepare_cpu_ns
    return Prepare(
        cpu_ns=(times.go_ns - times.start_ns) * cores if counted is None else counted,
        counted_by="wall clock" if counted is None else "control group",
        cores=cores,
        launch_cpu_ns=launch_cpu_ns,
        before_go=_work(referee, "go"),
        after_go=_work(referee, "stop"),
    )


def _work(referee: Referee, until: Literal["go", "stop"]) -> Work | None:
    """What all ranks told; None where one did not."""
    told = referee.work[until]
    if len(told) != referee.orders.world_size:
        return None
    tokens = [work.tokens for work in told if work.tokens is not None]
    return Work(passes=sum(work.passes for work in told), tokens=sum(tokens) if len(tokens) == len(told) else None)


def _launch(orders: RunOrders, track: Track, temporary: Path) -> int:
    folder = scratch.make_scratch(temporary)
    (folder / "socket").mkdir()
    (folder / "empty.py").write_text(EMPTY)
    listener, log, curve = listen(folder / "socket"), LogFile(folder / "log", 2**16), Curve(folder / "curve")
    try:
        referee = Referee(_orders(orders, folder), listener, NoData(), log, curve, Observer())
        with machine.held_to(machine.cores(track)):
            referee.train()
        referee.release()
        found = of_run(referee, track, None)
        assert found is not None
        return found.cpu_ns
    finally:
        curve.close()
        log.close()
        listener.close()
        scratch.remove_tree(folder)


def _orders(orders: RunOrders, folder: Path) -> RunOrders:
    view: View = orders.tree.view
    view = replace(
        view,
        readable=(*view.readable, folder / "empty.py", folder / "socket"),
        environment=view.environment | {"SPEEDRUN_SOCKET": str(folder / "socket" / "referee")},
    )
    config = orders.config | {"entry": str(folder / "empty.py"), "practice": False}
    return replace(orders, tree=ProcessTree(orders.tree.level, view), config=config)
