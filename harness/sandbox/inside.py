"""Ours that runs beside a submission, in the sandbox: standard library and torch.

    torchrun inside.py        a rank: connects to the referee, calls the submission's `train(run)`

evaluator.py, its only companion there, calls `load(weights, device)` and answers the judge. Nothing here is trusted
by the referee or the judge: the submission shares this interpreter and may rewrite every line. What is decided here
(a name that does not match, a shape) only ever ends a run early; clock, data, seals and losses belong to processes the
submission cannot reach.
"""

import contextlib
import ctypes
import functools
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch

Message = dict[str, Any]
HEADER = struct.Struct(">II")  # bytes of JSON, bytes of payload
MAX_MESSAGE_BYTES = 4 * 2**20
MAX_PAYLOAD_BYTES = 64 * 2**20
MAX_NODES = 10_000  # of a graph that are looked at, a few microseconds each
KEPT = ("_raw_saved_indices", "_raw_saved_target", "_raw_saved_index", "_raw_saved_tensors")  # of torch's nodes
LOG_INTERVAL_S = 0.1  # at most so often does a rank report progress: the display needs no more
PR_SET_PDEATHSIG = 1


class Channel:
    """Messages over a Unix stream socket: JSON, an optional payload of bytes, optional file descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, message: Message, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        with self._lock:
            frame = encode(message, payload)
            sent = socket.send_fds(self.sock, [frame], fds) if fds else 0
            self.sock.sendall(frame[sent:])

    def send_if_idle(self, message: Message) -> None:
        """Send without ever waiting: a reader that is behind loses this message."""
        with self._lock:
            frame = encode(message)
            with contextlib.suppress(BlockingIOError):
                sent = self.sock.send(frame, socket.MSG_DONTWAIT)
                self.sock.sendall(frame[sent:])

    def fail(self, reason: str, error: str) -> NoReturn:
        """Say why, and wait to be killed: what this process has started lives on until its limits have been looked at.

        Were it to end by itself, its children might end with it, and nobody could tell that there were too many.
        """
        self.send({"kind": "failed", "reason": reason, "error": error})
        self.wait_for_the_end()

    def wait_for_the_end(self) -> NoReturn:
        """Raises EOFError when the other end is gone, if this process then still lives."""
        while True:
            self.receive()

    def receive(self, most_fds: int = 4) -> tuple[Message, bytes, list[int]]:
        """The next message, its payload and descriptors. Raises EOFError at the end, ValueError on nonsense."""
        head, fds, _, _ = socket.recv_fds(self.sock, HEADER.size, most_fds)
        size, payload_size = HEADER.unpack(head + self._read(HEADER.size - len(head)))
        if size > MAX_MESSAGE_BYTES or payload_size > MAX_PAYLOAD_BYTES:
            raise ValueError(f"message of {size} + {payload_size} bytes is larger than the protocol allows")
        try:
            message = json.loads(self._read(size))
        except RecursionError as error:
            raise ValueError("message is nested too deeply") from error
        if not isinstance(message, dict):
            raise ValueError("message is not a JSON object")
        return message, self._read(payload_size), fds

    def _read(self, count: int) -> bytes:
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            got = self.sock.recv_into(view)
            if got == 0:
                raise EOFError("the other end closed the connection")
            view = view[got:]
        return bytes(buffer)


def encode(message: Message, payload: bytes = b"") -> bytes:
    """A message as bytes: two big-endian lengths, the JSON, the payload."""
    body = json.dumps(message).encode()
    return HEADER.pack(len(body), len(payload)) + body + payload


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, however that happens (Linux)."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died between the two calls
        os._exit(1)


def die_with_peer(sock: socket.socket) -> None:
    """End this process when the other end of the socket is gone; costs nothing while it lives."""

    def wait() -> None:
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # only POLLHUP and POLLERR
        poll.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def import_submission(entry: str) -> ModuleType:
    """Import the submission as the module its file name says, with its folder importable and left as it is."""
    path, sys.dont_write_bytecode = Path(entry), True
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def tensor_bytes(tensor: "torch.Tensor") -> memoryview:
    """The bytes of a contiguous CPU tensor, without a copy."""
    import torch

    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def describe(weights: "dict[str, torch.Tensor]") -> list[Message]:
    """Names, dtypes and shapes, in the order in which the bytes will lie."""
    return [
        {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
        for name, tensor in weights.items()
    ]


class Passes:
    """Counts the backward passes of this interpreter, from before the submission is imported, and the tokens in them.

    Two functions of torch are wrapped, a fraction of a microsecond on each pass. Tokens are the most whole numbers that
    a node of the graph keeps for its gradient: indices of an embedding, targets of a loss. They are looked for in every
    pass before GO and in the first after it, as which the later ones count. Steps of optimizers are not counted, since
    each needs a pass, and a hook on them would be compiled anew by torch.compile. Whoever wants to gets round this, but
    only by what stands in its source.
    """

    def __init__(self) -> None:
        self.count, self.tokens = 0, 0
        self._gone = False

    def watch(self) -> None:
        import torch

        for name in ("backward", "grad"):
            setattr(torch.autograd, name, self._counted(getattr(torch.autograd, name)))

    def at_go(self) -> Message:
        """What was done before GO; counts begin anew."""
        told = {"passes": self.count, "tokens": self.tokens}
        self.count, self.tokens, self._gone = 0, 0, True
        return told

    def at_stop(self) -> Message:
        """What was done since GO."""
        return {"passes": self.count, "tokens": self.count * self.tokens}

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if not self._gone or self.count == 1:
                with contextlib.suppress(Exception):  # a graph that cannot be walked is the submission's affair
                    self.tokens += tokens_in(arguments[0] if arguments else named.get("tensors", named.get("outputs")))
            return function(*arguments, **named)

        del counted.__wrapped__
        return counted


def tokens_in(roots: Any) -> int:
    """The most whole numbers that a node of the graph behind these tensors keeps. Unpacks nothing that is packed."""
    most = 0
    seen: set[Any] = set()
    waiting = [root.grad_fn for root in (roots if isinstance(roots, list | tuple) else [roots])]
    while waiting and len(seen) < MAX_NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
        for name in KEPT:
            kept = getattr(node, name, ())
            for saved in kept if isinstance(kept, tuple) else (kept,):
                if saved is not None and saved.unpack_hook is None and not saved.data.is_floating_point():
                    most = max(most, saved.data.numel())
    return most


class Run:
    """What a submission's `train(run)` is given on every rank.

    seed, rank, local_rank, world_size: int; device: torch.device; vocab_size, document_token: of the dataset;
    track: name, target_val_loss and the other public numbers; budget_s: seconds from GO to STOP at most;
    warmup_shards: paths of synthetic shards of the real format; practice: whether snapshots are wanted.
    """

    def __init__(self, channel: Channel, config: Message, device: "torch.device", passes: Passes) -> None:
        self._channel, self._passes = channel, passes
        self._reserved: list[Message] | None = None
        self._memory: int = -1
        self._staging: torch.Tensor | None = None
        self._last_log_s = 0.0
        self._stop_once = threading.Lock()
        self.rank, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local_rank, self.device = int(os.environ["LOCAL_RANK"]), device
        self.seed: int = config["seed"]
        self.vocab_size: int = config["vocab_size"]
        self.document_token: int | None = config["document_token"]
        self.track = SimpleNamespace(**config["track"])
        self.budget_s: float = config["budget_s"]
        self.warmup_shards: tuple[str, ...] = tuple(config["warmup_shards"])
        self.practice: bool = config["practice"]

    def log(
        self,
        *,
        step: int,
        steps: int | None = None,
        train_loss: float | None = None,
        tokens: int | None = None,
    ) -> None:
        """Report progress (rank 0 is shown). steps: of the whole run; tokens: seen so far by all ranks."""
        now = time.monotonic()
        if now - self._last_log_s < LOG_INTERVAL_S and step != steps:
            return
        self._last_log_s = now
        numbers = {"steps": steps, "tokens": tokens}
        counts = {name: None if number is None else int(number) for name, number in numbers.items()}
        loss = None if train_loss is None else float(train_loss)
        self._channel.send_if_idle({"kind": "log", "step": int(step), "train_loss": loss, **counts})

    def reserve(self, weights: "dict[str, torch.Tensor]") -> None:
        """PREPARE: fix names, shapes and dtypes of what this rank will hand over; {} is fine.

        Their values now are what evaluators rehearse on: any that `load` could meet, such as those before training.
        """
        import torch

        self._reserved = describe(weights)
        self._channel.send({"kind": "reserve", "weights": self._reserved})
        _, _, (self._memory,) = self._channel.receive()
        if self.device.type == "cuda" and weights:
            size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
            self._staging = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        if not any(tensor.is_meta for tensor in weights.values()):
            self._hand_over(weights, self._memory)

    def go(self) -> list[str]:
        """Wait for every rank, then for the gun: the clock runs. Returns paths of the training shards."""
        self._channel.send({"kind": "go"} | self._passes.at_go())
        shards: list[str] = self._channel.receive()[0]["shards"]
        return shards

    def stop(self, weights: "dict[str, torch.Tensor]") -> None:
        """Hand over the weights. The clock stops when the referee has sealed them; this call does not return."""
        if not self._stop_once.acquire(blocking=False):  # from another thread, since this does not return
            self._channel.fail("stop_called_twice", "called stop() twice; expected it once")
        self._hand_over(weights, self._memory)
        self._channel.send({"kind": "stop"} | self._passes.at_stop())
        self._channel.wait_for_the_end()

    def snapshot(self, weights: "dict[str, torch.Tensor]", *, step: int) -> None:
        """Practice runs only: hand over a copy to be scored after the run, as a point of a validation curve."""
        if not self.practice:
            return
        self._channel.send({"kind": "snapshot", "step": int(step)})
        _, _, (memory,) = self._channel.receive()
        self._hand_over(weights, memory)
        os.close(memory)
        self._channel.send({"kind": "snapshot_done", "step": int(step)})

    def _hand_over(self, weights: "dict[str, torch.Tensor]", memory: int) -> None:
        found = describe(weights)
        if self._reserved is not None and found != self._reserved:
            self._channel.fail("weights_mismatch", self._difference(found))
        offset = 0
        for view in self._views(weights):
            while view:
                written = os.pwrite(memory, view, offset)
                view, offset = view[written:], offset + written

    def _views(self, weights: "dict[str, torch.Tensor]") -> list[memoryview]:
        """The bytes to write: on CUDA by one copy into pinned memory, on CPU in place."""
        if self._staging is None:
            return [tensor_bytes(t.detach().cpu().contiguous()) for t in weights.values() if t.numel()]
        import torch

        offset = 0
        for tensor in weights.values():
            size = tensor.numel() * tensor.element_size()
            source = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            self._staging[offset : offset + size].copy_(source, non_blocking=True)
            offset += size
        torch.cuda.synchronize()
        return [memoryview(self._staging.numpy())]

    def _difference(self, found: list[Message]) -> str:
        reserved = {w["name"]: w for w in self._reserved or []}
        for weight in found:
            if reserved.pop(weight["name"], None) != weight:
                return f"hands over {weight}, which it had not reserved so"
        return f"reserved {sorted(reserved)} but does not hand it over, or in another order"


def run_rank() -> None:
    """One rank, from the first hello to its death at STOP."""
    die_with_parent()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(os.environ["SPEEDRUN_SOCKET"])
    directory = os.open(folder, os.O_PATH)
    sock.connect(f"/proc/self/fd/{directory}/{name}")  # the address of a socket holds 107 bytes, a path more
    os.close(directory)
    channel = Channel(sock)
    channel.send({"kind": "hello", "rank": int(os.environ["RANK"])})
    config, _, _ = channel.receive()
    die_with_peer(sock)
    reason = "prepare_failed"
    try:
        device, passes = start_torch(config), Passes()
        passes.watch()
        run = Run(channel, config, device, passes)
        module = import_submission(config["entry"])
        for name in ("train", "load"):
            if not callable(getattr(module, name, None)):
                reason = f"no_{name}"
                raise AttributeError(f"{Path(config['entry']).name} defines no function {name}")
        reason = "prepare_failed"
        for name in ("EVAL_TOKENS", "EVAL_BATCH"):
            if not isinstance(getattr(module, name, None), int):
                raise AttributeError(f"{Path(config['entry']).name} defines no whole number {name}")
        reason = "exception"
        module.train(run)
    except BaseException as error:  # noqa: BLE001 - whatever ends it is told
        traceback.print_exc()
        channel.fail(reason, tell(error))
    channel.send({"kind": "returned"})


def tell(error: BaseException) -> str:
    """An exception as one bounded string that UTF-8 can hold (file names may carry lone surrogates)."""
    text = f"{type(error).__name__}: {error}"[:2000]
    return text.encode("utf-8", "replace").decode()


def start_torch(config: Message) -> "torch.device":
    """Import and seed torch and pick this rank's device, before a line of the submission runs."""
    gc.disable()  # a million objects are made, and no garbage: looking for it is an eighth of the import
    import torch

    gc.enable()
    device = torch.device("cpu")
    if config["device"] == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    torch.manual_seed(config["seed"])
    return device


def page_lock(memory: "torch.Tensor", device: "torch.device") -> None:
    """Let a CUDA device copy to and from shared memory at full speed. Where that is refused, it copies all the same."""
    import torch

    if device.type == "cuda" and int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)):
        with contextlib.suppress(RuntimeError):  # the refusal would be raised by the next kernel
            torch.zeros(1, device=device)


if __name__ == "__main__":
    run_rank()
