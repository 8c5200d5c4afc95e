"""The judge: turns logits into a loss. Its own process, its own interpreter; only bytes reach it.

Two evaluators hold the same weights and share no channel. Every window of the validation stream goes to one of
them, drawn at random; of some windows a copy with the same prefix and another suffix goes to the other one. A
model that is causal gives both the same logits before the cut; one that looks ahead contradicts itself, and
cannot know which of its windows are compared. Logits cross in shared memory and are copied before they are
read, so nothing can change between a softmax and the target it is asked about. Log-softmax runs in fp32 over
the whole declared vocabulary, sums in fp64, and every target is counted once.
"""

import json
import mmap
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from data.shards import read_shard

from .inside import Channel

SUFFIX_TRIES = 16  # to find a suffix whose first token is another
SLOTS = 2  # the evaluator fills one while the judge reads the other
MAX_LOGIT_BYTES = 4
CHUNK_ELEMENTS = 2**18  # logits turned to fp32 at once: stays in the cache, bounds the memory
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EvaluationError(Exception):
    """An evaluator did not do what it must: the status that names it, and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Task:
    """One window to be evaluated. cut: for probes, positions up to here must not depend on what follows."""

    window: int
    tokens: np.ndarray  # uint16 [tokens]
    scored: bool
    cut: int | None = None


@dataclass(slots=True)
class Evaluator:
    """One evaluator process as the judge sees it."""

    name: str
    channel: Channel
    tasks: list[list[Task]] = field(default_factory=list)  # batches still to be sent
    in_flight: dict[int, list[Task]] = field(default_factory=dict)  # slot -> batch
    memory: mmap.mmap | None = None


@dataclass(slots=True)
class Sheet:
    """What has been scored so far."""

    loss_sums: np.ndarray  # fp64 [windows]
    counts: np.ndarray  # int64 [windows]
    probe_losses: dict[tuple[int, bool], np.ndarray] = field(default_factory=dict)  # (window, is real) -> fp32 [cut]


class Judge:
    """Scores one set of weights on one validation stream."""

    def __init__(self, order: dict[str, Any]) -> None:
        """order: val_path, val_tokens, vocab_size, max_tokens, max_batch_tokens, probe_pairs, sockets."""
        self.order = order
        self.random = random.Random(secrets_seed())  # noqa: S311 - seeded by the operating system's entropy
        self.evaluators = [
            Evaluator("AB"[i], Channel(socket.socket(fileno=fd))) for i, fd in enumerate(order["sockets"])
        ]
        self.count: int = order["val_tokens"]
        self.stream = np.asarray(read_shard(Path(order["val_path"]))[: self.count + 1])

    def score(self) -> dict[str, Any]:
        """Evaluate every window once and every probe pair. Raises EvaluationError."""
        self.tokens, self.batch = self._agree()
        windows = -(-self.count // self.tokens)
        self.sheet = Sheet(np.zeros(windows), np.zeros(windows, np.int64))
        self._deal(windows)
        self.started_ns = time.monotonic_ns()
        for evaluator in self.evaluators:
            self._open_ring(evaluator)
            for slot in range(SLOTS):
                self._send_batch(evaluator, slot)
        total = sum(len(e.tasks) + len(e.in_flight) for e in self.evaluators)
        for done, evaluator in enumerate(self._answers(), start=1):
            self._read_answer(evaluator)
            report({"kind": "progress", "done": done, "total": total})
        return self._result()

    def _agree(self) -> tuple[int, int]:
        """Window and batch as the submission asks for them, within the track's limits; both must ask alike."""
        asked = []
        for evaluator in self.evaluators:
            message = self._receive(evaluator)
            wish = (message.get("eval_tokens"), message.get("eval_batch"))
            if message.get("kind") != "ready" or not all(type(n) is int and 0 < n < 2**31 for n in wish):
                raise EvaluationError(
                    "evaluator_failed", f"expected EVAL_TOKENS and EVAL_BATCH to be positive integers, found {wish}"
                )
            asked.append(wish)
        if asked[0] != asked[1]:
            raise EvaluationError("evaluator_failed", f"two evaluators ask for different windows: {asked}")
        tokens = min(asked[0][0], self.order["max_tokens"], self.count)
        batch = max(1, min(asked[0][1], self.order["max_batch_tokens"] // tokens))
        return tokens, batch

    def _deal(self, windows: int) -> None:
        """Give each window to one evaluator, and the altered copy of each probed window to the other one."""
        hands: tuple[list[Task], list[Task]] = ([], [])
        probed = set(self.random.sample(range(windows), min(self.order["probe_pairs"], windows)))
        first = set(self.random.sample(range(windows), windows // 2 + self.random.randrange(2) * (windows % 2)))
        for window in range(windows):
            who, tokens = int(window not in first), self._window(window)
            cut = self._cut(window) if window in probed else None
            hands[who].append(Task(window, tokens, True, cut))
            if cut is not None:
                suffix = self._suffix(window, windows, cut)
                altered = np.concatenate([tokens[: cut + 1], suffix[cut + 1 :]])
                hands[1 - who].append(Task(window, altered, False, cut))
        for evaluator, hand in zip(self.evaluators, hands, strict=True):
            self.random.shuffle(hand)
            filler = [
                Task(-1, self._window(self.random.randrange(windows)), False) for _ in range(-len(hand) % self.batch)
            ]
            hand += filler
            evaluator.tasks = [hand[i : i + self.batch] for i in range(0, len(hand), self.batch)]

    def _window(self, window: int) -> np.ndarray:
        """Inputs of a window; the last one is filled up from the start of the stream (its filling is not scored)."""
        start = window * self.tokens
        tokens = self.stream[start : min(start + self.tokens, self.count)]
        return np.concatenate([tokens, np.resize(self.stream[: self.count], self.tokens - len(tokens))])

    def _suffix(self, window: int, windows: int, cut: int) -> np.ndarray:
        """Inputs to put behind a cut: another window's, with another token right behind the cut if one is found."""
        real = self._window(window)
        for _ in range(SUFFIX_TRIES):
            suffix = self._other_window(window, windows)
            if not np.array_equal(suffix[cut + 1 : cut + 2], real[cut + 1 : cut + 2]):
                break
        return suffix

    def _other_window(self, window: int, windows: int) -> np.ndarray:
        """Inputs of any other window, or, where there is no other, its own, rotated."""
        if windows == 1:
            return np.roll(self._window(window), self.random.randrange(self.tokens))
        other = self.random.randrange(windows - 1)
        return self._window(other + (other >= window))

    def _targets(self, window: int) -> np.ndarray:
        start = window * self.tokens
        return self.stream[start + 1 : min(start + self.tokens, self.count) + 1]

    def _cut(self, window: int) -> int:
        """Where a probed window's suffix begins to differ: anywhere but after its last scored token."""
        return self.random.randrange(max(1, len(self._targets(window)) - 1))

    def _logits_bytes(self, itemsize: int) -> int:
        """Bytes of one batch of logits."""
        return int(self.batch * self.tokens * self.order["vocab_size"] * itemsize)

    def _open_ring(self, evaluator: Evaluator) -> None:
        slot_bytes = self._logits_bytes(MAX_LOGIT_BYTES)
        fd = os.memfd_create("logits", os.MFD_CLOEXEC)
        os.ftruncate(fd, SLOTS * slot_bytes)
        evaluator.memory = mmap.mmap(fd, SLOTS * slot_bytes)
        ring = {"slots": SLOTS, "slot_bytes": slot_bytes, "batch": self.batch, "tokens": self.tokens}
        evaluator.channel.send(ring, fds=(fd,))
        os.close(fd)

    def _send_batch(self, evaluator: Evaluator, slot: int) -> None:
        if evaluator.tasks:
            batch = evaluator.in_flight[slot] = evaluator.tasks.pop()
            payload = np.stack([task.tokens for task in batch]).astype("<u2").tobytes()
            try:
                evaluator.channel.send({"slot": slot}, payload)
            except OSError as error:
                raise EvaluationError("evaluator_failed", f"evaluator {evaluator.name} is gone: {error}") from error

    def _answers(self) -> Iterator[Evaluator]:
        """Evaluators in the order in which they have something to say, until nothing is in flight."""
        while waiting := {e.channel.sock: e for e in self.evaluators if e.in_flight}:
            for sock in select.select(list(waiting), [], [])[0]:
                yield waiting[sock]

    def _receive(self, evaluator: Evaluator) -> dict[str, Any]:
        try:
            message, _, fds = evaluator.channel.receive()
        except (EOFError, OSError, ValueError) as error:
            raise EvaluationError("evaluator_failed", f"evaluator {evaluator.name} is gone: {error}") from error
        for fd in fds:
            os.close(fd)
        if message.get("kind") == "failed":
            status = "logits_invalid" if message.get("reason") == "logits_invalid" else "evaluator_failed"
            raise EvaluationError(status, str(message.get("error"))[:2000])
        return message

    def _read_answer(self, evaluator: Evaluator) -> None:
        message = self._receive(evaluator)
        slot, dtype = message.get("slot"), DTYPES.get(str(message.get("dtype")))
        if type(slot) is not int or slot not in evaluator.in_flight or dtype is None:
            raise EvaluationError("logits_invalid", f"evaluator {evaluator.name} answered what was not asked")
        batch = evaluator.in_flight.pop(slot)
        logits = self._take(evaluator, slot, dtype)
        self._send_batch(evaluator, slot)
        for task, losses in zip(batch, self._losses(logits, batch), strict=True):
            self._enter(task, losses)

    def _take(self, evaluator: Evaluator, slot: int, dtype: torch.dtype) -> torch.Tensor:
        """A private copy of a slot as logits [batch, tokens, vocab_size]."""
        shape = (self.batch, self.tokens, self.order["vocab_size"])
        offset, size = slot * self._logits_bytes(MAX_LOGIT_BYTES), self._logits_bytes(dtype.itemsize)
        assert evaluator.memory is not None
        shared = torch.frombuffer(evaluator.memory, dtype=torch.uint8, offset=offset, count=size)
        return shared.clone().view(dtype).reshape(shape)

    def _losses(self, logits: torch.Tensor, batch: list[Task]) -> list[np.ndarray]:
        """Cross-entropy in nats, fp32, of every position of every window against its real targets."""
        targets = np.zeros((self.batch, self.tokens), np.int64)
        for row, task in enumerate(batch):
            if task.window >= 0:
                found = self._targets(task.window)
                targets[row, : len(found)] = found
        flat, wanted = logits.flatten(0, 1), torch.from_numpy(targets).flatten()
        rows = max(1, CHUNK_ELEMENTS // flat.shape[1])
        losses = [_cross_entropy(x, y) for x, y in zip(flat.split(rows), wanted.split(rows), strict=True)]
        return list(torch.cat(losses).reshape(self.batch, self.tokens).numpy())

    def _enter(self, task: Task, losses: np.ndarray) -> None:
        if task.window < 0:
            return
        losses = losses[: len(self._targets(task.window))]
        if not np.isfinite(losses).all():
            raise EvaluationError(
                "logits_invalid", f"window {task.window}: the logits hold NaN or give infinite losses"
            )
        if task.cut is not None:
            self.sheet.probe_losses[task.window, task.scored] = losses[: task.cut + 1]
        if task.scored:
            self.sheet.loss_sums[task.window] += losses.sum(dtype=np.float64)
            self.sheet.counts[task.window] += len(losses)

    def _result(self) -> dict[str, Any]:
        sheet = self.sheet
        assert int(sheet.counts.sum()) == self.count
        loss_sum = float(sheet.loss_sums.sum())
        windows = {"tokens": self.tokens, "loss_sums": sheet.loss_sums.tolist(), "counts": sheet.counts.tolist()}
        return {
            "val_loss": round(loss_sum / self.count, 7),
            "loss_sum": loss_sum,
            "count": self.count,
            "eval_batch": self.batch,
            "eval_ns": time.monotonic_ns() - self.started_ns,
            "windows": windows,
            "probes": self._compare_probes(),
        }

    def _compare_probes(self) -> dict[str, float | int]:
        losses = self.sheet.probe_losses
        real = [losses[window, True] for window, is_real in losses if is_real]
        altered = [losses[window, False] for window, is_real in losses if is_real]
        differences = [np.abs(a - b) for a, b in zip(real, altered, strict=True)]
        every = np.concatenate(differences) if differences else np.zeros(1, np.float32)
        return {
            "pairs": len(differences),
            "max_abs_difference": float(every.max()),
            "mean_abs_difference": float(every.mean()),
        }


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats [rows] of targets int64 [rows] under logits [rows, vocab_size]; NaN where logits hold one."""
    return F.cross_entropy(logits.float(), targets, reduction="none")


def secrets_seed() -> int:
    """Entropy no submission can know."""
    return int.from_bytes(os.urandom(16))


def report(message: dict[str, Any]) -> None:
    """One line to the referee."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the order from stdin, score, report."""
    order = json.load(sys.stdin)
    torch.set_num_threads(order["threads"])
    try:
        report({"kind": "score", "score": Judge(order).score()})
    except EvaluationError as error:
        report({"kind": "failed", "status": error.status, "sentence": str(error)})


if __name__ == "__main__":
    main()
