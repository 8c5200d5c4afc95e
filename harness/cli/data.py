"""speedrun data: the token shards that models read."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from data import datasets
from data.datasets import Dataset
from data.errors import DataError, UserError

from ..formats import numbers
from ..formats.track import load_track
from . import making
from .amounts import advancing, interruptible, parse_tokens, progress_bar

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Fetch, check, make and inspect the data that models read.",
)


app.command("tokenize")(making.tokenize)
app.command("import")(making.import_files)
app.command("info")(making.info)

Name = Annotated[str, typer.Argument(help="A dataset of `speedrun data list`, or the folder of one of your own.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
ForTrack = Annotated[str | None, typer.Option("--for-track", help="Just what this track needs.")]
Tokens = Annotated[str | None, typer.Option("--tokens", help="Training tokens, such as 900M or 1.5B.")]
Shards = Annotated[int | None, typer.Option("--shards", help="The first so many training shards.", min=1)]
Jobs = Annotated[int, typer.Option("--jobs", help="Files fetched at once.", min=1, max=64)]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the datasets, and how much of each is on this disk."""
    root = datasets.data_root()
    rows = [_state(datasets.load_dataset(name), root) for name in datasets.list_datasets()]
    if as_json:
        print(json.dumps({"root": str(root), "datasets": rows}, indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("dataset", "kind", "training tokens", "shards here", "GB here"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        tokens = "unknown" if row["train_tokens"] is None else f"{row['train_tokens']:,}"
        here = f"{row['shards_present']} of {row['shards']}"
        gigabytes = numbers.gigabytes(row["bytes_present"])
        table.add_row(row["name"], row["kind"], tokens, here, gigabytes)
    console = Console()
    console.print(table)
    console.print(f"under {root} (move it with {datasets.ROOT_VARIABLE})", highlight=False, soft_wrap=True)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A dataset of the Hub.")],
    tokens: Tokens = None,
    for_track: ForTrack = None,
    shards: Shards = None,
    jobs: Jobs = 4,
    offline: Annotated[bool, typer.Option("--offline", help="Touch no network: verify what is here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a dataset's shards from the Hub, each checked against the Hub's SHA-256 and its own header.

    Goes on where a killed download stopped. The validation shard always comes along. HF_ENDPOINT, HF_TOKEN and
    HF_HUB_OFFLINE are respected.
    """
    _at_most_one(tokens=tokens, for_track=for_track, shards=shards)
    dataset, root = _find(name)
    if for_track is not None:
        shards = _track_shards(for_track, dataset)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    _download(dataset, root, shards, None if tokens is None else parse_tokens(tokens), jobs, as_json)


@app.command()
def prepare(name: Name, as_json: AsJson = False) -> None:
    """Make a dataset ready to train on: build the embedded corpus, download from the Hub, verify the rest."""
    dataset, root = _find(name)
    if dataset.kind == "hub":
        _download(dataset, root, None, None, 4, as_json)
        return
    with progress_bar("building", Console(stderr=True), as_json) as bar:
        datasets.prepare(dataset, root, advancing(bar, dataset.name))
    digests = datasets.verify(dataset, root)
    if as_json:
        print(json.dumps(_report(dataset, root, digests), indent=1))
    else:
        _show_verified(dataset, root, digests)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets; every one with shards here by default.")] = None,
    for_track: ForTrack = None,
    shards: Shards = None,
    afresh: Annotated[
        bool, typer.Option("--afresh/--remembered", help="Hash all of it, or believe size and date of what was hashed.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check shards: headers, lengths, token counts, and SHA-256 against manifest and lock file.

    Without --shards or --for-track a dataset of the Hub is checked as far as it is here.
    """
    _at_most_one(for_track=for_track, shards=shards)
    if for_track is not None and not names:
        names = [load_track(for_track).data.dataset]
    chosen = [_find(name) for name in names] if names else _present()
    reports, errors = [], []
    for dataset, root in chosen:
        try:
            reports.append(_verify(dataset, root, for_track, shards, afresh, as_json))
        except DataError as error:
            errors.append(error)
    if as_json and not errors:
        print(json.dumps({"datasets": reports}, indent=1))
    if not chosen and not as_json:
        print(f"no shards under {datasets.data_root()}")
    for earlier in errors[:-1]:
        print(f"speedrun: {earlier}", file=sys.stderr)
    if errors:
        raise errors[-1]


def _verify(
    dataset: Dataset, root: Path, for_track: str | None, shards: int | None, afresh: bool, quiet: bool
) -> dict[str, Any]:
    count = _track_shards(for_track, dataset) if for_track is not None else shards
    if count is None and dataset.kind == "hub":
        count = _leading_shards(dataset, root)
    with progress_bar("hashing", Console(stderr=True), quiet) as bar:
        digests = datasets.verify(dataset, root, count, progress=advancing(bar, dataset.name), afresh=afresh)
    if not quiet:
        _show_verified(dataset, root, digests, how="hashed" if afresh else "as they were when they were last hashed")
    return _report(dataset, root, digests)


def _download(dataset: Dataset, root: Path, shards: int | None, tokens: int | None, jobs: int, as_json: bool) -> None:
    from data.hub.download import download  # imports huggingface_hub, which reads the environment then
    from data.hub.fetching import DownloadObserver

    console, started_s = Console(stderr=True), time.monotonic()
    with interruptible(), progress_bar("fetching", console, as_json) as bar:
        task = bar.add_task(dataset.name, total=None)

        class _Bar(DownloadObserver):
            def total(self, count: int) -> None:
                bar.update(task, total=count)

            def advance(self, count: int) -> None:
                bar.advance(task, count)

            def say(self, sentence: str) -> None:
                console.print(sentence, markup=False, highlight=False, soft_wrap=True)

        report = download(dataset, root, shards=shards, tokens=tokens, jobs=jobs, watcher=_Bar())
    seconds = time.monotonic() - started_s
    if as_json:
        print(json.dumps(_report(dataset, root, report.sha256) | {
            "revision": report.revision, "fetched": report.fetched, "fetched_bytes": report.fetched_bytes,
            "seconds": round(seconds, 3),
        }, indent=1))  # fmt: skip
        return
    print(
        f"{dataset.name}: {len(report.sha256)} shards verified under {root / dataset.name}, {len(report.fetched)} of "
        f"them fetched now ({numbers.megabytes(report.fetched_bytes)} in {numbers.fixed_seconds(seconds, 1)})"
    )


def _show_verified(dataset: Dataset, root: Path, digests: dict[str, str], how: str = "") -> None:
    print(
        f"{dataset.name}: {len(digests)} shards verified{', ' + how + ',' if how else ''} under {root / dataset.name}"
    )


def _report(dataset: Dataset, root: Path, digests: dict[str, str]) -> dict[str, Any]:
    return {"dataset": dataset.name, "folder": str(root / dataset.name), "sha256": digests}


def _find(name: str) -> tuple[Dataset, Path]:
    """A known dataset under the data root, or one of the user's own by its folder."""
    folder = Path(name)
    if name not in datasets.list_datasets() and datasets.own_manifest_path(folder).is_file():
        dataset = datasets.read_manifest(datasets.own_manifest_path(folder))
        if dataset.name != folder.resolve().name:
            raise DataError(
                f"{folder}: expected the name {dataset.name} as its manifest says, found another; rename the folder."
            )
        return dataset, folder.resolve().parent
    return datasets.load_dataset(name), datasets.data_root()


def _present() -> list[tuple[Dataset, Path]]:
    root = datasets.data_root()
    known = [datasets.load_dataset(name) for name in datasets.list_datasets()]
    return [(dataset, root) for dataset in known if datasets.val_path(dataset, root).is_file()]


def _leading_shards(dataset: Dataset, root: Path) -> int | None:
    """How many training shards are here in a row from the first; None for all of them, or where there are none."""
    paths = datasets.train_paths(dataset, root)
    count = next((index for index, path in enumerate(paths) if not path.is_file()), len(paths))
    return count or None


def _track_shards(name: str, dataset: Dataset) -> int | None:
    track = load_track(name)
    if track.data.dataset != dataset.name:
        raise UserError(
            f"expected {track.data.dataset}, the dataset of track {track.name}, found {dataset.name}; name that one."
        )
    return track.data.train_shards


def _state(dataset: Dataset, root: Path) -> dict[str, Any]:
    paths = [datasets.val_path(dataset, root), *datasets.train_paths(dataset, root)]
    present = [path for path in paths if path.is_file()]
    return {
        "name": dataset.name,
        "title": dataset.title,
        "kind": dataset.kind,
        "licence": dataset.licence,
        "repository": dataset.repository,
        "revision": dataset.revision,
        "vocab_size": dataset.vocab_size,
        "train_tokens": dataset.train_tokens,
        "val_tokens": dataset.val_tokens,
        "shards": len(paths),
        "shards_present": len(present),
        "bytes_present": sum(path.stat().st_size for path in present),
    }


def _at_most_one(**options: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"expected at most one of these options, found {' and '.join(given)}; leave out the others.")
