"""Parquet in FineWeb's schema as batches: one document per row, in the column `text`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .batches import TEXT_FIELD, Batch, Position

BATCH_ROWS = 128
_STRINGS = re.compile(r"(?:large_)?string(?:_view)?|dictionary<values=(?:large_)?string(?:_view)?,.*>")


def read_batches(path: Path, start: Position) -> Iterator[Batch]:
    """Yield the rows of `path` from row `start.offset` on; DataError for what is no FineWeb Parquet.

    Row groups are streamed, so that memory does not grow with them.
    """
    file, size = _open(path), os.path.getsize(path)
    try:
        row, group = _group_of(file.metadata, start.offset)
        groups = list(range(group, file.metadata.num_row_groups))
        for table in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=[TEXT_FIELD]):
            skipped = max(start.offset - row, 0)
            rows = table.slice(skipped)
            first, row = row + min(skipped, table.num_rows), row + table.num_rows
            if rows.num_rows:
                consumed = size * row // file.metadata.num_rows
                column = _plain(rows.column(0))
                yield _rows_batch(Position(source=start.source, offset=first), column, consumed)
    finally:
        file.close()


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: expected pyarrow to read Parquet, found that it is not installed; run `pip install pyarrow`."
        ) from error
    try:
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)  # so that it is not read whole
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: expected a Parquet file, found '{error}'; fetch the file again.") from error
    found = [field.name for field in file.schema_arrow]
    kind = str(file.schema_arrow.field(TEXT_FIELD).type) if TEXT_FIELD in found else "no such column"
    if not _STRINGS.fullmatch(kind):
        file.close()
        raise DataError(
            f"{path}: expected a column '{TEXT_FIELD}' of strings as in FineWeb, found {kind} among "
            f"{', '.join(found)}; rename or convert it."
        )
    return file


def _group_of(metadata: Any, row: int) -> tuple[int, int]:
    """The first row and the number of the row group that `row` lies in."""
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if row < first + rows:
            return first, group
        first += rows
    return first, metadata.num_row_groups


def _plain(column: Any) -> Any:
    """A column of plain strings: those of a dictionary or of views are looked up."""
    if str(column.type) in ("string", "large_string"):
        return column
    import pyarrow as pa

    return column.cast(pa.large_string())


def _rows_batch(start: Position, column: Any, consumed: int) -> Batch:
    """The column's own bytes: no string is made here."""
    missing = np.flatnonzero(column.is_null()).tolist() if column.null_count else ()
    _, offsets, values = column.buffers()
    wide = np.int64 if str(column.type) == "large_string" else np.int32
    bounds = np.frombuffer(offsets, wide)[column.offset : column.offset + len(column) + 1]
    payload = memoryview(values)[bounds[0] : bounds[-1]].tobytes() if values is not None else b""
    lengths = tuple(np.diff(bounds).tolist())
    return Batch(start=start, payload=payload, lengths=lengths, consumed=consumed, missing=tuple(missing))
