"""Orders: what is to be tokenized into which folder, and what of that decides the bytes that come out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..datasets import NAME, manifest_path
from ..errors import DataError
from ..shards import MAX_TOKENS
from .cutting import InputState, Settings

SHARD_TOKENS = 100_000_000

Duplicates = Literal["refuse", "drop", "keep"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to tokenize into which folder; the folder's name becomes the dataset's.

    `separator` ends every document of a text file (it belongs to it unless it is a mark such as `<|endoftext|>`); None
    takes each file as one document. With `keep_marks` that mark is text where it stands in a text file.
    With `skip_bad` documents that cannot be decoded or encoded are left out and counted, else they are errors.
    `val_tokens` is the size of the validation shard where no `val_inputs` fill it.
    """

    inputs: list[Path]
    out: Path
    val_inputs: tuple[Path, ...] = ()
    separator: str | None = None
    shard_tokens: int = SHARD_TOKENS
    val_tokens: int | None = None
    duplicates: Duplicates = "refuse"
    keep_marks: bool = False
    skip_bad: bool = False
    title: str = "Tokenized here"
    licence: str = "unknown"


def expect_sizes(order: Order) -> None:
    """Raise DataError for sizes and separators that no shard can have."""
    for size in (order.shard_tokens, order.val_tokens or 1):
        if not 1 <= size <= MAX_TOKENS:
            raise DataError(f"expected shards of 1 to {MAX_TOKENS:,} tokens, found {size:,}; choose another size.")
    if order.separator == "":
        raise DataError("expected a separator of at least one character, found none; leave out --separator.")


def expect_name(out: Path) -> None:
    """Raise DataError for a folder that no dataset, or none of one's own, can be called by."""
    if not NAME.fullmatch(out.name):
        raise DataError(
            f"{out}: expected a name of letters, digits, - and _, since the dataset is called by it, found "
            f"{out.name!r}; choose another."
        )
    if manifest_path(out.name).exists():
        raise DataError(f"{out}: expected a name of your own, found that of a known dataset; choose another.")


def settings_of(order: Order) -> Settings:
    """Return what identifies the work; DataError where an input cannot be read."""
    return Settings(
        val_inputs=[_source(path) for path in order.val_inputs],
        inputs=[_source(path) for path in order.inputs],
        separator=order.separator,
        shard_tokens=order.shard_tokens,
        val_tokens=order.val_tokens or order.shard_tokens,
        duplicates=order.duplicates,
        skip_bad=order.skip_bad,
    )


def _source(path: Path) -> InputState:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: expected a file to read, found '{error.strerror}'; name another.") from error
    if not path.is_file():
        raise DataError(f"{path}: expected a file to read, found something else; name its files one by one.")
    return InputState(name=path.name, bytes=status.st_size, mtime_ns=status.st_mtime_ns)
