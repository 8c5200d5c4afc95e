"""The referee: one loop over sockets, pipes, signals and deadlines that takes a submission from its start to STOP.

It owns the clock. GO is stamped before the data appears and STOP after the last seal, both here, so that every
doubt of a few microseconds is at the submission's expense. What ranks may say, and when, is in session.py.
"""

import os
import selectors
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import RunFailure
from ..formats.load import MachineLoad
from ..formats.logfile import Curve, LogFile
from ..formats.messages import Failed, Go, Hello, Log, RankMessage, Reserve, Returned, Snapshot, SnapshotDone, Stop
from ..formats.observer import Observer
from ..formats.prepare import Work
from ..formats.weights import WeightBuffer, plan
from ..sandbox.process_tree import ProcessTree
from ..status import Status
from ..system import clock, interrupts, processes
from ..system.clock import NS
from ..system.gpu_clocks import ClockSampler
from ..system.load import Counters, read_counters
from .connection import Connection
from .session import Phase, Session
from .snapshots import Snapshots

SEAL_RETRY_S = 0.001
PIPE_READ_BYTES = 2**16
LAST_READS = 8  # a socket's buffer is empty after so many


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrders:
    """What the referee is to do."""

    argv: list[str]  # torchrun
    tree: ProcessTree  # where it runs
    config: dict[str, object]  # what every rank is told at hello
    world_size: int
    prepare_s: float
    train_s: float
    weights_bytes: int
    practice: bool
    gpu_log: Path | None = None  # where nvidia-smi writes the clocks of GPUs; None: there are none to be watched


@dataclass(slots=True)
class Times:
    """Stamps on the referee's clock, None for what was not reached."""

    start_ns: int
    go_ns: int | None = None
    stop_ns: int | None = None
    dead_ns: int | None = None


class StartingGate(Protocol):
    """What keeps the training data until GO."""

    @property
    def shards(self) -> Sequence[str]: ...
    def reveal(self) -> None: ...


class Referee:
    """One run between its first process and its last seal."""

    def __init__(
        self,
        orders: RunOrders,
        listener: socket.socket,
        gate: StartingGate,
        log: LogFile,
        curve: Curve,
        observer: Observer,
    ) -> None:
        self.orders = orders
        self.session = Session(orders.world_size, orders.weights_bytes)
        self.times = Times(clock.now_ns())
        self.work: dict[str, list[Work]] = {"go": [], "stop": []}  # until then, of each rank that told
        self.prepare_cpu_ns: int | None = None  # of the tree, at GO; None: no account of it can be had
        self.snapshots = Snapshots()
        self.reserved: list[WeightBuffer] = []  # the weights as they were at GO: what evaluators rehearse on
        self._gate, self._log, self._curve, self._observer = gate, log, curve, observer
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        self._unsealed: list[int] = []
        self._before: Counters | None = None
        self._clocks: ClockSampler | None = None
        self.load: MachineLoad | None = None  # known when train() returns

    def train(self) -> list[WeightBuffer]:
        """Run the submission until STOP and return its sealed weights. Raises RunFailure; kills it either way."""
        self._observer.phase("PREPARE", self.orders.prepare_s)
        process = self._launch()
        if self.orders.gpu_log is not None:
            self._clocks = ClockSampler(self.orders.gpu_log)
            self.orders.tree.strangers |= {pid for pid in (self._clocks.pid,) if pid is not None}
        try:
            while self.session.phase != Phase.STOPPED:
                self._step()
            self.load = load_between(self._before, read_counters())
            if self.load is not None and self._clocks is not None:
                self.load = self.load.model_copy(update={"gpu_sm_mhz": self._clocks.end()})
        except RunFailure as failure:
            raise self.orders.tree.explain(failure) from failure
        finally:
            self.orders.tree.kill()
            processes.kill_children()
            self.times.dead_ns = clock.now_ns()
            if self._clocks is not None:
                self._clocks.end()
            self._close(process)
        return self.session.buffers()

    def _launch(self) -> subprocess.Popen[bytes]:
        try:
            process = self.orders.tree.start(self.orders.argv)
        except OSError as error:
            self._selector.close()
            self.orders.tree.close()
            raise RunFailure(Status.LAUNCH_FAILED, f"cannot start {self.orders.argv[0]}: {error.strerror}") from error
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, self._on_output)
        self._selector.register(self._listener, selectors.EVENT_READ, self._on_connect)
        self._exit = os.pidfd_open(process.pid)
        self._selector.register(self._exit, selectors.EVENT_READ, lambda _: self._on_exit(process))
        return process

    def _step(self) -> None:
        """Wait for something to happen, and let it happen: ranks first, the display last."""
        interrupts.insist()
        self._check_deadline()
        self.orders.tree.watch()
        wait_s = min(self._observer.tick(), self._left_s(), self.orders.tree.watch_s)
        wait_s = min(wait_s, SEAL_RETRY_S) if self._unsealed else wait_s
        for key, _ in self._selector.select(max(wait_s, 0)):
            if self.session.phase != Phase.STOPPED:
                key.data(key.fileobj)
        for rank in list(self._unsealed):
            self._seal(rank)

    def _budget_s(self) -> float:
        return self.orders.prepare_s if self.session.phase == Phase.PREPARE else self.orders.train_s

    def _left_s(self) -> float:
        started_ns = self.times.start_ns if self.times.go_ns is None else self.times.go_ns
        return self._budget_s() - (clock.now_ns() - started_ns) / NS

    def _check_deadline(self) -> None:
        if self._left_s() <= 0:
            raise self.session.timeout(self._budget_s())

    def _on_output(self, pipe: object) -> None:
        chunk = os.read(pipe.fileno(), PIPE_READ_BYTES)  # type: ignore[attr-defined]
        if chunk:
            self._log.write(chunk)
        else:
            self._selector.unregister(pipe)  # type: ignore[arg-type]

    def _on_connect(self, listener: socket.socket) -> None:
        connection = Connection(listener.accept()[0])
        self._connections.append(connection)
        if len(self._connections) > self.orders.world_size:
            raise RunFailure(
                Status.PROTOCOL_BROKEN, f"expected {self.orders.world_size} ranks to connect, found one more"
            )
        self._selector.register(connection, selectors.EVENT_READ, self._on_readable)

    def _on_readable(self, connection: Connection) -> None:
        for message in connection.receive():
            self._on_message(connection, message)
            if self.session.phase == Phase.STOPPED:  # whatever comes after the last seal changes nothing
                return
        if not connection.is_open:
            self._selector.unregister(connection)
            if connection.rank is not None:
                raise self.session.died(connection.rank)

    def _on_exit(self, process: subprocess.Popen[bytes]) -> None:
        """torchrun is gone; but what its ranks have said before may name the reason, or be the last stop."""
        for connection in self._connections:
            for _ in range(LAST_READS):
                if connection.is_open and self.session.phase != Phase.STOPPED:
                    self._on_readable(connection)
        if self.session.phase != Phase.STOPPED:
            raise RunFailure(
                Status.LAUNCH_FAILED if len(self.session.ranks) < self.orders.world_size else Status.RANK_DIED,
                f"torchrun ended with exit status {process.wait()} in {self.session.phase.upper()}; "
                "see the end of the log",
            )

    def _on_message(self, connection: Connection, message: RankMessage) -> None:
        if isinstance(message, Hello):
            self._on_hello(connection, message)
        elif connection.rank is None:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"expected hello first, found {message.kind}")
        elif isinstance(message, Snapshot | Reserve):
            self._on_request(connection, connection.rank, message)
        else:
            self._on_report(connection.rank, message)

    def _on_request(self, connection: Connection, rank: int, message: Snapshot | Reserve) -> None:
        """A rank asks for memory to hand weights over in."""
        if isinstance(message, Reserve):
            buffer = plan(rank, message.weights)
            self.session.reserve(rank, buffer)
        else:
            buffer = self._new_snapshot(rank, message.step)
        self._allocate(buffer)
        connection.send({"kind": "memory"}, (buffer.fd,))

    def _on_report(self, rank: int, message: Log | Go | Stop | SnapshotDone | Failed | Returned) -> None:
        match message:
            case Log():
                self._on_log(rank, message)
            case Go():
                self._count(message)
                if self.session.go(rank):
                    self.reserved = [buffer.copy() for buffer in self.session.buffers()]  # costs PREPARE only
                    self._fire()
            case Stop():
                self._count(message)
                self.session.stop(rank)
                self._seal(rank)
            case SnapshotDone():
                self.snapshots.end(rank, message.step)
            case Failed():
                raise self.session.failed(rank, message)
            case Returned():
                raise self.session.returned(rank)

    def _count(self, message: Go | Stop) -> None:
        if message.passes is not None:
            self.work[message.kind].append(Work(passes=message.passes, tokens=message.tokens))

    def _on_hello(self, connection: Connection, message: Hello) -> None:
        if connection.rank is not None:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"rank {connection.rank} said hello twice")
        self.session.hello(message.rank)
        connection.rank = message.rank
        connection.send(self.orders.config)

    def _on_log(self, rank: int, log: Log) -> None:
        if rank == 0 and self.times.go_ns is not None:
            self._curve.write(log, clock.now_ns() - self.times.go_ns)
            self._observer.log(log)

    def _allocate(self, buffer: WeightBuffer) -> None:
        try:
            buffer.allocate()
        except OSError as error:
            raise RunFailure(
                Status.WEIGHTS_TOO_BIG, f"expected {buffer.size:,} bytes of memory for weights, found {error.strerror}"
            ) from error

    def _fire(self) -> None:
        """GO. The clock starts before the data can be seen."""
        answer = {"kind": "go", "shards": list(self._gate.shards)}
        if self._clocks is not None:
            self._clocks.begin()
        self._before = read_counters()
        self.times.go_ns = clock.now_ns()
        self._gate.reveal()
        for connection in self._connections:
            connection.send(answer)
        self.prepare_cpu_ns = self.orders.tree.cpu_ns()  # a doubt of microseconds is at the submission's expense
        self._observer.phase("TRAIN", self.orders.train_s)

    def _seal(self, rank: int) -> None:
        """STOP, as far as this rank goes. While a writable mapping exists the seal fails and the clock runs on."""
        buffer = self.session.ranks[rank].buffer
        assert buffer is not None
        if not buffer.seal():
            if rank not in self._unsealed:
                self._unsealed.append(rank)
            return
        now_ns = clock.now_ns()
        if rank in self._unsealed:
            self._unsealed.remove(rank)
        if self.session.sealed(rank):
            self.times.stop_ns = now_ns

    def _new_snapshot(self, rank: int, step: int) -> WeightBuffer:
        if not self.orders.practice or self.times.go_ns is None:
            raise RunFailure(Status.PROTOCOL_BROKEN, "expected snapshots in TRAIN of a practice run only, found one")
        reserved = self.session.ranks[rank].buffer
        assert reserved is not None
        return self.snapshots.begin(rank, step, clock.now_ns() - self.times.go_ns, reserved.specs)

    def release(self) -> None:
        """Give the memory of all weights back."""
        for buffer in (*self.session.buffers(), *self.reserved):
            buffer.close()
        self.snapshots.close()

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the last words in the pipe, then let go of every descriptor."""
        assert process.stdout is not None
        try:
            while chunk := os.read(process.stdout.fileno(), PIPE_READ_BYTES):
                self._log.write(chunk)
        except BlockingIOError:  # a writer lives on: impossible in a sandbox with a pid namespace of its own
            pass
        finally:
            process.stdout.close()
            os.close(self._exit)
            process.wait()
            self.orders.tree.close()
            for connection in self._connections:
                connection.close()
            self._selector.close()


def load_between(before: Counters | None, after: Counters) -> MachineLoad | None:
    """What was counted between two moments; None without the first. Differences of ticks may be off by one a core."""
    if before is None:
        return None
    own, referee = after.tree_ns - before.tree_ns, after.own_ns - before.own_ns
    busy = after.busy_ns - before.busy_ns
    counted = {name: _growth(getattr(before, name), getattr(after, name)) for name in ("throttled_ns", "waiting_ns")}
    return MachineLoad(
        cores=len(after.cores),
        wall_ns=after.at_ns - before.at_ns,
        own_ns=max(0, own),
        referee_ns=max(0, referee),
        others_ns=max(0, busy - max(0, own) - max(0, referee)),
        steal_ns=max(0, after.steal_ns - before.steal_ns),
        **counted,
    )


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def listen(folder: Path) -> socket.socket:
    """The socket ranks connect to; bound by descriptor, since an address holds 107 bytes and a path may have more."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(folder, os.O_PATH)
    try:
        sock.bind(f"/proc/self/fd/{directory}/referee")
    finally:
        os.close(directory)
    sock.listen()
    return sock
