"""Exams without a sandbox: a judge whose evaluators are functions in threads of this process."""

import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data.shards import write_shard
from harness.formats.messages import TensorShape
from harness.formats.weights import WeightBuffer, plan
from harness.sandbox.inside import Channel, describe, tensor_bytes
from harness.scoring.judge import Judge

Logits = Callable[[torch.Tensor], torch.Tensor]
Evaluate = Callable[[Channel], None]


def answer(
    channel: Channel, wish: dict[str, Any], logits_of: Logits, load: Callable[[bytes], object] = lambda _: None
) -> None:
    """An honest evaluator as a thread. load: is given the bytes of the weights, whenever some come."""
    with suppress(EOFError, ConnectionError):
        while True:
            message, payload, fds = channel.receive()
            if message["kind"] == "drop":
                channel.send({"kind": "dropped"})
            elif message["kind"] == "ring":
                ring, memory = message, mmap.mmap(fds[0], message["slots"] * message["slot_bytes"])
            elif fds:
                load(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
            for fd in fds:
                os.close(fd)
            if message["kind"] == "ask" and not payload:
                channel.send({"kind": "ready"} | wish)
            elif message["kind"] == "ask":
                tokens = torch.frombuffer(bytearray(payload), dtype=torch.uint16).long()
                logits = logits_of(tokens.reshape(-1, ring["tokens"])).contiguous()
                start, content = message["slot"] * ring["slot_bytes"], logits.view(torch.uint8).numpy().tobytes()
                memory[start : start + len(content)] = content
                channel.send({"kind": "logits", "slot": message["slot"], "dtype": str(logits.dtype)[6:]})


def a_buffer(**tensors: torch.Tensor) -> WeightBuffer:
    """Sealed weights."""
    buffer = plan(0, [TensorShape.model_validate(spec) for spec in describe(tensors)])
    buffer.allocate()
    for spec, tensor in zip(buffer.specs, tensors.values(), strict=True):
        os.pwrite(buffer.fd, tensor_bytes(tensor), spec.offset)
    assert buffer.seal()
    return buffer


def listed(buffer: WeightBuffer) -> list[dict[str, Any]]:
    """As the scorer tells the judge of them."""
    specs = [{"name": s.name, "dtype": s.dtype, "shape": s.shape, "offset": s.offset, "bytes": s.bytes}
             for s in buffer.specs]  # fmt: skip
    return [{"fd": buffer.fd, "weights": specs}]


@contextmanager
def an_exam(
    folder: Path, stream: npt.ArrayLike, evaluators: Sequence[Evaluate], seed: int = 0, **order: Any
) -> Iterator[Judge]:
    """A judge and its evaluators, two of a pair next to each other. It draws by `seed`, so that what it finds is no
    matter of luck."""
    write_shard(folder / "val.bin", np.asarray(stream))
    pairs = [socket.socketpair() for _ in evaluators]

    def work(evaluator: Evaluate, sock: socket.socket) -> None:
        with sock:
            evaluator(Channel(sock))

    threads = [
        threading.Thread(target=work, args=(e, theirs)) for e, (_, theirs) in zip(evaluators, pairs, strict=True)
    ]
    ours = [sock.detach() for sock, _ in pairs]
    limits = {"max_tokens": 64, "max_batch_tokens": 256, "probe_pairs": 4, "weights": []} | order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.scoring.judge.secrets_seed", lambda: seed)
        judge = Judge(
            {"val_path": str(folder / "val.bin"), "pairs": list(zip(ours[::2], ours[1::2], strict=True))} | limits
        )
    for thread in threads:
        thread.start()
    try:
        yield judge
    finally:
        for evaluator in (evaluator for pair in judge.pairs for evaluator in pair):
            with suppress(OSError):  # it has left
                evaluator.leave()
        for thread in threads:
            thread.join()
