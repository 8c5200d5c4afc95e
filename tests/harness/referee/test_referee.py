"""The referee's loop against ranks that are no ranks of ours: small scripts that speak, or abuse, the protocol."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.shards import write_shard
from harness.errors import RunFailure
from harness.formats.logfile import Curve, LogFile
from harness.formats.observer import Observer
from harness.referee.data_gate import DataGate
from harness.referee.referee import Referee, RunOrders, listen
from harness.referee.session import Phase
from harness.referee.snapshots import MAX_SNAPSHOTS
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree
from harness.status import Status
from harness.system import processes

RANK = """
import json, os, signal, socket, struct, subprocess, sys, time

WEIGHTS = [{"name": "w", "dtype": "int8", "shape": [4]}]

def frame(message):
    body = json.dumps(message).encode()
    return struct.pack(">II", len(body), 0) + body

def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(os.path.relpath(os.environ["SPEEDRUN_SOCKET"]))  # an address holds 107 bytes, a TMPDIR may be longer
    return sock

def tell(sock, kind, **more):
    sock.sendall(frame({"kind": kind, **more}))

def hear(sock):
    head, fds, _, _ = socket.recv_fds(sock, 8, 4)
    if not head:
        sys.exit()
    body = sock.recv(struct.unpack(">II", head)[0], socket.MSG_WAITALL)
    return json.loads(body), fds

def hello(rank=0):
    sock = connect()
    tell(sock, "hello", rank=rank)
    hear(sock)
    return sock

def prepare(rank=0, weights=WEIGHTS):
    sock = hello(rank)
    tell(sock, "reserve", weights=weights)
    _, (memory,) = hear(sock)
    tell(sock, "go")
    return sock, memory

def train(rank=0, weights=WEIGHTS):
    sock, memory = prepare(rank, weights)
    hear(sock)
    return sock, memory
"""


@pytest.fixture
def referee_of(
    tmp_path: Path, descriptors: Callable[[], set[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Referee]]:
    """referee_of(script, ...): a referee whose ranks are one Python script; train() has not been called."""
    (tmp_path / "data").mkdir()
    (tmp_path / "tmp").mkdir()
    write_shard(tmp_path / "data" / "train.bin", np.zeros(10, np.uint16))
    monkeypatch.setattr(processes, "KILL_S", 100.0)  # however slow the machine is
    before = descriptors()
    gate = DataGate([tmp_path / "data" / "train.bin"], tmp_path / "data", tmp_path / "tmp")
    log, curve = LogFile(tmp_path / "log.txt", 10_000), Curve(tmp_path / "progress.jsonl")
    listener = listen(tmp_path / "tmp")
    made: list[Referee] = []
    processes.adopt_orphans()

    environment = {"SPEEDRUN_SOCKET": str(tmp_path / "tmp" / "referee")}

    def make(script: str, argv: list[str] | None = None, **orders: Any) -> Referee:
        wanted = {
            "argv": argv or [sys.executable, "-c", RANK + script],
            "tree": ProcessTree("process", View(readable=(), home=tmp_path / "tmp", environment=environment)),
            "config": {"seed": 1}, "world_size": 1, "prepare_s": 100.0, "train_s": 100.0, "weights_bytes": 1000,
            "practice": False,
        }  # fmt: skip
        made.append(Referee(RunOrders(**(wanted | orders)), listener, gate, log, curve, Observer()))
        return made[-1]

    yield make
    for referee in made:
        referee.release()
        referee.orders.tree.close()
    for thing in (listener, log, curve, gate):
        thing.close()
    assert processes.children(os.getpid()) == []
    assert descriptors() - before == set()


def failure_of(referee: Referee) -> RunFailure:
    with pytest.raises(RunFailure) as raised:
        referee.train()
    return raised.value


TWO = "rank = 0 if os.fork() else 1\nweights = [] if rank else WEIGHTS\n"


def test_a_run_from_hello_to_the_last_seal(referee_of: Any) -> None:
    referee = referee_of("sock, memory = train()\nos.pwrite(memory, b'done', 0)\ntell(sock, 'stop')\nhear(sock)")
    (buffer,) = referee.train()
    assert buffer.read(buffer.specs[0]) == b"done"
    assert referee.session.phase == Phase.STOPPED
    times = referee.times
    assert times.start_ns < times.go_ns < times.stop_ns < times.dead_ns


def test_what_is_there_at_go_is_kept_to_rehearse_on(referee_of: Any) -> None:
    """Written at reserve(); what is written after GO is in the weights and not in it."""
    before = "sock = hello()\ntell(sock, 'reserve', weights=WEIGHTS)\n_, (memory,) = hear(sock)\n"
    go = "os.pwrite(memory, b'seed', 0)\ntell(sock, 'go')\nhear(sock)\n"
    referee = referee_of(before + go + "os.pwrite(memory, b'done', 0)\ntell(sock, 'stop')\nhear(sock)")
    (buffer,) = referee.train()
    assert buffer.read(buffer.specs[0]) == b"done"
    assert [kept.read(kept.specs[0]) for kept in referee.reserved] == [b"seed"]


@pytest.mark.parametrize("after", ["b'\\xff' * 99", "frame({'kind': 'stop'})", "frame({'kind': 'returned'})", "b''"])
def test_what_comes_after_the_last_seal_changes_nothing(referee_of: Any, after: str) -> None:
    """Says stop, and in the same breath something else, and dies at once."""
    script = f"sock, memory = train()\nsock.sendall(frame({{'kind': 'stop'}}) + {after})\nos._exit(1)"
    assert len(referee_of(script).train()) == 1


def test_a_rank_that_stops_and_dies_before_the_others_is_a_dead_rank(referee_of: Any) -> None:
    script = TWO + "sock, _ = train(rank, weights)\nif rank: time.sleep(600)\ntell(sock, 'stop')\nos._exit(0)"
    failure = failure_of(referee_of(script, world_size=2))
    assert failure.status == Status.RANK_DIED
    assert failure.sentence.startswith("rank 0 died in TRAIN")


def test_a_rank_that_floods_does_not_keep_the_others_from_stopping(referee_of: Any, tmp_path: Path) -> None:
    script = (
        TWO
        + """
sock, _ = train(rank, weights)
if rank == 0:
    tell(sock, "stop")
    time.sleep(600)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    sock.sendall(frame({"kind": "log", "step": 1}) * 1000)
    print("x" * 1000, flush=True)
tell(sock, "stop")
time.sleep(600)
"""
    )
    referee = referee_of(script, world_size=2)
    assert len(referee.train()) == 2
    assert (tmp_path / "log.txt").stat().st_size < 10_200
    assert (tmp_path / "progress.jsonl").read_text() == ""  # only rank 0 is shown


def test_progress_of_rank_0_is_kept_with_the_referees_time(referee_of: Any, tmp_path: Path) -> None:
    script = "sock, _ = train()\ntell(sock, 'log', step=3, train_loss=1.5)\ntell(sock, 'stop')\nhear(sock)"
    referee = referee_of(script)
    referee.train()
    (point,) = map(json.loads, (tmp_path / "progress.jsonl").read_text().splitlines())
    assert (point["step"], point["train_loss"]) == (3, 1.5)
    assert 0 < point["elapsed_ns"] < referee.times.stop_ns - referee.times.go_ns


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("sys.exit(7)", Status.LAUNCH_FAILED),
        ("os.kill(os.getpid(), 9)", Status.LAUNCH_FAILED),
        ("connect().close(); time.sleep(0.2)", Status.LAUNCH_FAILED),
        ("hello(); os._exit(0)", Status.RANK_DIED),
        ("train(); os._exit(0)", Status.RANK_DIED),
        ("tell(connect(), 'go'); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(hello(), 'hello', rank=0); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("hello(1); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("kept = hello(), hello(); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("kept = [connect() for _ in range(3)]; time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(train()[0], 'stop', now=1); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(train()[0], 'snapshot', step=1); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(train()[0], 'snapshot_done', step=1); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(train()[0], 'reserve', weights=[]); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(prepare(weights=[])[0], 'go'); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(hello(), 'stop'); time.sleep(600)", Status.PROTOCOL_BROKEN),
        ("tell(train()[0], 'returned'); time.sleep(600)", Status.STOP_NOT_CALLED),
        ("tell(hello(), 'failed', reason='no_load', error='x'); os._exit(1)", Status.NO_LOAD),
        ("tell(hello(), 'failed', reason='exception', error='x'); os._exit(1)", Status.PREPARE_FAILED),
    ],
)
def test_misuse_ends_the_run(referee_of: Any, script: str, status: Status) -> None:
    failure = failure_of(referee_of(script))
    assert failure.status == status, failure.sentence
    assert failure.sentence.isprintable()


def test_what_cannot_be_started(referee_of: Any) -> None:
    failure = failure_of(referee_of("", argv=["/nothing/of/the/kind"]))
    assert failure.status == Status.LAUNCH_FAILED
    assert "/nothing/of/the/kind" in failure.sentence


@pytest.mark.parametrize(
    ("script", "status"),
    [("time.sleep(600)", Status.PREPARE_TIMEOUT), ("kept = train(); time.sleep(600)", Status.TRAIN_TIMEOUT)],
)
def test_budgets(referee_of: Any, script: str, status: Status) -> None:
    budget = {"prepare_s": 0.5} if status == Status.PREPARE_TIMEOUT else {"train_s": 0.3}
    assert failure_of(referee_of(script, **budget)).status == status


def test_the_seal_waits_for_a_mapping_and_the_clock_runs_on(referee_of: Any) -> None:
    script = """
import mmap
sock, memory = train()
mapping = mmap.mmap(memory, 4)
tell(sock, "stop")
time.sleep(0.3)
mapping[:] = b"late"
mapping.close()
time.sleep(600)
"""
    referee = referee_of(script)
    (buffer,) = referee.train()
    assert buffer.read(buffer.specs[0]) == b"late"
    assert referee.times.stop_ns - referee.times.go_ns > 250_000_000


@pytest.mark.parametrize(
    "trick", ["signal.pause()", "os.kill(os.getpid(), signal.SIGSTOP)", "subprocess.run(['sleep', '600'])"]
)
def test_whoever_is_left_at_stop_is_gone_after_it(referee_of: Any, trick: str) -> None:
    script = f"""
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {trick}
        os._exit(0)
    os._exit(0)
sock, memory = train()
tell(sock, "stop")
{trick}
"""
    referee_of(script).train()
    assert processes.children(os.getpid()) == []


def test_last_words_are_in_the_log(referee_of: Any, tmp_path: Path) -> None:
    failure_of(referee_of("print('last words', flush=True)\ntell(hello(), 'returned')\ntime.sleep(600)"))
    assert (tmp_path / "log.txt").read_text() == "last words\n"


SNAPSHOT = """
sock, memory = train()
def snapshot(step):
    tell(sock, "snapshot", step=step)
    _, (memory,) = hear(sock)
    os.pwrite(memory, bytes([step % 256] * 4), 0)
    os.close(memory)
    tell(sock, "snapshot_done", step=step)
"""


def test_snapshots_of_a_practice_run(referee_of: Any) -> None:
    script = SNAPSHOT + "snapshot(1)\nsnapshot(2)\ntell(sock, 'stop')\nhear(sock)"
    referee = referee_of(script, practice=True)
    referee.train()
    first, second = referee.snapshots.complete(referee.session.buffers())
    for snapshot, content in ((first, b"\1" * 4), (second, b"\2" * 4)):
        (buffer,) = snapshot.parts()
        assert buffer.read(buffer.specs[0]) == content
    assert 0 < first.elapsed_ns < second.elapsed_ns


def test_a_snapshot_that_lacks_a_part_is_left_out(referee_of: Any) -> None:
    """The first one: one rank has no part in it. The second: it was not handed over before STOP. The third is whole."""
    other = '[{"name": "v", "dtype": "int8", "shape": [4]}]'
    script = (
        TWO.replace("[]", other)
        + SNAPSHOT.replace("train()", "train(rank, weights)")
        + """
if rank == 0:
    snapshot(1)
else:
    tell(sock, "snapshot", step=2)
    hear(sock)
snapshot(3)
tell(sock, "stop")
hear(sock)
"""
    )
    referee = referee_of(script, practice=True, world_size=2)
    assert [snapshot.step for snapshot in referee.snapshots.complete(referee.train())] == [3]


@pytest.mark.parametrize("steps", ["[1, 1]", f"range({MAX_SNAPSHOTS + 1})"])
def test_snapshots_are_bounded(referee_of: Any, steps: str) -> None:
    script = SNAPSHOT + f"for step in {steps}: snapshot(step)\ntime.sleep(600)"
    assert failure_of(referee_of(script, practice=True)).status == Status.PROTOCOL_BROKEN
