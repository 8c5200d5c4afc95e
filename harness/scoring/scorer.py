"""SCORE: two sandboxed evaluators answer to the judge; the referee starts all three, waits, and kills them.

The evaluators see the submission, the sealed weights and token windows, and no file of data. The judge sees the
validation shard and never a line of the submission.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import RunFailure
from ..formats import layout
from ..formats.logfile import LogFile
from ..formats.observer import Observer
from ..formats.run import Score
from ..formats.weights import WeightBuffer
from ..sandbox import levels
from ..sandbox.levels import View
from ..sandbox.process_tree import ProcessTree
from ..status import Status
from ..system import clock, interrupts, processes
from ..system.clock import NS

READ_BYTES = 2**16
MAX_REPORT_BYTES = 64 * 2**20
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from harness.scoring.judge import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What is asked of the weights."""

    val_path: Path
    val_sha256: str | None  # as verified before the run
    val_tokens: int
    vocab_size: int
    max_tokens: int
    max_batch_tokens: int
    probe_pairs: int
    shadow_tokens: int  # 0: none
    shadow_source: Literal["fresh", "rest"]
    relabelling_key: bytes | None
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """Where evaluators work."""

    level: str  # of the sandbox
    view: View
    inside: Path  # the copy of inside.py
    entry: Path  # the submission
    seed: int
    device: str
    threads: int  # of each evaluator


@dataclass(slots=True)
class _Report:
    """Lines from the judge as they come; the last one holds the score."""

    buffer: bytearray = field(default_factory=bytearray)
    final: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        self.buffer += chunk
        if len(self.buffer) > MAX_REPORT_BYTES:
            raise RunFailure(Status.JUDGE_FAILED, "the judge's report is longer than any report can be")
        *lines, rest = self.buffer.split(b"\n")
        self.buffer = bytearray(rest)
        messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.final = next((m for m in messages if m["kind"] != "progress"), self.final)
        return messages


class Scorer:
    """Scores weights, with the same settings for the final weights and for practice snapshots."""

    def __init__(self, settings: EvaluatorSettings, log: LogFile, observer: Observer) -> None:
        self._settings, self._log, self._observer = settings, log, observer

    def score(self, buffers: list[WeightBuffer], request: ScoreRequest) -> Score:
        """Raises RunFailure when an evaluator or the judge fails, or the budget is spent."""
        started: list[subprocess.Popen[bytes]] = []
        ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
        trees: list[ProcessTree] = []
        try:
            trees += [self._make_tree() for _ in theirs]
            started += [
                self._start_evaluator(tree, buffers, request, sock) for tree, sock in zip(trees, theirs, strict=True)
            ]
            judge = self._start_judge(request, ours)
            started.append(judge)
            for tree, evaluator in zip(trees, started, strict=False):
                tree.strangers = {process.pid for process in started if process is not evaluator}
            for sock in (*ours, *theirs):
                sock.close()
            return self._wait(judge, started, trees, request.budget_s)
        except RunFailure as failure:
            raise _explained(failure, trees) from failure
        finally:
            for tree in trees:
                tree.kill()
            processes.kill_children()
            for sock in (*ours, *theirs):
                sock.close()
            for process in started:
                self._end(process)
            for tree in trees:
                tree.close()

    def _make_tree(self) -> ProcessTree:
        """Evaluators share the track's limits in halves: they could signal each other at a common one."""
        settings = self._settings
        environment = settings.view.environment | {"OMP_NUM_THREADS": str(settings.threads)}
        limits = settings.view.limits.within_this_machine().shared_by(2)
        return ProcessTree(
            settings.level, replace(settings.view, environment=environment, evaluator=True, limits=limits)
        )

    def _start_evaluator(
        self, tree: ProcessTree, buffers: list[WeightBuffer], request: ScoreRequest, sock: socket.socket
    ) -> subprocess.Popen[bytes]:
        settings = self._settings
        copies = [buffer.copy() for buffer in buffers]  # two evaluators share nothing, not even a file offset
        parts = [
            {"fd": fd, "weights": [asdict(spec) for spec in b.specs]} for fd, b in zip(copies, buffers, strict=True)
        ]
        config = {
            "socket": sock.fileno(), "parts": parts, "entry": str(settings.entry), "vocab_size": request.vocab_size,
            "seed": settings.seed, "device": settings.device, "threads": settings.threads,
        }  # fmt: skip
        config_fd = os.memfd_create("config", 0)
        os.write(config_fd, json.dumps(config).encode())
        os.lseek(config_fd, 0, os.SEEK_SET)
        argv = [sys.executable, "-I", str(settings.inside), "evaluate", str(config_fd)]
        try:
            return tree.start(argv, pass_fds=(config_fd, sock.fileno(), *copies))
        finally:
            for fd in (config_fd, *copies):
                os.close(fd)

    def _start_judge(self, request: ScoreRequest, sockets: tuple[socket.socket, ...]) -> subprocess.Popen[bytes]:
        order = {
            "val_path": str(request.val_path), "val_sha256": request.val_sha256, "val_tokens": request.val_tokens,
            "vocab_size": request.vocab_size,
            "max_tokens": request.max_tokens, "max_batch_tokens": request.max_batch_tokens,
            "probe_pairs": request.probe_pairs,
            "shadow_tokens": request.shadow_tokens, "shadow_source": request.shadow_source,
            "relabelling_key": request.relabelling_key and request.relabelling_key.hex(),
            "threads": self._settings.threads, "device": self._settings.device,
            "sockets": [s.fileno() for s in sockets],
        }  # fmt: skip
        argv = [sys.executable, "-I", "-c", _BOOT, str(layout.ROOT)]
        with interrupts.deferred():
            judge = subprocess.Popen(
                argv, env=levels.clean_environment(self._settings.view.home),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=[s.fileno() for s in sockets], start_new_session=True, preexec_fn=processes.die_with_parent,
                cwd="/",  # ours may be gone by now
            )  # fmt: skip
        assert judge.stdin is not None
        judge.stdin.write(json.dumps(order).encode())
        judge.stdin.close()
        return judge

    def _wait(
        self,
        judge: subprocess.Popen[bytes],
        started: list[subprocess.Popen[bytes]],
        trees: list[ProcessTree],
        budget_s: float,
    ) -> Score:
        self._observer.phase("SCORE", budget_s)
        deadline_ns = clock.now_ns() + int(budget_s * NS)
        report = _Report()
        with selectors.DefaultSelector() as selector:
            for process in started:
                for pipe in filter(None, (process.stdout, process.stderr)):
                    selector.register(pipe, selectors.EVENT_READ)
            while report.final is None:
                left_s = (deadline_ns - clock.now_ns()) / NS
                if left_s <= 0:
                    raise RunFailure(Status.SCORE_TIMEOUT, f"scoring took more than {budget_s:g} s")
                interrupts.insist()
                for tree in trees:
                    tree.watch()
                wait_s = min(left_s, self._observer.tick(), *(tree.watch_s for tree in trees))
                for key, _ in selector.select(wait_s):
                    chunk = os.read(key.fd, READ_BYTES)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    if key.fileobj is not judge.stdout:
                        self._log.write(chunk)
                    elif chunk:
                        self._show(report.feed(chunk))
                    else:
                        raise RunFailure(Status.JUDGE_FAILED, f"the judge ended without a score (exit {judge.wait()})")
        return _verdict(report.final)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the last words of a process that was killed, then let go of it."""
        process.wait()
        for pipe in filter(None, (process.stdout, process.stderr)):
            os.set_blocking(pipe.fileno(), False)
            with pipe, suppress(BlockingIOError):  # only outside a pid namespace can a writer live on
                while chunk := os.read(pipe.fileno(), READ_BYTES):
                    self._log.write(chunk)

    def _show(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["kind"] == "progress":
                self._observer.scored(message["done"], message["total"])


def _explained(failure: RunFailure, trees: list[ProcessTree]) -> RunFailure:
    """The failure, or the limit an evaluator ran into before it."""
    for tree in trees:
        failure = tree.explain(failure)
    return failure


def _verdict(final: dict[str, Any]) -> Score:
    if final["kind"] == "failed":
        raise RunFailure(Status(final["status"]), final["sentence"])
    return Score.model_validate(final["score"])
