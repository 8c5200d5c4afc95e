"""The judge's process: started, with all it imports, before the ranks of a run; orders come over a socket.

At sandbox level `process` a submission can rewrite whatever its user may write, these modules and torch among them.
What was read before a rank started is in memory by then.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunFailure
from ..formats import layout
from ..sandbox import levels
from ..sandbox.inside import Channel
from ..status import Status
from ..system import clock, interrupts, processes
from ..system.clock import NS

READY = b'{"kind": "ready"}\n'
READY_S = 300.0  # imports of torch on a machine that does much else
MAX_FDS = 253  # the kernel's SCM_MAX_FD: evaluators' sockets, and two descriptors a rank
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from harness.scoring.judge import main; main()"


@dataclass(slots=True)
class JudgeProcess:
    """A judge that waits for orders; its reports come on its stdout."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    ready: bool = False

    def wait_until_ready(self) -> None:
        """Until it has imported all it needs. Raises RunFailure."""
        assert self.process.stdout is not None
        deadline_ns, said = clock.now_ns() + int(READY_S * NS), b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not self.ready:
                left_s = (deadline_ns - clock.now_ns()) / NS
                interrupts.insist()
                if left_s <= 0:
                    raise RunFailure(Status.JUDGE_FAILED, f"the judge was not ready within {READY_S:g} s")
                if selector.select(min(left_s, 1.0)):
                    chunk = os.read(self.process.stdout.fileno(), len(READY) - len(said))
                    if not chunk:
                        raise RunFailure(Status.JUDGE_FAILED, f"the judge ended before it was ready: {self._last()}")
                    said += chunk
                    self.ready = said == READY

    def order(self, order: dict[str, Any], fds: Sequence[int]) -> None:
        """Hand over an order and copies of the descriptors that it names by our numbers. Raises RunFailure."""
        fds = list(dict.fromkeys(fds))
        if len(fds) > MAX_FDS:
            raise RunFailure(Status.JUDGE_FAILED, f"expected at most {MAX_FDS} descriptors, found {len(fds)}")
        self.wait_until_ready()
        with suppress(BrokenPipeError, ConnectionResetError):  # then it is gone, and that is noticed where it is read
            Channel(self.control).send({"fds": fds}, json.dumps(order).encode(), tuple(fds))

    def _last(self) -> str:
        assert self.process.stderr is not None
        lines = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"exit {self.process.wait()}"


@contextmanager
def started_judge(home: Path) -> Iterator[JudgeProcess]:
    """A judge that gets ready meanwhile, and none afterwards. home: HOME of its environment."""
    ours, theirs = socket.socketpair()
    with theirs, interrupts.deferred():
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, str(layout.ROOT), str(theirs.fileno())],
            env=levels.clean_environment(home),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(),), start_new_session=True, preexec_fn=processes.die_with_parent,
            cwd="/",  # ours may be gone by then
        )  # fmt: skip
        processes.spare(process.pid)
    try:
        yield JudgeProcess(process, ours)
    finally:
        processes.spare_no_more(process.pid)
        process.kill()
        process.wait()
        ours.close()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def receive(control: socket.socket) -> dict[str, Any] | None:
    """The judge's side: the next order, with its own numbers of the descriptors; None once nobody gives any."""
    try:
        message, text, fds = Channel(control).receive(MAX_FDS)
    except EOFError:
        return None
    order: dict[str, Any] = json.loads(text)
    known = dict(zip(message["fds"], fds, strict=True))
    order["pairs"] = [[known[fd] for fd in pair] for pair in order["pairs"]]
    for part in (*order["weights"], *order["reserved"]):
        part["fd"] = known[part["fd"]]
    return order
