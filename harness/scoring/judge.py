"""The judge: turns logits into a loss. Its own process, its own interpreter; only bytes reach it.

Two evaluators hold the same weights and share no channel. Every window of the validation stream goes to one of
them, drawn at random, and among these lie windows of shadow text (shadow.py) and second copies that must get the
same answer (probes.py), all of one shape (questions.py). Logits cross in shared memory of a sealed length, where
each is read once (losses.py), so nothing can change between a softmax and the target it is asked about. Log-softmax
runs in fp32 over the whole declared vocabulary, sums in fp64, and every target is counted once. What arrives is
JSON and raw numbers: no object of a submission is ever built here.
"""

import fcntl
import hashlib
import json
import mmap
import os
import random
import select
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.shards import read_shard

from ..sandbox.inside import Channel, page_lock
from . import probes, relabelling, shadow, windows
from .losses import LossReader
from .tally import Tally
from .windows import Assigner, Question

SEAL_LENGTH = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
SLOTS = 2  # the evaluator fills one while the judge reads the other
MAX_LOGIT_BYTES = 4
RING_BYTES = 2**33  # of one evaluator; only a single window that is larger may take more, and then has one slot
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EvaluationError(Exception):
    """An evaluator did not do what it must: the status that names it, and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(slots=True)
class Evaluator:
    """One evaluator process as the judge sees it."""

    name: str
    channel: Channel
    batches: list[list[Question]] = field(default_factory=list)  # still to be sent
    in_flight: dict[int, list[Question]] = field(default_factory=dict)  # slot -> batch
    memory: mmap.mmap | None = None


class Judge:
    """Scores one set of weights on one validation stream."""

    def __init__(self, order: dict[str, Any]) -> None:
        """order: val_path, val_tokens, vocab_size, max_tokens, max_batch_tokens, probe_pairs, sockets.

        Optional: val_sha256; shadow_source and shadow_tokens; relabelling_key, hexadecimal; device, where losses are
        computed. Raises EvaluationError when the validation shard is not what it was.
        """
        self.order, self.device = order, torch.device(order.get("device", "cpu"))
        self.random = random.Random(secrets_seed())  # noqa: S311 - seeded by the operating system's entropy
        self.evaluators = [
            Evaluator("AB"[i], Channel(socket.socket(fileno=fd))) for i, fd in enumerate(order["sockets"])
        ]
        self.count: int = order["val_tokens"]
        shard = _read_unaltered(Path(order["val_path"]), order.get("val_sha256"))
        self.stream, self.rest = self._relabelled(np.asarray(shard[: self.count + 1])), shard[self.count + 1 :]

    def score(self) -> dict[str, Any]:
        """Evaluate every window once and every probe pair. Raises EvaluationError."""
        self.tokens, self.batch = self._agree()
        self._assign()
        self.reader = LossReader(self.order["vocab_size"], self.device)
        self.started_ns = time.monotonic_ns()
        for evaluator in self.evaluators:
            for slot in range(self._open_ring(evaluator)):
                self._send_batch(evaluator, slot)
        total = sum(len(e.batches) + len(e.in_flight) for e in self.evaluators)
        for done, evaluator in enumerate(self._answers(), start=1):
            self._read_answer(evaluator)
            report({"kind": "progress", "done": done, "total": total})
        eval_ns = time.monotonic_ns() - self.started_ns
        assert self.tally.scored.count == self.count
        return {"eval_batch": self.batch, "eval_ns": eval_ns, **self.tally.score()}

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
        window_bytes = tokens * self.order["vocab_size"] * MAX_LOGIT_BYTES
        within = min(self.order["max_batch_tokens"] // tokens, RING_BYTES // SLOTS // window_bytes)
        return tokens, max(1, min(asked[0][1], within))

    def _assign(self) -> None:
        """Draw shadow text and probes, and give each evaluator its batches."""
        text, drawn = windows.cut(self.stream, self.tokens), self._draw_shadow()
        counts = [len(text.targets(window)) for window in range(len(text))]
        pairs = probes.draw(self.order["probe_pairs"], counts, self.random)
        self.tally = Tally(text, drawn, pairs)
        halves = Assigner(text, None if drawn is None else drawn.text, pairs, self.random).batches(self.batch)
        for evaluator, batches in zip(self.evaluators, halves, strict=True):
            evaluator.batches = batches

    def _draw_shadow(self) -> shadow.ShadowText | None:
        source, count = self.order.get("shadow_source", "rest"), self.order.get("shadow_tokens", 0)
        drawn = shadow.draw(source, count, self.tokens, self.rest)
        return drawn and replace(drawn, text=replace(drawn.text, stream=self._relabelled(drawn.text.stream)))

    def _relabelled(self, tokens: np.ndarray) -> np.ndarray:
        key = self.order.get("relabelling_key")
        if key is None:
            return tokens
        return relabelling.draw(self.order["vocab_size"], bytes.fromhex(key)).tokens(tokens)

    def _logits_bytes(self, itemsize: int) -> int:
        """Bytes of one batch of logits."""
        return int(self.batch * self.tokens * self.order["vocab_size"] * itemsize)

    def _open_ring(self, evaluator: Evaluator) -> int:
        """Share memory with an evaluator. Returns how many batches it has room for."""
        slot_bytes = self._logits_bytes(MAX_LOGIT_BYTES)
        slots = SLOTS if SLOTS * slot_bytes <= RING_BYTES else 1
        fd = os.memfd_create("logits", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, slots * slot_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEAL_LENGTH)  # a file cut short would end its reader (SIGBUS)
        evaluator.memory = mmap.mmap(fd, slots * slot_bytes)
        page_lock(torch.frombuffer(evaluator.memory, dtype=torch.uint8), self.device)
        ring = {"slots": slots, "slot_bytes": slot_bytes, "batch": self.batch, "tokens": self.tokens}
        try:
            self._send(evaluator, ring, fds=(fd,))
        finally:
            os.close(fd)
        return slots

    def _send_batch(self, evaluator: Evaluator, slot: int) -> None:
        if evaluator.batches:
            batch = evaluator.in_flight[slot] = evaluator.batches.pop()
            payload = np.stack([question.inputs for question in batch]).astype("<u2").tobytes()
            self._send(evaluator, {"slot": slot}, payload)

    def _answers(self) -> Iterator[Evaluator]:
        """Evaluators in the order in which they have something to say, until nothing is in flight."""
        while waiting := {e.channel.sock: e for e in self.evaluators if e.in_flight}:
            for sock in select.select(list(waiting), [], [])[0]:
                yield waiting[sock]

    def _send(
        self, evaluator: Evaluator, message: dict[str, Any], payload: bytes = b"", fds: tuple[int, ...] = ()
    ) -> None:
        try:
            evaluator.channel.send(message, payload, fds)
        except OSError as error:
            raise EvaluationError("evaluator_failed", f"evaluator {evaluator.name} is gone: {error}") from error

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
        losses = self._losses(self._slot(evaluator, slot, dtype), batch)
        self._send_batch(evaluator, slot)
        for question, found in zip(batch, losses, strict=True):
            self._enter(question, found)

    def _slot(self, evaluator: Evaluator, slot: int, dtype: torch.dtype) -> torch.Tensor:
        """What lies in a slot, still shared, as logits [batch * tokens, vocab_size]."""
        offset, size = slot * self._logits_bytes(MAX_LOGIT_BYTES), self._logits_bytes(dtype.itemsize)
        assert evaluator.memory is not None
        shared = torch.frombuffer(evaluator.memory, dtype=torch.uint8, offset=offset, count=size)
        return shared.view(dtype).reshape(-1, self.order["vocab_size"])

    def _losses(self, shared: torch.Tensor, batch: list[Question]) -> np.ndarray:
        """Cross-entropy in nats, fp32 [batch, tokens], of every position of every window against its real targets."""
        targets = np.zeros((self.batch, self.tokens), np.int64)
        for row, question in enumerate(batch):
            targets[row, : len(question.targets)] = question.targets
        return self.reader.read(shared, targets.ravel()).reshape(targets.shape)

    def _enter(self, question: Question, losses: np.ndarray) -> None:
        losses = losses[: len(question.targets)]
        if not np.isfinite(losses).all():
            raise EvaluationError(
                "logits_invalid", f"window {question.window}: the logits hold NaN or give infinite losses"
            )
        self.tally.enter(question, losses)


def _read_unaltered(path: Path, sha256: str | None) -> np.ndarray:
    """The tokens of a shard, uint16, from a copy in memory that has this digest: nobody writes to it afterwards."""
    with path.open("rb") as file, os.fdopen(os.memfd_create("validation", os.MFD_CLOEXEC), "wb") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        ours = Path(f"/proc/self/fd/{copy.fileno()}")
        with ours.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if sha256 is not None and found != sha256:
            raise EvaluationError(
                "data_invalid", f"expected the validation shard {path.name} as it was before the run, found other bytes"
            )
        return read_shard(ours)


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
