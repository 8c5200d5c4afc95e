"""Downloads: the shards of a dataset from the Hub, each checked against the Hub's SHA-256 and its own header.

What the Hub states about files is pinned before the first byte. One process at a time fetches into a folder; others
wait and then find the work done. A killed download goes on where it stopped.
"""

import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .. import datasets, digests, lockfile
from ..datasets import Dataset
from ..errors import DataError
from ..files import locked
from ..shards import HEADER_BYTES, TOKEN_BYTES, read_header
from . import client
from .fetching import DownloadObserver, Fetch, Task, set_aside

DEFAULT_JOBS = 4
SPARE_DISK_BYTES = 2**26  # left free after the download, for lock files and everybody else


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadReport:
    """What a download came to: {file: sha256} of all shards asked for, and what of it had to be fetched."""

    revision: str | None
    sha256: dict[str, str]
    fetched: tuple[str, ...]
    fetched_bytes: int


def download(
    dataset: Dataset,
    root: Path,
    *,
    shards: int | None = None,
    tokens: int | None = None,
    jobs: int = DEFAULT_JOBS,
    watcher: DownloadObserver | None = None,
) -> DownloadReport:
    """Bring the validation shard and the first training shards (all, `shards`, or enough for `tokens`) under `root`.

    What is there and right stays; what is there and wrong is set aside as FILE.corrupt and fetched again. In
    offline mode what is on disk is verified. Raises DataError naming the file, what was expected and found.
    """
    watcher = watcher or DownloadObserver()
    if dataset.kind != "hub":
        verb = "prepare" if dataset.kind == "embedded" else "import"
        raise DataError(
            f"expected a dataset of the Hub, found '{dataset.name}' of kind {dataset.kind}; use `speedrun data {verb}`."
        )
    if client.is_offline():
        return _offline(dataset, root, shards, tokens)
    with _held(dataset, root, watcher):
        listing = _list_and_hold(dataset, root)
        count = _shards_for(dataset, tokens, _listed_tokens(dataset, listing)) if tokens else shards
        tasks = _tasks(dataset, root, listing, count, watcher)
        missing_bytes = _expect_space(root, tasks)
        watcher.total(missing_bytes)
        _fetch_all(listing, tasks, jobs, watcher)
        paths = [datasets.val_path(dataset, root), *datasets.train_paths(dataset, root, count)]
        found = digests.measure([path for path in paths if path.is_file()])
        right = [name for name, sha256 in found.items() if sha256 == listing.files[name].sha256]
        lockfile.pin_from_hub(root, dataset.name, listing.commit, _pins(listing, right))  # over pins of broken files
        sha256 = datasets.verify(dataset, root, count)
        return DownloadReport(
            revision=listing.commit,
            sha256=sha256,
            fetched=tuple(task.path.name for task in tasks),
            fetched_bytes=missing_bytes,
        )


@contextmanager
def _held(dataset: Dataset, root: Path, watcher: DownloadObserver) -> Iterator[None]:
    lock = datasets.lock_path(dataset, root)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{lock.parent}: expected a folder to write to, found '{error.strerror}'; mend it or move the data with "
            f"{datasets.ROOT_VARIABLE}."
        ) from error
    with locked(lock, lambda: watcher.say(f"another process is fetching {dataset.name}; waiting for it")):
        yield


def _offline(dataset: Dataset, root: Path, shards: int | None, tokens: int | None) -> DownloadReport:
    paths = datasets.train_paths(dataset, root)
    if tokens:
        present = [read_header(path) for path in paths if path.is_file()]
        shards = _shards_for(dataset, tokens, present)
    for path in datasets.missing_files(dataset, root, shards):
        raise DataError(
            f"{path}: expected a shard, found no file and offline mode; unset HF_HUB_OFFLINE or copy the file there."
        )
    sha256 = datasets.verify(dataset, root, shards)
    revision = lockfile.read_lock(root, dataset.name).revision
    return DownloadReport(revision=revision, sha256=sha256, fetched=(), fetched_bytes=0)


def _list_and_hold(dataset: Dataset, root: Path) -> client.Listing:
    """What the Hub states at the pinned revision, held against manifest and lock file; pinned later, with the bytes."""
    assert dataset.repository is not None
    assert dataset.revision is not None
    is_commit = len(dataset.revision) == 40
    lock = lockfile.read_lock(root, dataset.name)
    revision = dataset.revision if is_commit or lock.revision is None else lock.revision
    listing = client.list_files(dataset.repository, revision)
    wanted = [dataset.val_file, *dataset.train_files()]
    files = {name: listing.files[name] for name in wanted if name in listing.files}
    for name, file in files.items():
        pinned = dataset.sha256.get(name, file.sha256)
        if pinned != file.sha256:
            raise DataError(
                f"{name}: expected sha256 {pinned} as the manifest of {dataset.name} says, found that the Hub states "
                f"{file.sha256} at revision {listing.commit}; trust neither before you know why."
            )
    lockfile.hold_to_hub(root, dataset.name, _pins(listing, files))
    return replace(listing, files=files)


def _pins(listing: client.Listing, names: Iterable[str]) -> dict[str, lockfile.Pin]:
    """What the Hub states of these files."""
    files = [listing.files[name] for name in names]
    return {file.name: lockfile.Pin(sha256=file.sha256, bytes=file.bytes, origin="hub") for file in files}


def _listed_tokens(dataset: Dataset, listing: client.Listing) -> list[int]:
    sizes = [listing.files[name].bytes for name in dataset.train_files() if name in listing.files]
    return [(size - HEADER_BYTES) // TOKEN_BYTES for size in sizes]


def _shards_for(dataset: Dataset, tokens: int, counts: list[int]) -> int:
    """How many of the shards with `counts` tokens hold `tokens` between them."""
    held = 0
    for index, count in enumerate(counts, start=1):
        held += count
        if held >= tokens:
            return index
    raise DataError(f"{dataset.name}: expected at most {held:,} training tokens, found {tokens:,}; ask for fewer.")


def _tasks(
    dataset: Dataset, root: Path, listing: client.Listing, shards: int | None, watcher: DownloadObserver
) -> list[Task]:
    """What is missing or wrong; what is wrong is set aside."""
    paths = [datasets.val_path(dataset, root), *datasets.train_paths(dataset, root, shards)]
    for path in paths:
        if path.name not in listing.files:
            raise DataError(
                f"{path.name}: expected a file with a SHA-256 in {listing.repository}@{listing.commit}, found none; "
                "check the manifest's repository and revision."
            )
    found = digests.measure([path for path in paths if path.is_file()])
    tasks = [Task(remote=listing.files[path.name], path=path) for path in paths]
    wanted = [task for task in tasks if found.get(task.path.name) != task.remote.sha256]
    for task in wanted:
        _drop_other_parts(task)
        if task.path.exists():
            set_aside(task, task.path, found[task.path.name], watcher)
    return wanted


def _drop_other_parts(task: Task) -> None:
    for part in task.path.parent.glob(f".{task.path.name}.*.part"):
        if part != task.part:
            part.unlink()


def _expect_space(root: Path, tasks: list[Task]) -> int:
    """The bytes still to come; DataError where the disk cannot hold them."""
    missing = sum(task.remote.bytes - min(task.present_bytes, task.remote.bytes) for task in tasks)
    free = shutil.disk_usage(root).free
    if missing and missing + SPARE_DISK_BYTES > free:
        raise DataError(
            f"{root}: expected {(missing + SPARE_DISK_BYTES) / 1e9:.2f} GB of free disk space, found {free / 1e9:.2f} "
            f"GB; make room, ask for fewer tokens, or move the data with {datasets.ROOT_VARIABLE}."
        )
    return missing


def _fetch_all(listing: client.Listing, tasks: list[Task], jobs: int, watcher: DownloadObserver) -> None:
    """Several files at once; the first that fails stops the others, whose parts stay."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        fetches: list[Future[None]] = [pool.submit(Fetch(listing, task, watcher, stop).run) for task in tasks]
        done, _ = wait(fetches, return_when=FIRST_EXCEPTION)
        for fetch in done:
            fetch.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
