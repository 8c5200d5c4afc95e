"""The import of modded-nanogpt: its tables and logs, one history per track.

Read once: the tables, then every log in the order of its path, then every version of the training scripts. The result
depends on the checkout alone, so the same checkout gives the same bytes.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from harness.errors import UserError
from harness.selftimed.grammars import MODDED_NANOGPT
from harness.selftimed.logs import TrainingLog, read_log

from .checkout import Checkout, TrackedFile
from .claims import CatalogueEntry, ClaimedRow, catalogue, quoted_losses, step_rows, timed_rows
from .embedded import digest, split_source
from .groups import README, Member, linked_runs, own_runs, record_folder, runs_at_step
from .history import EmbeddedScript, History, ImportedRecord, ImportedRun, Link, Machine, Quoted, Source

REPOSITORY = "https://github.com/KellerJordan/modded-nanogpt"
LOG_SUFFIXES = (".txt", ".log", ".out", ".stdout")
TRACKS = {
    "gpt2-small-8xh100": ("records/track_1_short/", 3.28),
    "gpt2-medium-8xh100": ("records/track_2_medium/", 2.92),
    "optimizer-steps": ("records/track_3_optimization/", 3.28),
}
SCRIPTS = ("train_gpt2.py", "train_gpt.py", "train_gpt_medium.py", "triton_kernels.py", "dc_triton_kernels.py")
MAX_NUMBER = 10**12
MAX_TEXT_CHUNKS = 4  # of a README or a script
Progress = Callable[[int, int], None]
Quotes = dict[str, tuple[Quoted, ...]]  # by record folder
T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Archive:
    """Every run of a track, as its logs are read one by one. Tables hold each value once, with its index."""

    runs: list[Member] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    machines: dict[Machine, int] = field(default_factory=dict)
    scripts: dict[str, int] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)  # by digest
    digests: dict[bytes, str] = field(default_factory=dict)
    traces: dict[str, int] = field(default_factory=dict)

    def add(self, path: str, log: TrainingLog) -> None:
        env, pure = log.environment, PurePosixPath(path)
        machine = Machine(env.gpu, env.gpu_count, env.torch, env.cuda, env.python, env.triton, env.driver)
        script = self.digests.get(log.source)
        if script is None:  # logs of one group embed the same text
            script = self.digests[log.source] = digest(log.source)
        if log.runs:
            self.sources.setdefault(script, log.source)
        for index, logged in enumerate(log.runs):
            number, last = len(self.runs), logged.last
            first = self.traces.setdefault(logged.trace_sha256, number)
            time_ms = _finite(last.time_ms)
            row = ImportedRun(
                folder=_index(self.folders, str(pure.parent)),
                file=pure.name,
                position=index,
                val_loss=_finite(last.val_loss),
                train_time_ms=None if time_ms is None else round(time_ms),
                step=last.step or 0,
                total=last.total,
                validations=len(logged.validations),
                machine=_index(self.machines, machine),
                script=_index(self.scripts, script),
                copy_of=None if first == number else first,
            )
            self.runs.append(Member(number, path, row, logged))


def _index(table: dict[T, int], value: T) -> int:
    return table.setdefault(value, len(table))


def _finite(number: float | None) -> float | None:
    return number if number is not None and abs(number) < MAX_NUMBER else None  # False for nan


def import_history(checkout: Checkout, progress: Progress = lambda done, total: None) -> list[History]:
    """The histories of all three tracks. Raises UserError where the checkout is not one of modded-nanogpt."""
    optimizer = TRACKS["optimizer-steps"][0]
    tables = [*timed_rows(checkout.text(README)), step_rows(checkout.text(optimizer + README), optimizer)]
    if len(tables) != len(TRACKS) or not all(tables):
        raise UserError(f"expected the {len(TRACKS)} tables of modded-nanogpt, found {len(tables)} in {checkout.root}")
    files, words = checkout.files("records"), catalogue()
    archives = _read_logs(checkout, files, progress)
    quoted, committed = _read_quoted(checkout, files), _committed(checkout)
    return [
        _history(track, checkout.commit, archives[track], _described(rows, words.get(track, [])), quoted, committed)
        for track, rows in zip(TRACKS, tables, strict=True)
    ]


def _read_logs(checkout: Checkout, files: list[TrackedFile], progress: Progress) -> dict[str, _Archive]:
    archives = {track: _Archive() for track in TRACKS}
    logs = [file for file in files if file.path.endswith(LOG_SUFFIXES)]
    for done, (file, chunks) in enumerate(checkout.read(logs), start=1):
        track = next((name for name, (folder, _) in TRACKS.items() if file.path.startswith(folder)), None)
        if track is not None:
            archives[track].add(file.path, read_log(chunks, MODDED_NANOGPT, with_training=False))
        progress(done, len(logs))
    return archives


def _read_quoted(checkout: Checkout, files: list[TrackedFile]) -> Quotes:
    """The lists of losses in the READMEs of the two timed tracks."""
    found: dict[str, list[Quoted]] = defaultdict(list)
    timed = list(TRACKS.values())[:2]
    for file, chunks in checkout.read(f for f in files if f.path.endswith(".md")):
        for folder, target in timed:
            if file.path.startswith(folder):
                found[record_folder(file.path)] += quoted_losses(_text(chunks), target)
    return {folder: tuple(dict.fromkeys(lists)) for folder, lists in found.items()}


def _text(chunks: Iterator[bytes]) -> str:
    return b"".join(itertools.islice(chunks, MAX_TEXT_CHUNKS)).decode(errors="replace")


def _committed(checkout: Checkout) -> frozenset[str] | None:
    """Digests of every version of the repository's own training scripts; None without history."""
    if not checkout.commit:
        return None
    blobs = checkout.past_blobs(SCRIPTS)
    scripts = checkout.read(TrackedFile("", 0, blob) for blob in sorted(blobs))
    return frozenset(digest(b"".join(itertools.islice(chunks, MAX_TEXT_CHUNKS))) for _, chunks in scripts)


def _described(rows: list[ClaimedRow], entries: list[CatalogueEntry]) -> list[tuple[ClaimedRow, CatalogueEntry]]:
    """Each row with its entry: the first of its number, then the second, as re-timings repeat a number."""
    waiting: dict[int, list[CatalogueEntry]] = defaultdict(list)
    for entry in entries:
        waiting[entry.number].append(entry)
    unknown = [CatalogueEntry(number=row.number, title=f"row {row.number}") for row in rows]
    return [(row, (waiting[row.number] or [new]).pop(0)) for row, new in zip(rows, unknown, strict=True)]


def _history(
    track: str,
    commit: str,
    archive: _Archive,
    rows: list[tuple[ClaimedRow, CatalogueEntry]],
    quoted: Quotes,
    committed: frozenset[str] | None,
) -> History:
    return History(
        track=track,
        source=Source(repository=REPOSITORY, commit=commit),
        folders=tuple(archive.folders),
        machines=tuple(archive.machines),
        scripts=tuple(EmbeddedScript(sha, _is_committed(archive.sources[sha], committed)) for sha in archive.scripts),
        runs=tuple(run.row for run in archive.runs),
        records=tuple(_record(row, entry, archive.runs, quoted) for row, entry in rows),
    )


def _is_committed(source: bytes, committed: frozenset[str] | None) -> bool | None:
    """Whether every file of an embedded source is a version that was committed."""
    if committed is None or not source:
        return None
    return all(digest(text) in committed for text in split_source(source).values())


def _record(row: ClaimedRow, entry: CatalogueEntry, runs: list[Member], quoted: Quotes) -> ImportedRecord:
    linked, exists = linked_runs(row.link, runs)
    is_log = len({run.path for run in linked}) == 1
    folder = record_folder(linked[0].path if linked else row.link) if row.link else None
    group = entry.group or ("step" if row.claim.steps else "script" if is_log else "folder")
    losses: tuple[float, ...] = ()
    if row.claim.steps:
        members, losses = runs_at_step(row.claim.steps, entry.metric, row.link, linked, runs)
        own = members
    else:
        members = own_runs(group, linked, runs) if linked else []
        own = [run for run in members if run.row.is_complete]
    return ImportedRecord(
        number=row.number,
        official=row.held_record if row.claim.steps else entry.official,
        date=row.date,
        title=entry.title,
        authors=entry.authors or row.handles,
        techniques=entry.techniques,
        systems_only=entry.systems_only,
        claim=row.claim,
        pull_request=row.pull_request or entry.pull_request,
        folder=folder,
        link=Link(row.link, exists, tuple(run.number for run in linked) if is_log else ()) if row.link else None,
        group=group,
        metric=entry.metric,
        runs=tuple(run.number for run in own),
        losses=losses,
        left_out=len(members) - len(own),
        quoted=() if row.claim.steps else quoted.get(folder or "", ()),
        note=entry.note,
    )
