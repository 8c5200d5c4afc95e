"""SCORE: two sandboxed evaluators answer to the judge; the referee starts all three, waits, and kills them.

The evaluators see the submission, the sealed weights and token windows, and no file of data. The judge sees the
validation shard and never a line of the submission; the weights it only hands on.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from ..errors import RunFailure
from ..formats.logfile import LogFile
from ..formats.observer import Observer
from ..formats.run import Score
from ..formats.weights import WeightBuffer
from ..sandbox import evaluator
from ..sandbox.levels import View
from ..sandbox.process_tree import ProcessTree
from ..sandbox.standing_copy import StandingCopies
from ..status import Status
from ..system import clock, interrupts, processes, scratch
from ..system.clock import NS
from .judge_process import JudgeProcess, started_judge

READ_BYTES = 2**16
FRESH_PAIRS = 3  # of evaluators, at most: the first one and two more
# An evaluator's heap keeps what it frees. Otherwise every load faults its pages in anew, and a rehearsal warms nothing:
# the first answer of 120 MB of weights took 405 instead of 65 ms.
KEPT_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "9000000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
MAX_REPORT_BYTES = 64 * 2**20


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
    leak_standard_errors: float = 0.0
    shadow_tokens: int  # 0: none
    shadow_source: Literal["fresh", "rest"]
    relabelling_key: bytes | None
    budget_s: float
    free_ns: int = 0  # of the first answer: where both evaluators take longer, a fresh pair is asked
    language: bytes | None = None  # the secret of the run's language, for fresh shadow text


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """Where evaluators work."""

    level: str  # of the sandbox
    view: View
    inside: Path  # a folder that holds what of ours enters the sandbox (sandbox/belongings.py)
    entry: Path  # the submission
    seed: int
    device: str
    threads: int  # of an evaluator, which runs alone
    python: Path | None = None  # what the evaluators are started with; the judge has the referee's own
    copies: StandingCopies = field(default_factory=StandingCopies)  # of the files that each of them sees


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
        self.final = next((m for m in messages if m["kind"] in {"score", "failed"}), self.final)
        return messages


class Scorer:
    """Scores weights, with the same settings for the final weights and for practice snapshots."""

    def __init__(
        self, settings: EvaluatorSettings, log: LogFile, observer: Observer, judge: JudgeProcess | None = None
    ) -> None:
        """judge: one that was ready before the submission ran; None: each scoring has a fresh one."""
        self._settings, self._log, self._observer, self._judge = settings, log, observer, judge

    def score(self, buffers: list[WeightBuffer], request: ScoreRequest, reserved: Sequence[WeightBuffer] = ()) -> Score:
        """reserved: the weights as they were at reserve(); none: no rehearsals, and no first answer is timed.

        Raises RunFailure when an evaluator or the judge fails, or the budget is spent.
        """
        with nullcontext(self._judge) if self._judge else started_judge(self._settings.view.home) as judge:
            return self._examine(judge, buffers, request, reserved)

    def _examine(
        self, judge: JudgeProcess, buffers: list[WeightBuffer], request: ScoreRequest, reserved: Sequence[WeightBuffer]
    ) -> Score:
        exam = _Exam(self._settings, request, FRESH_PAIRS if reserved else 1, judge)
        try:
            exam.start_pair()
            exam.instruct_judge(buffers, reserved)
            return self._wait(exam)
        except RunFailure as failure:
            raise exam.explained(failure) from failure
        finally:
            for tree in exam.trees:
                tree.kill()
            processes.kill_children()
            for process in exam.processes:
                self._end(process)
            exam.close()
            self._keep(judge.process.stderr)

    def _wait(self, exam: "_Exam") -> Score:
        budget_s = exam.request.budget_s
        self._observer.phase("SCORE", budget_s)
        deadline_ns = clock.now_ns() + int(budget_s * NS)
        report = _Report()
        with selectors.DefaultSelector() as selector:
            exam.watch_output(selector)
            while report.final is None:
                left_s = (deadline_ns - clock.now_ns()) / NS
                if left_s <= 0:
                    raise RunFailure(Status.SCORE_TIMEOUT, f"scoring took more than {budget_s:g} s")
                interrupts.insist()
                for tree in exam.pair_trees:
                    tree.watch()
                wait_s = min(left_s, self._observer.tick(), *(tree.watch_s for tree in exam.pair_trees))
                for key, _ in selector.select(wait_s):
                    chunk = os.read(key.fd, READ_BYTES)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    if key.fileobj is not exam.judge.process.stdout:
                        self._log.write(chunk)
                    elif chunk:
                        for message in report.feed(chunk):
                            self._heed(message, exam, selector)
                    else:
                        code = exam.judge.process.wait()
                        raise RunFailure(Status.JUDGE_FAILED, f"the judge ended without a score (exit {code})")
        return _verdict(report.final)

    def _heed(self, message: dict[str, Any], exam: "_Exam", selector: selectors.BaseSelector) -> None:
        if message["kind"] == "progress":
            self._observer.scored(message["done"], message["total"])
        elif message["kind"] == "fresh pair":
            exam.end_pair()
            exam.start_pair()
            exam.watch_output(selector)
        elif message["kind"] == "turn":
            exam.give_turn(message["evaluator"])

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the last words of a process that was killed, then let go of it."""
        process.wait()
        with process.stdout or nullcontext():
            self._keep(process.stdout)

    def _keep(self, pipe: IO[bytes] | None) -> None:
        """What a pipe holds now goes into the log."""
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            with suppress(BlockingIOError):  # only outside a pid namespace can a writer live on
                while chunk := os.read(pipe.fileno(), READ_BYTES):
                    self._log.write(chunk)


class _Exam:
    """The processes of one scoring: the judge, and one pair of evaluators at a time."""

    def __init__(self, settings: EvaluatorSettings, request: ScoreRequest, pairs: int, judge: JudgeProcess) -> None:
        self.settings, self.request, self.judge = settings, request, judge
        self.trees: list[ProcessTree] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pair_trees: list[ProcessTree] = []
        self._pair: list[subprocess.Popen[bytes]] = []
        sockets = [[socket.socketpair() for _ in range(2)] for _ in range(pairs)]
        self._ours = [[ours for ours, _ in pair] for pair in sockets]  # the judge's, until it is started
        self._theirs = [[theirs for _, theirs in pair] for pair in sockets]  # the evaluators', likewise

    def start_pair(self) -> None:
        """Two fresh evaluators, which wait for what the judge says."""
        self.pair_trees, self._pair = [], []
        for side, sock in enumerate(self._theirs.pop(0)):
            tree = self._make_tree(side)
            self.trees.append(tree)
            self.pair_trees.append(tree)
            self._pair.append(self._start_evaluator(tree, sock))
            self.processes.append(self._pair[-1])
            sock.close()
        for tree, own in zip(self.pair_trees, self._pair, strict=True):
            tree.strangers = {process.pid for process in self.processes if process is not own}

    def end_pair(self) -> None:
        """Kill the pair that was; what it detached where nothing contains it goes when scoring ends."""
        for tree, process in zip(self.pair_trees, self._pair, strict=True):
            tree.kill()
            processes.kill_all([process.pid, *processes.tree(process.pid)])
            process.wait()

    def give_turn(self, number: int) -> None:
        """Stop one evaluator, let the other run, and tell the judge."""
        self.pair_trees[1 - number].stop()
        self.pair_trees[number].go_on()
        with suppress(OSError):  # the judge is gone, and that is noticed where it is read
            self.judge.control.send(b"1")

    def _make_tree(self, side: int) -> ProcessTree:
        """Evaluators share the track's limits in halves: they could signal each other at a common one. Nor do they have
        a file in common, where there are copies."""
        settings = self.settings
        environment = settings.view.environment | KEPT_HEAP | {"OMP_NUM_THREADS": str(settings.threads)}
        limits = settings.view.limits.within_this_machine().shared_by(2)
        view = replace(settings.view, environment=environment, evaluator=True, limits=limits)
        return ProcessTree(settings.level, settings.copies.view(view, side))

    def _start_evaluator(self, tree: ProcessTree, sock: socket.socket) -> subprocess.Popen[bytes]:
        settings = self.settings
        config = {
            "socket": sock.fileno(), "entry": str(settings.entry), "vocab_size": self.request.vocab_size,
            "seed": settings.seed, "device": settings.device, "threads": settings.threads,
        }  # fmt: skip
        config_fd = os.memfd_create("config", 0)
        os.write(config_fd, json.dumps(config).encode())
        os.lseek(config_fd, 0, os.SEEK_SET)
        try:
            return tree.start(
                evaluator.argv(str(settings.inside), config_fd, str(settings.python or sys.executable)),
                pass_fds=(config_fd, sock.fileno()),
            )
        finally:
            os.close(config_fd)

    def instruct_judge(self, buffers: Sequence[WeightBuffer], reserved: Sequence[WeightBuffer]) -> None:
        request, sockets = self.request, [sock for pair in self._ours for sock in pair]
        order = {
            "val_path": str(request.val_path), "val_sha256": request.val_sha256, "val_tokens": request.val_tokens,
            "vocab_size": request.vocab_size,
            "max_tokens": request.max_tokens, "max_batch_tokens": request.max_batch_tokens,
            "probe_pairs": request.probe_pairs,
            "leak_standard_errors": request.leak_standard_errors,
            "shadow_tokens": request.shadow_tokens, "shadow_source": request.shadow_source,
            "language": request.language and request.language.hex(),
            "relabelling_key": request.relabelling_key and request.relabelling_key.hex(),
            "threads": max(1, self.settings.threads // 2), "device": self.settings.device,
            "pairs": [[sock.fileno() for sock in pair] for pair in self._ours],
            "weights": _listed(buffers), "reserved": _listed(reserved),
            "free_ns": request.free_ns, "budget_s": request.budget_s,
        }  # fmt: skip
        fds = [*(sock.fileno() for sock in sockets), *(buffer.fd for buffer in (*buffers, *reserved))]
        self.judge.order(order, fds)
        for sock in sockets:
            sock.close()

    def watch_output(self, selector: selectors.BaseSelector) -> None:
        """Look at the pipes of whoever was started since the last time."""
        known = {key.fileobj for key in selector.get_map().values()}
        for process in (*self._pair, self.judge.process):
            for pipe in filter(None, (process.stdout, process.stderr)):
                if pipe not in known:
                    selector.register(pipe, selectors.EVENT_READ)

    def explained(self, failure: RunFailure) -> RunFailure:
        """The failure, or the limit an evaluator ran into before it."""
        for tree in self.pair_trees:
            failure = tree.explain(failure)
        return failure

    def close(self) -> None:
        """Give everything back, after the last process is gone."""
        for sock in (sock for pair in (*self._ours, *self._theirs) for sock in pair):
            sock.close()
        for tree in self.trees:
            tree.close()
            if tree.view.own is not None:
                scratch.remove_tree(tree.view.own)


def _listed(buffers: Sequence[WeightBuffer]) -> list[dict[str, Any]]:
    return [{"fd": buffer.fd, "weights": [asdict(spec) for spec in buffer.specs]} for buffer in buffers]


def _verdict(final: dict[str, Any]) -> Score:
    if final["kind"] == "failed":
        raise RunFailure(Status(final["status"]), final["sentence"])
    return Score.model_validate_json(json.dumps(final["score"]))
