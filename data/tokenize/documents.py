"""Documents: text, JSONL and Parquet files as a stream of batches, from any batch on, in bounded memory.

Text files are one document each, or cut after every separator; JSONL and Parquet hold one document per line or
row, in the field `text`, as FineWeb does. A separator that is a mark of a format, such as `<|endoftext|>`, is no part
of a document; any other, such as a blank line, belongs to the document it ends.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from . import gpt2, parquet
from .batches import Batch, Position
from .kinds import MAX_LINE_BYTES, kind_of

BATCH_BYTES = 2**19

_MARK = re.compile(r"\s*(?:<\|\w+\|>|</?s>|\[(?:EOS|SEP|EOT)\])\s*")
_END_OF_TEXT = b"<|endoftext|>"
_KEPT = "surrogateescape"  # bytes that are no UTF-8 become lone surrogates, and themselves again
_BROKEN = re.compile("[\udc80-\udcff]")
_NO_TEXT = b"\xff"


def is_mark(separator: str | None) -> bool:
    """Whether a separator is a mark of a format rather than text."""
    return separator is not None and _MARK.fullmatch(separator) is not None


def read_batches(
    inputs: list[Path],
    start: Position,
    separator: str | None,
    *,
    keep_marks: bool = False,
    skip_bad: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of `inputs` from the batch that begins at `start` on.

    Raises DataError naming the file, and the line where there is one; for `<|endoftext|>` in the text of a text file
    too, unless `keep_marks`. With `skip_bad` the batches say that documents which are none may be left out.
    """
    for source in range(start.source, len(inputs)):
        begin = start if source == start.source else Position(source=source)
        path = inputs[source]
        try:
            kind = kind_of(path)
            if kind == "parquet":
                batches = parquet.read_batches(path, begin)
            elif kind == "lines":
                batches = _jsonl_batches(path, begin)
            else:
                batches = _text_batches(path, begin, separator, keep_marks, skip_bad)
            yield from (replace(batch, skip_bad=True) for batch in batches) if skip_bad else batches
        except OSError as error:
            raise DataError(
                f"{path}: expected a readable file, found '{error.strerror or error}'; name files."
            ) from error


def locate(inputs: list[Path], batch: Batch, index: int) -> str:
    """Return the place of document number `index` of a batch as `file:line`, or `file, row N` in Parquet."""
    path = inputs[batch.start.source]
    if kind_of(path) == "parquet":
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


def _text_batches(
    path: Path, start: Position, separator: str | None, keep_marks: bool, skip_bad: bool
) -> Iterator[Batch]:
    """Documents, gathered until a batch is full; a piece that is not the end of its document ends the batch."""
    offset, inside, first_inside = start.offset, start.inside, start.inside
    texts: list[bytes] = []
    begin, size, mark = offset, 0, separator.encode() if separator and is_mark(separator) else None
    for raw, ends, taken in _raw_pieces(path, offset, separator, skip_bad):
        whole = raw.removesuffix(mark) if mark and ends else raw
        if not keep_marks and _END_OF_TEXT in whole:
            raise _marked(path, offset + whole.index(_END_OF_TEXT))
        if not texts:
            begin, first_inside, size = offset, inside, 0
        offset += taken
        if mark and ends and not inside and not whole.decode(errors="replace").strip():
            continue  # between two marks, or behind the last one, there is no document
        texts.append(whole)
        size += len(whole)
        inside = not ends
        if size >= BATCH_BYTES or inside:
            yield _text_batch(Position(source=start.source, offset=begin, inside=first_inside), texts, inside, offset)
            texts = []
    if texts:
        yield _text_batch(Position(source=start.source, offset=begin, inside=first_inside), texts, inside, offset)


def _raw_pieces(path: Path, offset: int, separator: str | None, skip_bad: bool) -> Iterator[tuple[bytes, bool, int]]:
    """Yield (piece, whether its document ends with it, bytes that it takes in the file).

    With `skip_bad` a document that is no UTF-8 is one byte that is no text, however long it is: whoever makes tokens
    leaves it out and counts it.
    """
    errors, broken = (_KEPT, _broken_documents(path, separator)) if skip_bad else ("strict", {})
    dropping = dropped = 0
    for text, ends in _pieces(_decoded(path, offset, errors), separator, path):
        raw = text.encode(errors=errors)
        dropping = broken.get(offset, dropping)
        offset += len(raw)
        if offset > dropping:
            yield raw, ends, len(raw)
            continue
        dropped += len(raw)
        if offset == dropping:
            yield _NO_TEXT, True, dropped
            dropped = 0


def _marked(path: Path, offset: int) -> DataError:
    mark = _END_OF_TEXT.decode()
    return DataError(
        f"{path}:{_line_of(path, offset)}: expected text, found the mark {mark} in it; give --separator '{mark}' where "
        "it ends documents, or --keep-marks where it is text."
    )


def _text_batch(start: Position, texts: list[bytes], open_end: bool, consumed: int) -> Batch:
    lengths = tuple(map(len, texts))
    return Batch(start=start, payload=b"".join(texts), lengths=lengths, open_end=open_end, consumed=consumed)


def _pieces(blocks: Iterator[str], separator: str | None, path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (piece, whether its document ends with it); the pieces are those of gpt2.split_pieces."""
    text, at, finished = "", 0, False
    while not finished:
        # twice as much at a time, or an endless word is searched over and over
        parts, wanted = [text[at:]], min(2 * (len(text) - at), MAX_LINE_BYTES)
        while not finished and sum(map(len, parts)) <= wanted:
            block = next(blocks, None)
            finished = block is None
            parts.append(block or "")
        text, at = "".join(parts), 0
        while at < len(text):
            found = text.find(separator, at) if separator else -1
            end = found + len(separator or "") if found >= 0 else len(text) if finished else None
            within = found if found >= 0 and is_mark(separator) else end
            cut = gpt2.piece_end(text, at, len(text) if within is None else within)
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


def _broken_documents(path: Path, separator: str | None) -> dict[int, int]:
    """Where the documents of a text file begin and end, in bytes, that are no UTF-8. Reads all of it."""
    broken: dict[int, int] = {}
    start = offset = 0
    is_broken = False
    for text, ends in _pieces(_decoded(path, 0, _KEPT), separator, path):
        offset += len(text.encode(errors=_KEPT))
        is_broken = is_broken or _BROKEN.search(text) is not None
        if ends:
            broken |= {start: offset} if is_broken else {}
            start, is_broken = offset, False
    return broken


def _decoded(path: Path, offset: int, errors: str) -> Iterator[str]:
    """The file as text, block by block; characters that a block cuts wait for the next one."""
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while block := file.read(BATCH_BYTES):
            raw = rest + block
            whole, rest = _whole_characters(raw)
            yield _decode_text(path, offset, whole, errors)
            offset += len(whole)
        if rest:
            yield _decode_text(path, offset, rest, errors)


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


def _decode_text(path: Path, offset: int, raw: bytes, errors: str) -> str:
    try:
        return raw.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = _line_of(path, offset + error.start)
        raise DataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{raw[error.start]:02x}; convert the file first, or "
            "leave out such documents with --skip-bad."
        ) from error


def expect_separators(paths: list[Path], separator: str | None) -> None:
    """Raise DataError where --separator has no effect: in no text file, or in one that ends its lines otherwise."""
    if separator is None:
        return
    texts = [path for path in paths if kind_of(path) == "text"]
    if not texts:
        raise DataError("expected a text file beside --separator, found lines of JSON or Parquet; leave it out.")
    without = [path for path in texts if not _holds(path, separator.encode())]
    other = separator.replace("\r\n", "\n").replace("\n", "\r\n")
    for path in without:
        if other != separator and _holds(path, other.encode()):
            raise DataError(
                f"{path}: expected the separator {separator!r}, found that it never occurs: the file has CRLF line "
                f"ends; give --separator {other!r}."
            )
    if len(without) == len(texts):
        raise DataError(
            f"{without[0]}: expected the separator {separator!r}, found that it never occurs; leave it out."
        )


def _holds(path: Path, wanted: bytes) -> bool:
    with path.open("rb") as file:
        rest = b""
        while block := file.read(2**20):
            if wanted in rest + block:
                return True
            rest = (rest + block)[-len(wanted) :]
    return False
