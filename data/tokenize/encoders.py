"""Encoders: processes that turn batches of documents into tokens, in order, few at a time.

Whatever their number, the results are the same and come in the order of the batches; only so many batches are
under way that memory stays bounded.
"""

import fcntl
import hashlib
import multiprocessing
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue

from ..errors import DataError
from . import gpt2
from .batches import Batch, MalformedError
from .gpt2 import Tokens

DIGEST_BYTES = 16

_RUN = re.compile(r"(.)\1{999,}", re.DOTALL)
_BATCHES_AHEAD = 4  # for every worker
_PIPE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A batch as tokens, uint16 [N]; the digest of each of its texts; and how many bytes of text it holds.

    `indices` are those of its texts in the batch, `skipped` is how many documents of it were left out.
    """

    tokens: Tokens
    digests: list[bytes]
    text_bytes: int
    indices: list[int]
    skipped: int


def encode_batch(batch: Batch) -> Encoded:
    """Return the tokens of one batch. Raises batches.MalformedError, and DataError as gpt2 does."""
    found = batch.texts()
    skipped = batch.count() - len(found)
    try:
        tokens = gpt2.encode_texts([*found.values()], inside=batch.start.inside)
    except ValueError as error:  # of tiktoken's regular expression
        unsplittable = _unsplittable(found, error)
        if not batch.may_skip(unsplittable[0].index):
            raise unsplittable[0] from error
        for malformed in unsplittable:
            if batch.may_skip(malformed.index):
                del found[malformed.index]
                skipped += 1
        tokens = gpt2.encode_texts([*found.values()], inside=batch.start.inside)
    texts = [*found.values()]
    raw = [text.encode() for text in texts]
    digests = [
        _digest(piece) if len(text) <= gpt2.PIECE_CHARACTERS else digest_text(text)
        for text, piece in zip(texts, raw, strict=True)
    ]
    return Encoded(
        tokens=tokens, digests=digests, text_bytes=sum(map(len, raw)), indices=[*found], skipped=skipped
    )  # fmt: skip


def _unsplittable(texts: dict[int, str], error: ValueError) -> list[MalformedError]:
    """Which of the texts the tokenizer gave up at, and what is longest in each; at least one."""
    given_up = []
    for index, text in texts.items():
        try:
            gpt2.encode_texts([text])
        except ValueError:
            run = max((match[0] for match in _RUN.finditer(text)), key=len, default="")
            found = f"{len(run):,} times {run[:1]!r} in a row" if run else f"'{error}'"
            given_up.append(MalformedError(index, "text that GPT-2's tokenizer can split", found))
    return given_up or [MalformedError(next(iter(texts)), "text that GPT-2's tokenizer can split", f"'{error}'")]


def digest_text(text: str) -> bytes:
    """Return what identifies a document: SHA-256 of its text, or of a chain over the pieces of a long one."""
    pieces = gpt2.split_pieces(text)
    digest = _digest(next(pieces).encode())
    for piece in pieces:
        digest = chain(digest, _digest(piece.encode()))
    return digest


def chain(digest: bytes, piece_digest: bytes) -> bytes:
    """Return the digest of a document that goes on with another piece."""
    return _digest(digest + piece_digest)


def encode_all(
    batches: Iterator[Batch], workers: int, place_of: Callable[[Batch, int], str]
) -> Iterator[tuple[Batch, Encoded]]:
    """Yield every batch with its tokens, in order, made by `workers` processes (1: by this one).

    Raises DataError: with the place, from `place_of`, of a malformed document, and when a worker is killed.
    """
    pool = [_Worker() for _ in range(workers)] if workers > 1 else []
    waiting: deque[tuple[Batch, Callable[[], Encoded]]] = deque()
    try:
        for number, batch in enumerate(batches):
            encode = pool[number % workers].send(batch) if pool else partial(encode_batch, batch)
            waiting.append((batch, encode))
            if len(waiting) > len(pool) * _BATCHES_AHEAD:
                yield _next(waiting, place_of)
        while waiting:
            yield _next(waiting, place_of)
    finally:
        for worker in pool:
            worker.stop()


def _next(
    waiting: deque[tuple[Batch, Callable[[], Encoded]]], place_of: Callable[[Batch, int], str]
) -> tuple[Batch, Encoded]:
    batch, encode = waiting.popleft()
    try:
        return batch, encode()
    except MalformedError as error:
        raise DataError(
            f"{place_of(batch, error.index)}: expected {error.expected}, found {error.found}; mend or drop it, or "
            "leave out all such documents with --skip-bad."
        ) from error


class _Worker:
    """A process with a pipe to it and one back.

    A thread here empties the way back at once, so that neither side can wait for the other for ever. Pipes hold
    several batches: a worker need not wait for this process to get a core.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # fork and threads do not go together
        orders, self._orders = context.Pipe(duplex=False)
        self._answers, answers = context.Pipe(duplex=False)
        for end in (self._orders, answers):
            _widen(end)
        self._process = context.Process(target=_work, args=(orders, answers), daemon=True)
        self._process.start()
        orders.close()  # so that the end of either process is the end of the pipe
        answers.close()
        self._done: SimpleQueue[Encoded | Exception] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, batch: Batch) -> Callable[[], Encoded]:
        """Give the worker a batch; returns what waits for its answer. Answers come in the order of the batches."""
        try:
            self._orders.send(batch)
        except OSError:  # it has ended; the answer will say so
            self._done.put(EOFError())
        return self._take

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._orders.close()
        self._process.kill()
        self._process.join()
        self._reader.join()
        self._answers.close()

    def _take(self) -> Encoded:
        answer = self._done.get()
        if isinstance(answer, EOFError):
            raise DataError(
                "expected every worker to live, found that one was killed, perhaps for its memory; run the command "
                "again with fewer --workers, it goes on after the last whole shard."
            ) from answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _read(self) -> None:
        try:
            while True:
                self._done.put(self._answers.recv())
        except (EOFError, OSError):
            self._done.put(EOFError())


def _work(orders: Connection, answers: Connection) -> None:
    """In the worker: until the pipe ends, which it also does when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    with suppress(EOFError, BrokenPipeError):
        while True:
            try:
                answer: Encoded | Exception = encode_batch(orders.recv())
            except (MalformedError, DataError) as error:
                answer = error
            answers.send(answer)


def _widen(end: Connection) -> None:
    """Ask for a pipe of a megabyte; without it everything works, and a worker waits now and then."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:DIGEST_BYTES]
