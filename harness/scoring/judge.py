"""The judge: turns logits into a loss. Its own process, its own interpreter; only bytes reach it.

Two evaluators hold the same weights and share no channel. Every window of the validation stream goes to one of
them, drawn at random, and among these lie windows of shadow text (shadow.py) and second copies that must get the
same answer (probes.py), all of one shape (questions.py). Logits cross in shared memory of a sealed length, where
each is read once (losses.py), so nothing can change between a softmax and the target it is asked about. Log-softmax
runs in fp32 over the whole declared vocabulary, sums in fp64, and every target is counted once. What arrives is
JSON and raw numbers: no object of a submission is ever built here.

Before that, each evaluator rehearses and gives its first answers (first_answer.py), timed. Where both are slower than
what is free, a fresh pair takes over, twice at most: noise goes away, training does not.
"""

import hashlib
import json
import os
import random
import shutil
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.corpus import language
from data.shards import read_shard

from ..formats.weights import TensorSpec, WeightBuffer
from ..sandbox.inside import Channel
from . import first_answer, probes, relabelling, shadow, turns, windows
from .examinee import MAX_LOGIT_BYTES, RING_BYTES, SLOTS, EvaluationError, Evaluator, Parcel, Shape
from .first_answer import Opening
from .judge_process import receive
from .losses import LossReader
from .probes import Losses
from .tally import Tally
from .turns import LetRun, let_all_run
from .windows import Assigner, Question, Tokens


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer, whose logits are still shared with whoever gave it."""

    asked: int  # batches that the evaluator had answered before
    slot: int
    batch: list[Question]
    logits: torch.Tensor  # [rows * tokens, vocab_size]


class Judge:
    """Scores one set of weights on one validation stream."""

    def __init__(self, order: dict[str, Any], let_run: LetRun = let_all_run) -> None:
        """order: val_path, val_tokens, vocab_size, max_tokens, max_batch_tokens, probe_pairs, pairs of sockets.

        weights, and reserved where evaluators rehearse and their first answer is timed: a descriptor and specs of
        each rank's part; with the latter free_ns and budget_s. Optional: leak_standard_errors; val_sha256;
        shadow_source and shadow_tokens; relabelling_key and language, hexadecimal; device, where losses are computed.
        Raises EvaluationError when the
        validation shard is not what it was.
        """
        self.order, self.device = order, torch.device(order.get("device", "cpu"))
        self.let_run, self.done = let_run, 0
        self.random = random.Random(secrets_seed())  # noqa: S311 - seeded by the operating system's entropy
        self.pairs = [
            [Evaluator(name, Channel(socket.socket(fileno=fd))) for name, fd in zip("AB", fds, strict=True)]
            for fds in order["pairs"]
        ]
        self.weights, self.reserved = _buffers(order["weights"]), _buffers(order.get("reserved", []))
        self.count: int = order["val_tokens"]
        shard = _read_unaltered(Path(order["val_path"]), order.get("val_sha256"))
        self.stream, self.rest = self._relabelled(np.asarray(shard[: self.count + 1])), shard[self.count + 1 :]

    def score(self) -> dict[str, Any]:
        """Evaluate every window once and every probe pair. Raises EvaluationError."""
        self.reader = LossReader(self.order["vocab_size"], self.device)
        openings = self._open()
        self._assign(openings)
        started_ns = time.monotonic_ns()
        self._ask_all()
        eval_ns = time.monotonic_ns() - started_ns
        assert self.tally.scored.count == self.count
        later = tuple(evaluator.later_ns for evaluator in self.evaluators)
        return {"eval_batch": self.shape.batch, "eval_ns": eval_ns, **self.tally.score(openings, later)}

    def _open(self) -> list[tuple[Opening, Opening]]:
        """Have weights loaded, by fresh pairs until the first answer of one is within what is free; the last stays."""
        openings: list[tuple[Opening, Opening]] = []
        for pair in self.pairs:
            self.evaluators = pair
            openings.append(self._introduce())
            if not self.reserved:
                break
            self._hear_first_answers(openings[-1])
            if any(max(opening.first_ns) <= self.order["free_ns"] for opening in openings[-1]):
                break
            if pair is not self.pairs[-1]:
                for evaluator in pair:
                    evaluator.leave()
                report({"kind": "fresh pair"})
        return openings

    def _introduce(self) -> tuple[Opening, Opening]:
        """A first load, cold and untimed, and what they ask for: of reserved values where they rehearse."""
        openings = (Opening(), Opening())
        for evaluator in self.evaluators:
            parcel = Parcel.of(self.reserved or self.weights)
            evaluator.send({"kind": "ask", "rehearsal": bool(self.reserved)}, fds=parcel.fds)
            parcel.close()
        self.shape = self._agree(openings)
        self.text = windows.cut(self.stream, self.shape.tokens)
        for evaluator in self.evaluators:
            self.slots = evaluator.open_ring(self.shape, self.device)
        return openings

    def _agree(self, openings: tuple[Opening, Opening]) -> Shape:
        """Windows and batch as the submission asks for them, within the track's limits; both must ask alike."""
        asked = []
        for evaluator, opening in zip(self.evaluators, openings, strict=True):
            message = evaluator.receive()
            wish = (message.get("eval_tokens"), message.get("eval_batch"))
            if self.reserved and message.get("kind") == "rehearsal_failed":
                opening.rehearsal_failed = str(message.get("error"))[:2000]
            elif message.get("kind") != "ready":
                wish = (None, None)
            if not all(type(n) is int and 0 < n < 2**31 for n in wish):
                raise EvaluationError(
                    "evaluator_failed", f"expected EVAL_TOKENS and EVAL_BATCH to be positive integers, found {wish}"
                )
            asked.append(wish)
        if asked[0] != asked[1]:
            raise EvaluationError("evaluator_failed", f"two evaluators ask for different windows: {asked}")
        tokens = min(asked[0][0], self.order["max_tokens"], self.count)
        window_bytes = tokens * self.order["vocab_size"] * MAX_LOGIT_BYTES
        within = min(self.order["max_batch_tokens"] // tokens, RING_BYTES // SLOTS // window_bytes)
        return Shape(max(1, min(asked[0][1], within)), tokens, self.order["vocab_size"])

    def _hear_first_answers(self, openings: tuple[Opening, Opening]) -> None:
        """One evaluator after the other, alone on all cores."""
        drawn = first_answer.draw(self.text, self.random)
        for number, (evaluator, opening, first) in enumerate(zip(self.evaluators, openings, drawn, strict=True)):
            self.let_run(number)
            if opening.rehearsal_failed is None:
                first_answer.rehearse(evaluator, self.reserved, opening, self.random, self.order["budget_s"])
            first_answer.ask(evaluator, self.weights, opening, first, self.text, self._window_losses)

    def _assign(self, openings: list[tuple[Opening, Opening]]) -> None:
        """Draw shadow text and probes, and give each evaluator its batches."""
        drawn = self._draw_shadow()
        counts = [len(self.text.targets(window)) for window in range(len(self.text))]
        pairs = probes.draw(self.order["probe_pairs"], counts, self.random)
        again = [window for pair in openings for opening in pair for window, _ in opening.said]
        self.tally = Tally(self.text, drawn, pairs, again, self.order.get("leak_standard_errors", 0.0))
        shadow_text = None if drawn is None else drawn.text
        halves = Assigner(self.text, shadow_text, pairs, self.random, again).batches(self.shape.batch)
        for evaluator, batches in zip(self.evaluators, halves, strict=True):
            evaluator.batches = batches

    def _draw_shadow(self) -> shadow.ShadowText | None:
        source, count = self.order.get("shadow_source", "rest"), self.order.get("shadow_tokens", 0)
        secret = self.order.get("language")
        spoken = language.language(None if secret is None else bytes.fromhex(secret))
        drawn = shadow.draw(source, count, self.shape.tokens, self.rest, spoken)
        return drawn and replace(drawn, text=replace(drawn.text, stream=self._relabelled(drawn.text.stream)))

    def _relabelled(self, tokens: np.ndarray) -> np.ndarray:
        key = self.order.get("relabelling_key")
        if key is None:
            return tokens
        return relabelling.draw(self.order["vocab_size"], bytes.fromhex(key)).tokens(tokens)

    def _ask_all(self) -> None:
        """Every batch, turn by turn. The last answer of a turn is read while the other evaluator works on its first."""
        counts = [len(evaluator.batches) for evaluator in self.evaluators]
        late: _Answer | None = None
        for number, count in turns.draw(counts, self.random):
            evaluator = self.evaluators[number]
            self.let_run(number)
            left = len(evaluator.batches) - count
            for slot in range(min(self.slots, count)):
                evaluator.ask_next(slot)
            if late is not None:
                self._enter(late, sum(counts))
            while evaluator.in_flight:
                late = _Answer(len(evaluator.later_ns), *evaluator.read_next())
                if evaluator.in_flight or len(evaluator.batches) > left:
                    self._enter(late, sum(counts))
                    if len(evaluator.batches) > left:
                        evaluator.ask_next(late.slot)
        if late is not None:
            self._enter(late, sum(counts))

    def _enter(self, answer: "_Answer", total: int) -> None:
        losses = self._losses(answer.logits, [question.targets for question in answer.batch])
        for question, found in zip(answer.batch, losses, strict=True):
            self.tally.enter(question, _finite(found[: len(question.targets)], question.window), answer.asked)
        self.done += 1
        report({"kind": "progress", "done": self.done, "total": total})

    def _window_losses(self, shared: torch.Tensor, targets: Tokens, window: int) -> Losses:
        return _finite(self._losses(shared, [targets])[0, : len(targets)], window)

    def _losses(self, shared: torch.Tensor, wanted: list[Tokens]) -> np.ndarray:
        """Cross-entropy in nats, fp32 [rows, tokens], of every position of every window against its real targets."""
        targets = np.zeros((len(wanted), self.shape.tokens), np.int64)
        for row, found in enumerate(wanted):
            targets[row, : len(found)] = found
        return self.reader.read(shared, targets.ravel()).reshape(targets.shape)


def _finite(losses: Losses, window: int) -> Losses:
    if not np.isfinite(losses).all():
        raise EvaluationError("logits_invalid", f"window {window}: the logits hold NaN or give infinite losses")
    return losses


def _buffers(parts: list[dict[str, Any]]) -> list[WeightBuffer]:
    """Sealed weights as the scorer handed them over."""
    return [WeightBuffer(tuple(TensorSpec(**spec) for spec in part["weights"]), part["fd"]) for part in parts]


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
    """Say that all is imported; then score and report, order by order, until there are no more."""
    control = socket.socket(fileno=int(sys.argv[2]))
    let_run = turns.asking(control, report)
    report({"kind": "ready"})
    while (order := receive(control)) is not None:
        torch.set_num_threads(order["threads"])
        try:
            told = {"kind": "score", "score": Judge(order, let_run).score()}
        except EvaluationError as error:
            told = {"kind": "failed", "status": error.status, "sentence": str(error)}
        for fd in {part["fd"] for part in (*order["weights"], *order["reserved"])}:
            os.close(fd)  # of a snapshot, whose memory would stay
        report(told)


if __name__ == "__main__":
    main()
