"""Encoders: processes that turn batches of documents into tokens, in order, few at a time.

Whatever their number, the results are the same and come in the order of the batches; only so many batches are
under way that memory stays bounded.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from . import gpt2
from .batches import Batch
from .errors import DataError
from .gpt2 import Tokens

DIGEST_BYTES = 16

_BATCHES_PER_WORKER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A batch as tokens, uint16 [N]; the digest of each of its texts; and how many bytes of text it holds."""

    tokens: Tokens
    digests: list[bytes]
    text_bytes: int


def encode_batch(batch: Batch) -> Encoded:
    """Return the tokens of one batch. Raises batches.MalformedError, and DataError as gpt2 does."""
    texts = batch.texts()
    tokens = gpt2.encode_texts(texts, inside=batch.start.inside)
    raw = [text.encode() for text in texts]
    digests = [
        _digest(piece) if len(text) <= gpt2.PIECE_CHARACTERS else digest_text(text)
        for text, piece in zip(texts, raw, strict=True)
    ]
    return Encoded(tokens=tokens, digests=digests, text_bytes=sum(map(len, raw)))


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


def encode_all(batches: Iterator[Batch], workers: int) -> Iterator[tuple[Batch, Encoded]]:
    """Yield every batch with its tokens, in order, made by `workers` processes (1: by this one).

    Raises what encode_batch raises, and DataError when a worker is killed.
    """
    if workers == 1:
        yield from ((batch, encode_batch(batch)) for batch in batches)
        return
    gpt2.load_encoding()  # a missing vocabulary is found here, not in every worker
    context = multiprocessing.get_context("spawn")  # fork and threads do not go together
    waiting: deque[tuple[Batch, Future[Encoded]]] = deque()
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker) as pool:
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(encode_batch, batch)))
                if len(waiting) >= workers * _BATCHES_PER_WORKER:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        except BrokenProcessPool as error:
            raise DataError(
                "expected every worker to live, found that one was killed, perhaps for its memory; run the command "
                "again with fewer --workers, it goes on after the last whole shard."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _next(waiting: deque[tuple[Batch, Future[Encoded]]]) -> tuple[Batch, Encoded]:
    batch, future = waiting.popleft()
    return batch, future.result()


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:DIGEST_BYTES]


def _begin_worker() -> None:
    """Ctrl-C is the parent's business; a killed parent takes its workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
