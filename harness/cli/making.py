"""speedrun data tokenize, import and info: making shards, and looking into them."""

import json
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from data import datasets
from data.datasets import Dataset
from data.errors import UserError
from data.printing import visible
from data.tokenize.inspection import inspect

from ..formats import numbers
from .amounts import advancing, interruptible, parse_tokens, progress_bar

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


class Duplicates(StrEnum):
    """What becomes of a training document that is in validation too."""

    REFUSE = "refuse"
    DROP = "drop"
    KEEP = "keep"


def info(
    shard: Annotated[Path, typer.Argument(help="A .bin file.")],
    characters: Annotated[int, typer.Option("--characters", help="How much text to show.", min=0)] = 400,
    no_text: Annotated[bool, typer.Option("--no-text", help="Counts only; needs no vocabulary.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look into a shard: documents, tokens, the longest document, and the first text decoded."""
    found = asdict(inspect(shard, with_text=not no_text))
    text = found.pop("first_text")
    shown = None if text is None else text[:characters]
    if as_json:
        print(json.dumps(found | {"first_text": shown}, indent=1, ensure_ascii=False))
        return
    console = Console()
    for key, value in found.items():
        line = f"{key.replace('_', ' '):<26}{numbers.setting(value)}"
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if shown is not None:
        console.print(f"first text\n\n{visible(shown)}", highlight=False, soft_wrap=True, markup=False)


def tokenize(
    inputs: Annotated[list[Path], typer.Argument(help="Text, .jsonl or .parquet files with a field `text`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make; its name becomes the dataset's.")],
    val: Annotated[list[Path] | None, typer.Option("--val", help="Files to validate on; else the first shard.")] = None,
    separator: Annotated[
        str | None, typer.Option("--separator", help=r"What ends a document in a text file, such as '\n\n'.")
    ] = None,
    shard_tokens: Annotated[str, typer.Option("--shard-tokens", help="Tokens in a shard.")] = "100M",
    val_tokens: Annotated[str | None, typer.Option("--val-tokens", help="Tokens in the validation shard.")] = None,
    duplicates: Annotated[
        Duplicates, typer.Option("--duplicates", help="Training documents that validation has too.")
    ] = Duplicates.REFUSE,
    keep_marks: Annotated[
        bool, typer.Option("--keep-marks", help="`<|endoftext|>` inside a text file is text, not a mark.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out documents that cannot be decoded or encoded, and count them.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes; as many as cores by default.", min=1)
    ] = None,
    title: Annotated[str, typer.Option("--title", help="For the manifest.")] = "Tokenized here",
    licence: Annotated[str, typer.Option("--licence", help="For the manifest.")] = "unknown",
    as_json: AsJson = False,
) -> None:
    """Turn text into a dataset of GPT-2 tokens: the format, the cuts and the marks of the NanoGPT speedrun.

    What a file holds decides how it is read, not its name: JSON lines, Parquet, else text. --separator '<|endoftext|>'
    leaves the mark out of the documents; any other separator belongs to the document it ends.

    A document that is no UTF-8, no JSON object with a text, null, or more than the tokenizer can split is an error that
    names its file and line (row, in Parquet). --skip-bad leaves such documents out; how many of which file stands in
    what is printed and in the dataset's own manifest.

    The bytes do not depend on --workers. A killed run goes on after its last whole shard. Training documents that
    also occur in validation are refused.
    """
    from data.tokenize import tokenizing  # loads tiktoken
    from data.tokenize.order import Order

    order = Order(
        inputs=inputs,
        out=out.resolve(),
        val_inputs=tuple(val or ()),
        separator=None if separator is None else separator.replace(r"\n", "\n").replace(r"\t", "\t"),
        shard_tokens=parse_tokens(shard_tokens),
        val_tokens=None if val_tokens is None else parse_tokens(val_tokens),
        duplicates=duplicates.value,
        keep_marks=keep_marks,
        skip_bad=skip_bad,
        title=title,
        licence=licence,
    )
    started_s = time.monotonic()
    workers = workers or tokenizing.default_workers([*order.val_inputs, *order.inputs])
    with interruptible(), progress_bar("tokenizing", Console(stderr=True), as_json) as bar:
        dataset = tokenizing.tokenize(order, workers, advancing(bar, order.out.name))
    _show(dataset, order.out.parent, time.monotonic() - started_s, as_json)


def import_files(
    files: Annotated[list[Path], typer.Argument(help="nanoGPT's .bin, llm.c's shards, or one text.")],
    name: Annotated[str | None, typer.Option("--name", help="The dataset's; by default the file's.")] = None,
    val: Annotated[Path | None, typer.Option("--val", help="What to validate on; a text has its last tenth.")] = None,
    vocab_size: Annotated[int, typer.Option("--vocab-size", help="Of token files.", min=1, max=2**16)] = 50257,
    duplicates: Annotated[
        Duplicates, typer.Option("--duplicates", help="Training data that validation has too: refuse or keep.")
    ] = Duplicates.REFUSE,
    as_json: AsJson = False,
) -> None:
    """Take in data that others have prepared.

    nanoGPT's headerless train.bin and val.bin, llm.c's shards, or plain text as characters: `speedrun data import
    tinyshakespeare.txt` makes the dataset of that name.
    """
    from data.tokenize import importing  # loads tiktoken

    if duplicates is Duplicates.DROP:
        raise UserError("expected --duplicates refuse or keep, found drop; imported shards stay as they are.")
    started_s, root = time.monotonic(), datasets.data_root()
    keep = duplicates is Duplicates.KEEP
    dataset = importing.import_files(files, val, name, root, vocab_size, keep_duplicates=keep)
    _show(dataset, root, time.monotonic() - started_s, as_json)


def _show(dataset: Dataset, root: Path, seconds: float, as_json: bool) -> None:
    if as_json:
        made = dataset.model_dump(exclude_none=True) | {"folder": str(root / dataset.name), "seconds": seconds}
        print(json.dumps(made, indent=1, ensure_ascii=False))
        return
    documents = (dataset.train_documents or 0) + (dataset.val_documents or 0)
    print(
        f"{dataset.name}: {dataset.train_tokens or 0:,} training tokens in {dataset.train_shards} shards and "
        f"{dataset.val_tokens or 0:,} to validate on"
        + (f", {documents:,} documents" if documents else "")
        + f", under {root / dataset.name} ({numbers.fixed_seconds(seconds, 1)})"
    )
    if dataset.skipped_documents is not None:
        files = ", ".join(f"{count:,} of {visible(name)}" for name, count in dataset.skipped.items())
        print(f"{dataset.skipped_documents:,} documents could not be read and were left out{files and ': ' + files}")
