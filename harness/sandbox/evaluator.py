"""The evaluator's side of an exam, in the sandbox: loads weights when the judge says so, and answers its windows.

    python -c BOOT FOLDER FD        (see argv)

Beside inside.py the only file of ours that runs beside a submission, and trusted as little: what it measures and
promises decides nothing. One process may load several times: first what the ranks had at reserve(), as a rehearsal,
then the sealed weights.
"""

import gc
import json
import mmap
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from .inside import Channel, Message, die_with_parent, import_submission, page_lock, start_torch, tell

if TYPE_CHECKING:
    import torch

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from speedrun.evaluator import main; main()"


class LogitsError(ValueError):
    """What the submission returned is not logits of the agreed shape and dtype."""


def argv(folder: str, config_fd: int, python: str = sys.executable) -> list[str]:
    """How an evaluator is started. folder: holds ours as the package `speedrun`; python: the sandbox's interpreter."""
    return [python, "-I", "-c", BOOT, folder, str(config_fd), "evaluate"]


def main() -> None:
    """Serve the judge until it hangs up."""
    die_with_parent()
    with os.fdopen(int(sys.argv[2]), "rb") as file:
        config = json.load(file)
    channel = Channel(socket.socket(fileno=config["socket"]))
    try:
        Answerer(channel, config).serve()
    except EOFError:
        return
    except BaseException as error:  # noqa: BLE001 - whatever ends it is told
        traceback.print_exc()
        reason = "logits_invalid" if isinstance(error, LogitsError) else "evaluator_failed"
        channel.fail(reason, tell(error))


class Answerer:
    """One submission in one process."""

    def __init__(self, channel: Channel, config: Message) -> None:
        self.channel, self.config = channel, config
        self.device = start_torch(config)
        import torch

        torch.set_num_threads(config["threads"])
        self.module = import_submission(config["entry"])
        self.logits_fn: Callable[[torch.Tensor], torch.Tensor] | None = None
        gc.collect()
        gc.freeze()  # no collection has to walk through torch's own objects again

    def serve(self) -> None:
        """Do what the judge says, in its order. Raises EOFError when it hangs up."""
        while True:
            message, payload, fds = self.channel.receive()
            if message["kind"] == "ring":
                self._map_ring(message, fds[0])
            elif message["kind"] == "drop":
                self._drop()
                self.channel.send({"kind": "dropped"})
            elif message["rehearsal"]:
                self._rehearse(message, payload, fds)
            else:
                self.channel.send(self._do(message, payload, fds))

    def _drop(self) -> None:
        """Let go of the function before the next one is made, or two models live at once."""
        self.logits_fn = None
        gc.collect()

    def _rehearse(self, message: Message, payload: bytes, fds: list[int]) -> None:
        """On values that are only valid when honest: what goes wrong there is no failure of the run."""
        try:
            answer = self._do(message, payload, fds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the exam goes on without rehearsals
            traceback.print_exc()
            answer = {"kind": "rehearsal_failed", "error": tell(error), **self._wishes()}
        self.channel.send(answer)

    def _do(self, message: Message, payload: bytes, fds: list[int]) -> Message:
        """Load, where weights came along; answer, where windows did."""
        if fds:
            self._load(*fds)
        return self._answer(message, payload) if payload else {"kind": "ready", **self._wishes()}

    def _wishes(self) -> Message:
        return {"eval_tokens": self.module.EVAL_TOKENS, "eval_batch": self.module.EVAL_BATCH}

    def _load(self, weights_fd: int, specs_fd: int) -> None:
        with os.fdopen(specs_fd, "rb") as file:
            specs = json.load(file)
        weights = read_weights(weights_fd, specs)
        os.close(weights_fd)
        self.logits_fn = self.module.load(weights, self.device)

    def _map_ring(self, ring: Message, fd: int) -> None:
        import torch

        self.ring = ring
        self.memory = torch.frombuffer(mmap.mmap(fd, ring["slots"] * ring["slot_bytes"]), dtype=torch.uint8)
        os.close(fd)
        page_lock(self.memory, self.device)

    def _answer(self, message: Message, payload: bytes) -> Message:
        """Logits of [rows, tokens] windows into their slot."""
        import torch

        assert self.logits_fn is not None
        tokens = torch.frombuffer(bytearray(payload), dtype=torch.uint16).reshape(-1, self.ring["tokens"])
        shape = (len(tokens), self.ring["tokens"], self.config["vocab_size"])
        with torch.inference_mode():
            logits = self.logits_fn(tokens.to(self.device, torch.int64))
            check_logits(logits, shape)
            start, size = message["slot"] * self.ring["slot_bytes"], logits.numel() * logits.element_size()
            self.memory[start : start + size].view(logits.dtype).reshape(shape).copy_(logits)
        return {"kind": "logits", "slot": message["slot"], "dtype": str(logits.dtype)[6:]}


def read_weights(fd: int, specs: list[Message]) -> "dict[str, torch.Tensor]":
    """Sealed weights as tensors over private copy-on-write pages: writing to them changes nothing elsewhere.

    Views of the mapping, no copies: making copies would fault every page in a second time.
    """
    import torch

    size, weights = os.fstat(fd).st_size, {}
    memory = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) if size else None
    for spec in specs:
        dtype, shape = getattr(torch, spec["dtype"]), spec["shape"]
        if memory is not None and spec["bytes"]:
            flat = torch.frombuffer(memory, dtype=torch.uint8, offset=spec["offset"], count=spec["bytes"])
            weights[spec["name"]] = flat.view(dtype).reshape(shape)
        else:
            weights[spec["name"]] = torch.empty(shape, dtype=dtype)
    return weights


def check_logits(logits: "torch.Tensor", shape: tuple[int, int, int]) -> None:
    """Raise LogitsError unless these are floating-point logits [batch, tokens, vocab_size]."""
    import torch

    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != shape:
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise LogitsError(f"expected logits of shape {list(shape)} (batch, tokens, vocab_size), found {found}")
    if logits.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise LogitsError(f"expected logits in float32, bfloat16 or float16, found {logits.dtype}")
