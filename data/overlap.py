"""Overlap: training data that holds the validation data, as a whole shard or one document of it."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import DataError
from .files import replace_file
from .shards import read_shard

LEAST_TOKENS = 256  # of a shard that another can hold: fewer are equal by chance

_COMPARED_NAME = ".compared"

Tokens = npt.NDArray[np.uint16]


def refuse_repeats(val: Tokens, train: list[Tokens], document_token: int | None, name: str) -> None:
    """Raise DataError where training data holds the validation data, as a whole or one of its documents."""
    count, found = find_repeats(val, train, document_token)
    if count:
        raise DataError(
            f"{name}: expected training data without the validation data, found {found}; leave them out, or import it "
            "with --duplicates keep."
        )


def find_repeats(val: Tokens, train: list[Tokens], document_token: int | None) -> tuple[int, str]:
    """How much of validation is in training too, and in words.

    Without a `document_token` the text is one document, and its first and last tokens are looked for.
    """
    if val.size >= LEAST_TOKENS and any(part.size == val.size and bool((part == val).all()) for part in train):
        return 1, "a training shard that is the validation shard"
    if document_token is None:
        ends = (val[:LEAST_TOKENS].tobytes(), val[-LEAST_TOKENS:].tobytes())
        is_in = val.size >= LEAST_TOKENS and all(any(_holds(part, end) for part in train) for end in ends)
        return int(is_in), "training data that holds the validation data"
    known = {digest for digest, size in _documents([val], document_token) if size}
    hits = sum(digest in known for digest, size in _documents(train, document_token) if size)
    return hits, f"{hits:,} training documents that are in validation too"


def _holds(part: Tokens, wanted: bytes) -> bool:
    step, overlap = 2**24, len(wanted) // 2
    for start in range(0, part.size, step):
        block = part[start : start + step + overlap].tobytes()
        at = block.find(wanted)
        while at != -1:
            if at % 2 == 0:
                return True
            at = block.find(wanted, at + 1)
    return False


def _documents(parts: Iterable[Tokens], document_token: int) -> Iterator[tuple[bytes, int]]:
    """(digest, tokens) of every whole document; one goes on where the next part does not begin with its token.

    What stands before the first token of a document, or behind the last one of the whole, may be cut: it is asked for
    as it is.
    """
    open_sha, open_size = hashlib.sha256(), 0
    for part in parts:
        starts = np.flatnonzero(part == document_token).tolist()
        for begin, end in pairwise([0, *starts, part.size]):
            at = begin
            if at < part.size and part[at] == document_token and (at > 0 or starts[:1] == [0]) and end > at:
                yield open_sha.digest(), open_size
                open_sha, open_size = hashlib.sha256(), 0
                at += 1
            open_sha.update(part[at:end].astype("<u2", copy=False).tobytes())
            open_size += max(0, end - at)
    yield open_sha.digest(), open_size


def refuse_repeats_between(
    paths: list[Path], sha256: dict[str, str], document_token: int | None, name: str, *, afresh: bool
) -> None:
    """The same for shards that lie in one folder, the first of them validation; `sha256` are their digests by name.

    Documents are compared once for the same bytes: what came out well is remembered beside the shards, in a file that
    is no evidence and that `afresh` looks past.
    """
    memory = paths[0].with_name(_COMPARED_NAME)
    compared = hashlib.sha256(repr((document_token, [(path.name, sha256[path.name]) for path in paths])).encode())
    with suppress(OSError):
        if not afresh and memory.read_text(encoding="ascii", errors="replace").strip() == compared.hexdigest():
            return
    refuse_repeats(read_shard(paths[0]), [read_shard(path) for path in paths[1:]], document_token, name)
    with suppress(OSError):  # the folder may be shared and read-only: then every call compares
        replace_file(memory, [f"{compared.hexdigest()}\n".encode()])
