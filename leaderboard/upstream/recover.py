"""Recovery: an imported record's source and environment, from the user's own checkout.

The log embeds the script; a banner divides it into files. The environment is what the log says; what of it can no
longer be installed is replaced by the nearest release, and every difference is a sentence. What this machine lacks is
listed before anything starts.
"""

import itertools
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data import datasets
from data.errors import DataError
from harness.errors import UserError
from harness.formats.environment import Gpu
from harness.formats.track import Track
from harness.records.environments import find_python
from harness.selftimed.grammars import MODDED_NANOGPT
from harness.selftimed.logs import read_log

from .checkout import Checkout
from .embedded import digest, entry_of, split_source
from .history import History, ImportedRecord, ImportedRow, ImportedRun, Machine
from .releases import Nearest, nearest_torch

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
    files: dict[str, bytes]  # the source, by name; empty without a checkout
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
    source, problems = _source(checkout, log, history, history.scripts[run.script].sha256) if run else (b"", [])
    files = split_source(source) if source else {}
    nearest = nearest_torch(machine.torch, machine.cuda, machine.triton) if machine and machine.torch else None
    missing = [
        *_missing_log(run, nearest),
        *problems,
        *([] if checkout or run is None else ["a checkout of its repository with the log; see --checkout"]),
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
        packages=_packages(nearest, files),
        differences=_differences(nearest, machine),
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


def _source(checkout: Path | None, log: str, history: History, sha256: str) -> tuple[bytes, list[str]]:
    """The embedded source of a log, and what is wrong with it. sha256: empty where only the log's end was known."""
    if checkout is None or not log:
        return b"", []
    opened = Checkout(checkout)
    if history.commit_of(log) != history.source.commit and not any(file.path == log for file in opened.files(log)):
        opened = _elsewhere(checkout, history.commit_of(log)) or opened  # it came with a pull request
    for file, chunks in opened.read([file for file in opened.files(log) if file.path == log]):
        source = read_log(itertools.islice(chunks, MAX_LOG_CHUNKS), MODDED_NANOGPT, with_training=False).source
        if file.key in opened.damage:
            return b"", [f"the log {log}, of which this checkout says that {opened.damage[file.key]}"]
        if not source:
            return b"", ["the source: this log embeds none"]
        if sha256 and digest(source) != sha256:
            return source, [f"the same source: the history knows {sha256}, this log embeds {digest(source)}"]
        return source, []
    return b"", [f"the log {log}, which this checkout does not have"]


def _elsewhere(checkout: Path, commit: str) -> Checkout | None:
    try:
        return Checkout(checkout, commit)
    except UserError:  # it does not have that commit
        return None


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
        raise UserError(f"expected a log that embeds its source, found none for record {found.record.number}")
    for name, content in found.files.items():  # names of embedded.py: relative, without a dot at their beginning
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise UserError(f"expected names of files in {found.log}, found {name!r}: {error.strerror}") from error
    return folder / entry_of(found.files)
