"""Recovery: an imported record's source and environment, from the user's own checkout.

Most logs embed the script; a banner divides it into files. Where a record has a commit of its own, that commit's tree
says the same, or says it alone. The environment is what the log says; what of it can no
longer be installed is replaced by the nearest release, and every difference is a sentence. What this machine lacks is
listed before anything starts.
"""

import itertools
import re
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from data import datasets
from data.errors import DataError
from data.printing import printable
from harness.errors import UserError
from harness.formats.environment import Gpu
from harness.formats.track import Track
from harness.records.environments import find_python
from harness.selftimed.grammars import MODDED_NANOGPT
from harness.selftimed.logs import read_log

from .checkout import Checkout
from .embedded import digest, entry_of, split_source
from .history import ImportedRecord, ImportedRow, ImportedRun, Machine
from .releases import Nearest, nearest_torch
from .trees import open_commit, read_tree

MAX_LOG_CHUNKS = 64
NEEDED = ("numpy", "tqdm", "huggingface-hub", "setuptools", "tiktoken")  # besides torch, as its scripts import them
OWN_BUILD = re.compile(rb"^\s*(?:from|import)\s+flash_attn_interface\b", re.MULTILINE)
KERNELS = re.compile(rb"^\s*(?:from|import)\s+kernels\b", re.MULTILINE)
IMPORTS = {b"kernels": "kernels", b"datasets": "datasets", b"flash_attn": "flash-attn"}


@dataclass(frozen=True, slots=True)
class RecoveredRun:
    """What it takes to run an imported record again, and what of it is not here."""

    track: str
    record: ImportedRecord
    log: str  # path in the repository; empty: none is committed
    run: ImportedRun | None
    machine: Machine | None
    torch: Nearest | None
    python: str  # as the log says; empty where it does not
    files: dict[str, bytes]  # the source, by name; empty where `no_source` says why
    entry: str  # the one that is started
    commit: str  # whose tree the files are; empty: the log's own
    no_source: str
    packages: tuple[str, ...]
    differences: tuple[str, ...]
    missing: tuple[str, ...]


def recover_run(
    row: ImportedRow, track: Track, checkout: Path | None, gpus: tuple[Gpu, ...], data_root: Path
) -> RecoveredRun:
    """Everything that can be told before something starts. Raises UserError where the checkout is no checkout."""
    record, history = row.record, row.history
    run = _best_run(row)
    machine = None if run is None else history.machines[run.machine]
    log = "" if run is None else history.path(run)
    source = _source(row, run, checkout)
    files = source.files
    nearest = nearest_torch(machine.torch, machine.cuda, machine.triton) if machine and machine.torch else None
    missing = [
        *_missing_log(run, nearest),
        *source.problems,
        *_missing_gpus(machine, gpus),
        *_missing_python(machine),
        *_missing_attention(files, record),
        *_missing_languages(files),
        *_missing_shards(track, data_root),
    ]
    return RecoveredRun(
        track=row.track,
        record=record,
        log=log,
        run=run,
        machine=machine,
        torch=nearest,
        python=machine.python if machine else "",
        files=files,
        entry=source.entry,
        commit=source.commit,
        no_source="" if files else next(iter(source.problems), "a log, or a commit of its own: neither is known"),
        packages=_packages(nearest, files),
        differences=(*_differences(nearest, machine), *source.differences),
        missing=tuple(missing),
    )


def _best_run(row: ImportedRow) -> ImportedRun | None:
    """A run of the record's own that embeds a script and names its environment; the linked one first."""
    history, record = row.history, row.record
    linked = record.link.runs if record.link else ()
    numbers = [n for n in linked if n in record.runs] + list(record.runs) + list(linked)
    runs = [history.runs[number] for number in numbers]
    told = [run for run in runs if history.machines[run.machine].torch and history.scripts[run.script].sha256]
    return next(iter(told or runs), None)


@dataclass(frozen=True, slots=True)
class _Source:
    """What there is of a record's source, what is wrong with it, and what a reader should know."""

    files: dict[str, bytes]
    entry: str = ""
    commit: str = ""
    problems: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def _source(row: ImportedRow, run: ImportedRun | None, checkout: Path | None) -> _Source:
    """What ran: the source that a log embeds, in the tree of the record's own commit where that has all of it.

    Where no log embeds it the tree of that commit alone says what it was.
    """
    history, folder = row.history, row.record.folder
    commit = history.commit_of(folder) if folder else ""
    commit = "" if commit == history.source.commit else commit
    embeds = run is not None and bool(history.scripts[run.script].sha256)
    if run is None and not commit:
        return _Source({}, problems=())
    if checkout is None:
        return _Source({}, problems=("a checkout of its repository with the log; see --checkout",))
    logged = _logged(row, run, checkout) if run is not None and (embeds or not commit) else _Source({})
    if not commit:
        return logged
    tree = read_tree(checkout, commit, row.record)
    if tree is None:
        fetched = f"; `git fetch origin pull/{row.record.pull_request}/head` there" if row.record.pull_request else ""
        absent = f"the commit {commit[:12]} that has it, which this checkout does not have{fetched}"
        return logged if logged.files else _Source({}, problems=(absent,))
    if not logged.files:
        if not tree.files:
            return _Source({}, problems=(f"no training script in the tree of commit {commit[:12]}",))
        told = f"no log embeds its source; it is that of commit {commit[:12]}{tree.without}"
        return _Source(tree.files, tree.entry, commit, differences=(told,))
    other = [name for name, text in logged.files.items() if tree.files.get(name, b"").strip() != text.strip()]
    if not other:
        beside = f"beside its script the tree of commit {commit[:12]}{tree.without}"
        return _Source(tree.files, logged.entry, commit, logged.problems, (beside,))
    told = f"its log embeds another {printable(other[0])} than commit {commit[:12]} has; the log's is taken"
    return replace(logged, differences=(told,))


def _logged(row: ImportedRow, run: ImportedRun, checkout: Path) -> _Source:
    """The source that a record's log embeds. A digest that is not known says nothing: only the log's end was read."""
    history, log, opened = row.history, row.history.path(run), Checkout(checkout)
    sha256 = history.scripts[run.script].sha256
    if history.commit_of(log) != history.source.commit and not any(file.path == log for file in opened.files(log)):
        opened = open_commit(checkout, history.commit_of(log)) or opened  # it came with a pull request
    for file, chunks in opened.read([file for file in opened.files(log) if file.path == log]):
        source = read_log(itertools.islice(chunks, MAX_LOG_CHUNKS), MODDED_NANOGPT, with_training=False).source
        if file.key in opened.damage:
            return _Source({}, problems=(f"the log {log}, of which this checkout says that {opened.damage[file.key]}",))
        if not source:
            return _Source({}, problems=("the source: this log embeds none",))
        files, other = split_source(source), bool(sha256) and digest(source) != sha256
        told = f"the same source: the history knows {sha256}, this log embeds {digest(source)}"
        return _Source(files, entry_of(files), problems=(told,) if other else ())
    return _Source({}, problems=(f"the log {log}, which this checkout does not have",))


def _packages(nearest: Nearest | None, files: dict[str, bytes]) -> tuple[str, ...]:
    """What would be installed, as pip takes it."""
    if nearest is None or nearest.release is None:
        return ()
    text = b"\n".join(files.values())
    more = [name for word, name in IMPORTS.items() if re.search(rb"^\s*(?:from|import)\s+" + word + rb"\b", text, re.M)]
    return (nearest.requirement, *NEEDED, *more)


def _differences(nearest: Nearest | None, machine: Machine | None) -> tuple[str, ...]:
    found = list(nearest.differences) if nearest else []
    if machine is not None and machine.torch and not machine.python:
        found.append("the log names no Python; the nearest that this torch is for stands in")
    return tuple(found)


def _missing_log(run: ImportedRun | None, nearest: Nearest | None) -> list[str]:
    if run is None:
        return ["a log: none was committed for this record, so neither source nor environment is known"]
    if nearest is None:
        return ["an environment: its log names no torch (llm.c and the first logs say nothing of it)"]
    return [] if nearest.release else [f"a release of torch near {nearest.wanted}"]


def _missing_gpus(machine: Machine | None, gpus: tuple[Gpu, ...]) -> list[str]:
    if machine is None or not machine.gpu:
        return []
    here = Counter(gpu.name for gpu in gpus)
    wanted = machine.gpu_count or 1
    if here[machine.gpu] >= wanted:
        return []
    found = ", ".join(f"{count}x {name}" for name, count in sorted(here.items())) or "none"
    return [f"{wanted}x {machine.gpu}; this machine has {found}"]


def _missing_python(machine: Machine | None) -> list[str]:
    if machine is None or not machine.python or find_python(machine.python) is not None:
        return []
    return [f"a Python {'.'.join(machine.python.split('.')[:2])} on PATH (the log names {machine.python})"]


def _missing_attention(files: dict[str, bytes], record: ImportedRecord) -> list[str]:
    """FlashAttention 3, which never was a package: first built by hand, then fetched from a hub at import."""
    text = b"\n".join(files.values())
    if OWN_BUILD.search(text):
        return ["FlashAttention 3 as its authors built it themselves (flash_attn_interface); no package has it"]
    if KERNELS.search(text):
        return ["FlashAttention 3 from the kernels hub, built for exactly this torch and CUDA, in a local cache"]
    return []


def _missing_languages(files: dict[str, bytes]) -> list[str]:
    """What its source needs besides Python, which no package brings."""
    rust = sum(name.endswith(".rs") for name in files)
    if not rust or shutil.which("cargo"):
        return []
    return [f"a Rust toolchain (cargo) on PATH, for {rust} of its files"]


def _missing_shards(track: Track, data_root: Path) -> list[str]:
    try:
        dataset = datasets.load_dataset(track.data.dataset)
    except DataError as error:
        return [str(error)]
    absent = datasets.missing_files(dataset, data_root, track.data.train_shards)
    return [f"{len(absent)} shards of {dataset.name}; `speedrun data download {dataset.name}`"] if absent else []


def write_source(found: RecoveredRun, folder: Path) -> Path:
    """Put the source into an empty folder, a package into folders of it; returns its entry. Raises UserError."""
    if not found.files:
        raise UserError(
            f"expected the source of {found.track}/{found.record.number}, found none for want of {found.no_source}"
        )
    for name, content in found.files.items():  # relative, and none leads outside: embedded.py and trees.py see to it
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise UserError(
                f"expected names of files in {found.commit or found.log}, found {name!r}: {error.strerror}"
            ) from error
    return folder / found.entry
