"""Inspection: what is in a shard, for a person who wants to see it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import datasets
from ..corpus import narration
from ..datasets import Dataset
from ..errors import DataError
from ..shards import read_shard

_SHOWN_TOKENS = 4096

Tokens = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """Counts of one shard. Documents are those that start in it; None where nothing marks their start.

    `longest_document` counts tokens, its first one included, as far as it lies in this shard.
    """

    file: str
    dataset: str | None
    bytes: int
    tokens: int
    highest_token: int | None
    different_tokens: int
    documents: int | None
    longest_document: int | None
    starts_inside_a_document: bool | None
    first_text: str | None


def inspect(path: Path, *, with_text: bool = True) -> Inspection:
    """Read the shard at `path`; it is decoded as the dataset it belongs to says, else as GPT-2 tokens.

    `first_text` is None without `with_text`, and where the tokens are not GPT-2's. Raises DataError where it is no
    shard, or where its vocabulary is not at hand.
    """
    tokens = read_shard(path)
    dataset = _dataset_of(path)
    document_token = dataset.document_token if dataset is not None else 50256
    starts = np.flatnonzero(tokens == document_token) if document_token is not None else None
    counts = np.bincount(tokens, minlength=1) if tokens.size else np.zeros(1, np.int64)
    has_starts = starts is not None and starts.size > 0
    return Inspection(
        file=str(path),
        dataset=dataset.name if dataset is not None else None,
        bytes=path.stat().st_size,
        tokens=int(tokens.size),
        highest_token=int(tokens.max()) if tokens.size else None,
        different_tokens=int(np.count_nonzero(counts)),
        documents=None if starts is None else int(starts.size),
        longest_document=int(np.diff(starts, append=tokens.size).max()) if starts is not None and has_starts else None,
        starts_inside_a_document=None if starts is None else bool(tokens.size and (not has_starts or starts[0] > 0)),
        first_text=_decode(dataset, _first(tokens, starts)) if with_text else None,
    )


def _first(tokens: Tokens, starts: npt.NDArray[np.intp] | None) -> Tokens:
    """The first whole document without its mark; where nothing marks documents, the beginning."""
    if starts is None or not starts.size:
        return tokens[:_SHOWN_TOKENS]
    end = int(starts[1]) if starts.size > 1 else int(tokens.size)
    begin = int(starts[0]) + 1
    return tokens[begin : min(end, begin + _SHOWN_TOKENS)]


def _dataset_of(path: Path) -> Dataset | None:
    """The dataset that has a file of this name in a folder of this name."""
    folder = path.resolve().parent
    if datasets.own_manifest_path(folder).is_file():
        dataset = datasets.read_manifest(datasets.own_manifest_path(folder))
    elif folder.name in datasets.list_datasets():
        dataset = datasets.load_dataset(folder.name)
    else:
        return None
    return dataset if path.name in (dataset.val_file, *dataset.train_files()) else None


def _decode(dataset: Dataset | None, tokens: Tokens) -> str | None:
    if dataset is not None and dataset.kind == "embedded":
        return narration.decode(tokens)
    if dataset is not None and dataset.characters is not None:
        if tokens.size and int(tokens.max()) >= dataset.vocab_size:
            raise DataError(
                f"{dataset.name}: expected tokens below {dataset.vocab_size}, found {int(tokens.max())}; run "
                f"`speedrun data verify {dataset.name}`."
            )
        return "".join(dataset.characters[token] for token in tokens.tolist())
    if tokens.size and int(tokens.max()) > 50256:
        return None
    from . import gpt2  # loads tiktoken and its vocabulary

    return gpt2.decode(tokens)
