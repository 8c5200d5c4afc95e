"""Tokenizing: documents become a dataset of GPT-2 tokens in the format of the NanoGPT speedrun.

`<|endoftext|>` stands before each document, shards are cut at an exact number of tokens, the first is validation
(or the documents of `val_inputs` are). The bytes depend on inputs and options alone, never on the number of
workers or on where a process was killed. A training document that also occurs in validation is an error, unless
asked otherwise: the loss would measure memory.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import digests
from ..datasets import Dataset, own_manifest_path, read_manifest, write_manifest
from ..errors import DataError
from ..files import TEMPORARY_SUFFIX, locked
from ..shards import MAX_TOKENS
from . import cutting, encoders, gpt2
from .batches import Batch, Position
from .cutting import InputState, Journal, Resumption, Shard, ShardFile
from .documents import expect_separators, locate, read_batches
from .encoders import Encoded
from .gpt2 import Tokens
from .order import Order, expect_name, expect_sizes, settings_of
from .repeats import RepeatedDocuments

_BYTES_WORTH_A_WORKER = 2**23

Progress = Callable[[int, int], None]
"""Called with (bytes of input done, in all)."""


def tokenize(order: Order, workers: int, progress: Progress | None = None) -> Dataset:
    """Make the dataset and return its manifest, which is also written to `out/dataset.toml`.

    Goes on after the last whole shard where a process was killed. Raises DataError: naming file and line for
    malformed input and for training documents that are in validation too.
    """
    expect_sizes(order)
    expect_name(order.out)
    try:
        order.out.mkdir(parents=True, exist_ok=True)
        with locked(order.out / ".lock"):
            for leftover in order.out.glob(f".*{TEMPORARY_SUFFIX}"):
                leftover.unlink()
            return _Work(order).run(workers, progress)
    except OSError as error:
        raise DataError(
            f"{error.filename or order.out}: expected to read or write there, found '{error.strerror}'; mend that and "
            "run the command again."
        ) from error


def default_workers(inputs: list[Path]) -> int:
    """Return one process per core, fewer for inputs so small that starting them takes longer than the work."""
    cores = len(os.sched_getaffinity(0))
    total = sum(path.stat().st_size for path in inputs if path.exists())
    return max(1, min(cores, total // _BYTES_WORTH_A_WORKER))


class _Work:
    """The state of one tokenization between two batches."""

    def __init__(self, order: Order) -> None:
        self._order, self._paths = order, [*order.val_inputs, *order.inputs]
        self._settings = settings_of(order)
        self._shards: list[Shard] = []
        self._file: ShardFile | None = None
        self._repeats = RepeatedDocuments()
        self._before = (b"", False, 0)  # what _repeats knew at the start of the batch at hand
        self._skipped: Counter[int] = Counter()  # documents left out, by input
        self._skipped_before: dict[int, int] = {}
        self._start, self._skip = Position(), 0

    def run(self, workers: int, progress: Progress | None) -> Dataset:
        journal = cutting.read_journal(self._order.out, self._settings)
        if journal is not None and journal.resumption is None:
            return read_manifest(own_manifest_path(self._order.out))
        if journal is None:
            expect_separators(self._paths, self._order.separator)
            self._note(Position(), 0)
        elif journal.resumption is not None:
            self._resume(journal.shards, journal.resumption)
        done = _Done([*self._settings.val_inputs, *self._settings.inputs], progress)
        order = self._order
        batches = read_batches(
            self._paths, self._start, order.separator, keep_marks=order.keep_marks, skip_bad=order.skip_bad
        )
        try:
            for batch, encoded in encoders.encode_all(batches, workers, self._place_of):
                self._take(batch, encoded)
                done.tell(batch)
            return self._finish()
        finally:
            if self._file is not None:
                self._file.abandon()

    def _resume(self, shards: list[Shard], at: Resumption) -> None:
        self._shards = shards
        self._start = Position(source=at.source, offset=at.offset, inside=at.inside)
        self._skip = at.skip
        self._repeats = RepeatedDocuments(bytes.fromhex(at.open_digest), at.open_in_val, at.repeated)
        self._skipped = Counter(at.skipped)
        if shards:
            self._repeats.load(self._order.out)

    def _take(self, batch: Batch, encoded: Encoded) -> None:
        self._before = (self._repeats.open_digest, self._repeats.open_in_val, self._repeats.count)
        self._skipped_before = dict(self._skipped)
        if self._order.val_inputs and not self._shards and not self._is_val_source(batch):
            self._end_val_inputs(batch)
        tokens = self._without_repeats(batch, encoded)
        whole = tokens.size == encoded.tokens.size and self._skip == 0
        self._place(batch, tokens[self._skip :], self._skip, encoded.text_bytes if whole else None)
        self._skip = 0
        if encoded.skipped:
            self._skipped[batch.start.source] += encoded.skipped

    def _end_val_inputs(self, batch: Batch) -> None:
        if self._file is None:
            names = ", ".join(map(str, self._order.val_inputs))
            raise DataError(f"{names}: expected documents for validation, found none; name other files.")
        self._cut(batch, 0)

    def _place_of(self, batch: Batch, index: int) -> str:
        return locate(self._paths, batch, index)

    def _is_val_source(self, batch: Batch) -> bool:
        return batch.start.source < len(self._order.val_inputs)

    def _place(self, batch: Batch, tokens: Tokens, placed: int, text_bytes: int | None) -> None:
        size = tokens.size
        while tokens.size:
            if self._file is None:
                self._file = ShardFile(self._order.out / _shard_name(self._order.out.name, len(self._shards)))
            room = self._limit() - self._file.tokens
            part, tokens = tokens[:room], tokens[room:]
            self._file.append(part, text_bytes if part.size == size else None)
            placed += part.size
            if part.size == room:
                self._cut(batch, placed)

    def _limit(self) -> int:
        if self._shards:
            return self._order.shard_tokens
        return MAX_TOKENS + 1 if self._order.val_inputs else self._settings.val_tokens

    def _cut(self, batch: Batch, skip: int) -> None:
        """Finish a shard of which the batch at hand holds the last tokens, and note where the next begins."""
        assert self._file is not None
        self._shards.append(self._file.finish())
        self._file = None
        if len(self._shards) == 1:
            self._repeats.save(self._order.out)
        self._note(batch.start, skip)

    def _note(self, at: Position, skip: int) -> None:
        open_digest, open_in_val, repeated = self._before
        resumption = Resumption(
            source=at.source,
            offset=at.offset,
            inside=at.inside,
            skip=skip,
            open_digest=open_digest.hex(),
            open_in_val=open_in_val,
            repeated=repeated,
            skipped=self._skipped_before,
        )
        journal = Journal(settings=self._settings, shards=self._shards, resumption=resumption)
        cutting.write_journal(self._order.out, journal)

    def _without_repeats(self, batch: Batch, encoded: Encoded) -> Tokens:
        """Return the batch's tokens, less the documents that validation has, where these are to be dropped."""
        val_texts = self._val_texts(batch, encoded)
        hits = self._repeats.find(encoded.digests, val_texts, batch.start.inside, batch.open_end)
        if not hits:
            return encoded.tokens
        in_two_batches = hits[0] == 0 and batch.start.inside
        if self._order.duplicates == "refuse" or (self._order.duplicates == "drop" and in_two_batches):
            raise self._refusal(batch, encoded.indices[hits[0]])
        if self._order.duplicates == "keep":
            return encoded.tokens
        starts = [*np.flatnonzero(encoded.tokens == gpt2.END_OF_TEXT).tolist(), encoded.tokens.size]
        keep = np.ones(encoded.tokens.size, np.bool_)
        for hit in hits:
            first = hit - batch.start.inside
            keep[starts[first] : starts[first + 1]] = False
        return encoded.tokens[keep]

    def _val_texts(self, batch: Batch, encoded: Encoded) -> int:
        """How many of the batch's texts, from the first on, start in validation."""
        if self._order.val_inputs:
            return len(encoded.digests) if self._is_val_source(batch) else 0
        placed = sum(shard.tokens for shard in self._shards) + (self._file.tokens if self._file else 0) - self._skip
        room = self._settings.val_tokens - placed
        if room <= 0:
            return 0
        return batch.start.inside + int(np.count_nonzero(encoded.tokens[:room] == gpt2.END_OF_TEXT))

    def _refusal(self, batch: Batch, hit: int) -> DataError:
        beginning = " ".join(batch.texts()[hit].split())[:60]
        remedy = (
            "remove it, or use --duplicates drop or keep"
            if self._order.duplicates == "refuse"
            else "remove it, it is too long to be dropped on the way"
        )
        return DataError(
            f"{self._place_of(batch, hit)}: expected a training document that is not in validation, found one "
            f"that is ('{beginning}'); {remedy}."
        )

    def _finish(self) -> Dataset:
        out, order = self._order.out, self._order
        is_training = bool(self._shards)
        if self._file is not None and is_training:
            self._shards.append(self._file.finish())
            self._file = None
        if len(self._shards) < 2:
            found = self._file.tokens if self._file else sum(shard.tokens for shard in self._shards)
            left_out = f" ({self._skipped.total():,} documents were left out)" if self._skipped else ""
            raise DataError(
                f"{out}: expected more tokens than the validation shard takes, found {found:,} in all{left_out}; give "
                "more text or a smaller --val-tokens."
            )
        dataset = _describe(order, self._shards, self._repeats.count, self._skipped_by_name())
        write_manifest(own_manifest_path(out), dataset)
        cutting.write_journal(out, Journal(settings=self._settings, shards=self._shards, resumption=None))
        return dataset

    def _skipped_by_name(self) -> dict[str, int]:
        by_name: Counter[str] = Counter()
        for source, count in sorted(self._skipped.items()):
            by_name[self._paths[source].name] += count
        return dict(by_name)


def _shard_name(name: str, index: int) -> str:
    return f"{name}_{'train' if index else 'val'}_{index:06d}.bin"


def _describe(order: Order, shards: list[Shard], repeated: int, skipped: dict[str, int]) -> Dataset:
    name, (val, *train) = order.out.name, shards
    return Dataset(
        schema_version=1,
        name=name,
        title=order.title,
        licence=order.licence,
        kind="local",
        vocab_size=gpt2.VOCAB_SIZE,
        document_token=gpt2.END_OF_TEXT,
        vocabulary="gpt2",
        train_file_pattern=f"{name}_train_{{index:06d}}.bin",
        train_shards=len(train),
        train_tokens=sum(shard.tokens for shard in train),
        train_documents=sum(shard.documents for shard in train),
        train_bytes=sum(shard.bytes for shard in train),
        val_file=val.file,
        val_tokens=val.tokens,
        val_documents=val.documents,
        val_bytes=val.bytes,
        repeated_documents=repeated if order.duplicates == "keep" else 0,
        skipped_documents=sum(skipped.values()) if order.skip_bad else None,
        skipped=skipped,
        sha256=digests.measure([order.out / shard.file for shard in shards]),
    )


class _Done:
    """How much of the input is behind us."""

    def __init__(self, sources: list[InputState], progress: Progress | None) -> None:
        self._sizes, self._progress = [source.bytes for source in sources], progress

    def tell(self, batch: Batch) -> None:
        if self._progress is not None:
            self._progress(sum(self._sizes[: batch.start.source]) + batch.consumed, sum(self._sizes))
