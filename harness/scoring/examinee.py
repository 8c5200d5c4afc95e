"""An evaluator as the judge sees it: a socket that brings bytes, and memory of a sealed length that holds logits.

Nothing it says is believed beyond its form. Times are the judge's: from before a question is sent until the message
that its answer is complete has been read.
"""

import fcntl
import json
import mmap
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from ..formats import weights
from ..formats.weights import WeightBuffer
from ..sandbox.inside import Channel, page_lock
from ..system import clock
from .windows import Question

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


class RehearsalError(Exception):
    """The submission raised on the values of reserve(); with its own words."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Weights on their way to one evaluator: two descriptors in sealed memory of its own."""

    fds: tuple[int, int]  # the tensors; their specs as JSON

    @classmethod
    def of(cls, buffers: Sequence[WeightBuffer]) -> "Parcel":
        packed, specs = weights.pack(buffers)
        listed = os.memfd_create("specs", os.MFD_CLOEXEC)
        with open(listed, "wb", closefd=False) as file:
            file.write(json.dumps([asdict(spec) for spec in specs]).encode())
        os.lseek(listed, 0, os.SEEK_SET)
        return cls((packed, listed))

    def rewind(self) -> None:
        """The list is read from its start again."""
        os.lseek(self.fds[1], 0, os.SEEK_SET)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of what is asked and answered: rows of one window each, logits over one vocabulary."""

    batch: int
    tokens: int
    vocab_size: int

    def logits_bytes(self, itemsize: int) -> int:
        """Bytes of one batch of logits."""
        return self.batch * self.tokens * self.vocab_size * itemsize


@dataclass(slots=True)
class Evaluator:
    """One evaluator process."""

    name: str
    channel: Channel
    shape: Shape = Shape(0, 0, 0)
    batches: list[list[Question]] = field(default_factory=list)  # still to be sent
    in_flight: dict[int, list[Question]] = field(default_factory=dict)  # slot -> batch
    memory: mmap.mmap | None = None
    later_ns: list[int] = field(default_factory=list)  # what each batch took
    _sent_ns: dict[int, int] = field(default_factory=dict)  # slot -> when
    _idle_ns: int = 0  # when it gave its last answer

    def send(self, message: dict[str, Any], payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Raises EvaluationError when nobody is there."""
        try:
            self.channel.send(message, payload, fds)
        except OSError as error:
            raise self._gone(error) from error

    def receive(self) -> dict[str, Any]:
        """The next message. Raises EvaluationError, or RehearsalError where it says so."""
        try:
            message, _, fds = self.channel.receive()
        except (EOFError, OSError, ValueError) as error:
            raise self._gone(error) from error
        for fd in fds:
            os.close(fd)
        if message.get("kind") == "failed":
            status = "logits_invalid" if message.get("reason") == "logits_invalid" else "evaluator_failed"
            raise EvaluationError(status, str(message.get("error"))[:2000])
        return message

    def _gone(self, error: Exception) -> EvaluationError:
        return EvaluationError("evaluator_failed", f"evaluator {self.name} is gone: {error}")

    def open_ring(self, shape: Shape, device: torch.device) -> int:
        """Share memory with it. Returns how many batches there is room for."""
        self.shape, slot_bytes = shape, shape.logits_bytes(MAX_LOGIT_BYTES)
        slots = SLOTS if SLOTS * slot_bytes <= RING_BYTES else 1
        fd = os.memfd_create("logits", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, slots * slot_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEAL_LENGTH)  # a file cut short would end its reader (SIGBUS)
        self.memory = mmap.mmap(fd, slots * slot_bytes)
        page_lock(torch.frombuffer(self.memory, dtype=torch.uint8), device)
        ring = {"kind": "ring", "slots": slots, "slot_bytes": slot_bytes, "tokens": shape.tokens}
        try:
            self.send(ring, fds=(fd,))
        finally:
            os.close(fd)
        return slots

    def drop(self) -> None:
        """Have it let go of the function it holds, and wait until that is done."""
        self.send({"kind": "drop"})
        if self.receive().get("kind") != "dropped":
            raise self._unasked()

    def deliver(
        self, parcel: Parcel | None, inputs: np.ndarray, *, rehearsal: bool = False
    ) -> tuple[int, torch.Tensor]:
        """One question by itself, with weights or without: nanoseconds to the complete answer, and its logits.

        inputs: uint16 [rows, tokens]. Raises EvaluationError, and RehearsalError where it is one.
        """
        message, payload = {"kind": "ask", "rehearsal": rehearsal, "slot": 0}, inputs.astype("<u2").tobytes()
        if parcel is not None:
            parcel.rewind()
        started_ns = clock.now_ns()
        self.send(message, payload, () if parcel is None else parcel.fds)
        answer = self.receive()
        took_ns = clock.now_ns() - started_ns
        if rehearsal and answer.get("kind") == "rehearsal_failed":
            raise RehearsalError(str(answer.get("error"))[:2000])
        slot, dtype = self._place(answer)
        if slot != 0:
            raise self._unasked()
        return took_ns, self._logits(slot, dtype, len(inputs))

    def ask_next(self, slot: int) -> None:
        """Send the next batch, if one is left."""
        if self.batches:
            batch = self.in_flight[slot] = self.batches.pop()
            payload = np.stack([question.inputs for question in batch]).astype("<u2").tobytes()
            self._sent_ns[slot] = clock.now_ns()
            self.send({"kind": "ask", "rehearsal": False, "slot": slot}, payload)

    def read_next(self) -> tuple[int, list[Question], torch.Tensor]:
        """Wait for an answer: its slot, what was asked, its logits [rows * tokens, vocab_size], still shared.

        It took the time since it was sent, or since the answer before it: two are in flight, and an evaluator works
        on one. Raises EvaluationError.
        """
        select.select([self.channel.sock], [], [])
        noticed_ns = clock.now_ns()
        slot, dtype = self._place(self.receive())
        if slot not in self.in_flight:
            raise self._unasked()
        self.later_ns.append(max(0, noticed_ns - max(self._sent_ns[slot], self._idle_ns)))
        self._idle_ns = noticed_ns
        batch = self.in_flight.pop(slot)
        return slot, batch, self._logits(slot, dtype, len(batch))

    def _place(self, answer: dict[str, Any]) -> tuple[int, torch.dtype]:
        slot, dtype = answer.get("slot"), DTYPES.get(str(answer.get("dtype")))
        if type(slot) is not int or dtype is None:
            raise self._unasked()
        return slot, dtype

    def _unasked(self) -> EvaluationError:
        return EvaluationError("logits_invalid", f"evaluator {self.name} answered what was not asked")

    def _logits(self, slot: int, dtype: torch.dtype, rows: int) -> torch.Tensor:
        offset, count = slot * self.shape.logits_bytes(MAX_LOGIT_BYTES), rows * self.shape.tokens
        assert self.memory is not None
        size = count * self.shape.vocab_size * dtype.itemsize
        shared = torch.frombuffer(self.memory, dtype=torch.uint8, offset=offset, count=size)
        return shared.view(dtype).reshape(-1, self.shape.vocab_size)

    def leave(self) -> None:
        """Hang up, and give its memory back."""
        self.channel.sock.shutdown(socket.SHUT_RDWR)
        self.channel.sock.close()
        self.memory = None
