"""Documents: text, JSONL and Parquet files as a stream of batches, from any batch on, in bounded memory.

Text files are one document each, or cut after every separator; JSONL and Parquet hold one document per line or
row, in the field `text`, as FineWeb does.
"""

from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from . import gpt2, parquet
from .batches import Batch, Position

BATCH_BYTES = 2**19
MAX_LINE_BYTES = 2**26

_JSONL_SUFFIXES = {".jsonl", ".ndjson"}
_PARQUET_SUFFIXES = {".parquet"}


def read_batches(inputs: list[Path], start: Position, separator: str | None) -> Iterator[Batch]:
    """Yield the batches of `inputs` from the batch that begins at `start` on.

    Raises DataError naming the file, and the line where there is one.
    """
    for source in range(start.source, len(inputs)):
        begin = start if source == start.source else Position(source=source)
        path = inputs[source]
        try:
            if path.suffix in _PARQUET_SUFFIXES:
                yield from parquet.read_batches(path, begin)
            elif path.suffix in _JSONL_SUFFIXES:
                yield from _jsonl_batches(path, begin)
            else:
                yield from _text_batches(path, begin, separator)
        except OSError as error:
            raise DataError(
                f"{path}: expected a readable file, found '{error.strerror or error}'; name files."
            ) from error


def locate(inputs: list[Path], batch: Batch, index: int) -> str:
    """Return the place of document number `index` of a batch as `file:line`, or `file, row N` in Parquet."""
    path = inputs[batch.start.source]
    if path.suffix in _PARQUET_SUFFIXES:
        return f"{path}, row {batch.start.offset + index + 1}"
    return f"{path}:{_line_of(path, batch.start.offset) + batch.line_of(index)}"


def _line_of(path: Path, offset: int) -> int:
    """The number, from 1, of the line that byte `offset` stands in."""
    lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(offset, 2**20))):
            lines += block.count(b"\n")
            offset -= len(block)
    return lines


def _jsonl_batches(path: Path, start: Position) -> Iterator[Batch]:
    with path.open("rb") as file:
        file.seek(start.offset)
        offset = start.offset
        while payload := file.read(BATCH_BYTES):
            payload += file.readline(MAX_LINE_BYTES)
            if not payload.endswith(b"\n") and file.read(1):
                raise DataError(
                    f"{path}:{_line_of(path, offset + len(payload))}: expected a line of at most {MAX_LINE_BYTES:,} "
                    "bytes, found a longer one; is this JSONL?"
                )
            position = Position(source=start.source, offset=offset)
            offset += len(payload)
            yield Batch(start=position, payload=payload, lengths=None, consumed=offset)


def _text_batches(path: Path, start: Position, separator: str | None) -> Iterator[Batch]:
    """Documents, gathered until a batch is full; a piece that is not the end of its document ends the batch."""
    offset, inside, first_inside = start.offset, start.inside, start.inside
    texts: list[bytes] = []
    begin, size = offset, 0
    for text, ends in _pieces(_decoded(path, offset), separator, path):
        if not texts:
            begin, first_inside, size = offset, inside, 0
        texts.append(text.encode())
        size += len(texts[-1])
        offset += len(texts[-1])
        inside = not ends
        if size >= BATCH_BYTES or inside:
            yield _text_batch(Position(source=start.source, offset=begin, inside=first_inside), texts, inside, offset)
            texts = []
    if texts:
        yield _text_batch(Position(source=start.source, offset=begin, inside=first_inside), texts, inside, offset)


def _text_batch(start: Position, texts: list[bytes], open_end: bool, consumed: int) -> Batch:
    lengths = tuple(map(len, texts))
    return Batch(start=start, payload=b"".join(texts), lengths=lengths, open_end=open_end, consumed=consumed)


def _pieces(blocks: Iterator[str], separator: str | None, path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (piece, whether its document ends with it); the pieces are those of gpt2.split_pieces."""
    text, at, finished = "", 0, False
    while not finished:
        block = next(blocks, None)
        finished = block is None
        text, at = text[at:] + (block or ""), 0
        while at < len(text):
            found = text.find(separator, at) if separator else -1
            end = found + len(separator or "") if found >= 0 else len(text) if finished else None
            cut = gpt2.piece_end(text, at, len(text) if end is None else end)
            if cut is None and end is None:
                break
            stop = cut if cut is not None else end
            yield text[at:stop], cut is None
            at = stop or at
        if len(text) - at > MAX_LINE_BYTES:
            raise DataError(
                f"{path}: expected a space or a line break within {MAX_LINE_BYTES:,} characters of a document, found "
                "none; is this text?"
            )


def _decoded(path: Path, offset: int) -> Iterator[str]:
    """The file as text, block by block; characters that a block cuts wait for the next one."""
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while block := file.read(BATCH_BYTES):
            raw = rest + block
            whole, rest = _whole_characters(raw)
            yield _decode_text(path, offset, whole)
            offset += len(whole)
        if rest:
            yield _decode_text(path, offset, rest)


def _whole_characters(raw: bytes) -> tuple[bytes, bytes]:
    """Cut before the lead byte of a character that may not be complete: at most three bytes from the end."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return (raw[:-back], raw[-back:]) if needed > back else (raw, b"")
        if byte < 0x80:
            break
    return raw, b""


def _decode_text(path: Path, offset: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_of(path, offset + error.start)
        raise DataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{raw[error.start]:02x}; convert the file first."
        ) from error
