"""The import of modded-nanogpt: its tables and logs, one history per track.

Read once: the tables, then every log in the order of its path, then every version of the training scripts, and the main
line for the days of the merges. The result depends on the checkout alone, so the same checkout gives the same bytes.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from harness.errors import UserError
from harness.formats.track import load_track

from .archive import LOG_SUFFIXES, Archive
from .arms import arms_of, choose
from .audit import with_shown
from .checkout import Checkout
from .claims import CatalogueEntry, ClaimedRow, catalogue, quoted_losses, step_rows, timed_rows
from .embedded import digest
from .groups import README, Member, linked_runs, own_runs, record_folder, runs_at_step
from .history import History, ImportedRecord, Link, Quoted, Source, Stated
from .merges import Merges, read_merges
from .newer_rows import NewerRow, newer_rows, read_newer
from .objects import TrackedFile

REPOSITORY = "https://github.com/KellerJordan/modded-nanogpt"
TRACKS = {
    "gpt2-small-8xh100": ("records/track_1_short/", 3.28),
    "gpt2-medium-8xh100": ("records/track_2_medium/", 2.92),
    "optimizer-steps": ("records/track_3_optimization/", 3.28),
}
SCRIPTS = ("train_gpt2.py", "train_gpt.py", "train_gpt_medium.py", "triton_kernels.py", "dc_triton_kernels.py")
MAX_TEXT_CHUNKS = 4  # of a README or a script
Progress = Callable[[int, int], None]
Quotes = dict[str, tuple[Quoted, ...]]  # by record folder


@dataclass(frozen=True, slots=True)
class ReadCheckout:
    """What was read of a checkout, beside the histories: what reading its open claims needs again."""

    histories: list[History]
    files: list[TrackedFile]
    committed: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What a row is completed with."""

    archive: Archive
    quoted: Quotes
    committed: frozenset[str] | None
    merges: Merges


def import_history(checkout: Checkout, progress: Progress = lambda done, total: None) -> list[History]:
    """The histories of all three tracks. Raises UserError where the checkout is not one of modded-nanogpt."""
    return import_all(checkout, progress).histories


def import_all(checkout: Checkout, progress: Progress = lambda done, total: None) -> ReadCheckout:
    """The same, with what was read on the way."""
    optimizer = TRACKS["optimizer-steps"][0]
    tables = [*timed_rows(checkout.text(README)), step_rows(checkout.text(optimizer + README), optimizer)]
    if len(tables) != len(TRACKS) or not all(tables):
        raise UserError(f"expected the {len(TRACKS)} tables of modded-nanogpt, found {len(tables)} in {checkout.root}")
    files, words = checkout.files("records"), catalogue()
    archives = _read_logs(checkout, files, progress)
    quoted, committed = _read_quoted(checkout, files, archives), _committed(checkout)
    merges = read_merges(checkout)
    heads, histories = checkout.pull_heads(), []
    for track, rows in zip(TRACKS, tables, strict=True):
        known = _Known(archives[track], quoted, committed, merges)
        newer = newer_rows(track, rows[-1].number)
        commits = {row.folder: read_newer(row, known.archive, checkout, heads) for row in newer}
        histories.append(_history(track, checkout, known, _described(rows, newer, words.get(track, [])), commits))
    return ReadCheckout(histories, files, committed)


def _read_logs(checkout: Checkout, files: list[TrackedFile], progress: Progress) -> dict[str, Archive]:
    archives, counted = {track: Archive() for track in TRACKS}, itertools.count(1)
    logs = [file for file in files if file.path.endswith(LOG_SUFFIXES)]
    for track, (folder, _) in TRACKS.items():
        mine = [file for file in logs if file.path.startswith(folder)]
        archives[track].read(checkout, mine, lambda: progress(next(counted), len(logs)))
    return archives


def _read_quoted(checkout: Checkout, files: list[TrackedFile], archives: dict[str, Archive]) -> Quotes:
    """The lists of losses in the READMEs of the two timed tracks."""
    found: dict[str, list[Quoted]] = defaultdict(list)
    timed = list(TRACKS.items())[:2]
    for file, chunks in checkout.read(f for f in files if f.path.endswith(".md")):
        text = text_of(chunks)
        for _ in chunks:  # to its end, where it is known whether it is what its name says
            pass
        for track, (folder, target) in timed:
            if file.path.startswith(folder):
                if file.key in checkout.damage:
                    archives[track].lose(file.path, checkout.damage[file.key])
                else:
                    found[record_folder(file.path)] += quoted_losses(text, target)
    return {folder: tuple(dict.fromkeys(lists)) for folder, lists in found.items()}


def text_of(chunks: Iterator[bytes]) -> str:
    """As much of a document as anybody reads."""
    return b"".join(itertools.islice(chunks, MAX_TEXT_CHUNKS)).decode(errors="replace")


def _committed(checkout: Checkout) -> frozenset[str] | None:
    """Digests of every version of the repository's own training scripts; None without history, or with holes in it."""
    if not checkout.commit:
        return None
    blobs = checkout.past_blobs(SCRIPTS)
    scripts = checkout.read(TrackedFile("", 0, blob) for blob in sorted(blobs))
    found = frozenset(digest(b"".join(itertools.islice(chunks, MAX_TEXT_CHUNKS))) for _, chunks in scripts)
    return None if checkout.damage.keys() & blobs else found


@dataclass(frozen=True, slots=True)
class _Described:
    """A row, our words on it, and what was typed where the checkout ends before it."""

    row: ClaimedRow
    entry: CatalogueEntry
    is_known: bool  # the words are from the catalogue
    merged: date | None = None
    stated: Stated | None = None


def _described(rows: list[ClaimedRow], newer: list[NewerRow], entries: list[CatalogueEntry]) -> list[_Described]:
    """Each row with its entry: the first of its number, then the second, as re-timings repeat a number."""
    waiting: dict[int, list[CatalogueEntry]] = defaultdict(list)
    for entry in entries:
        waiting[entry.number].append(entry)
    found = []
    for row, typed in [*((row, None) for row in rows), *((typed.row, typed) for typed in newer)]:
        mine = waiting[row.number].pop(0) if waiting[row.number] else None
        authors = row.handles if len(row.handles) >= len(row.names) else row.names
        entry = mine or CatalogueEntry(number=row.number, title=row.title or f"row {row.number}", authors=authors)
        merged, stated = (typed.merged, typed.as_stated) if typed else (None, None)
        found.append(_Described(row, entry, mine is not None, merged, stated))
    return found


def _history(track: str, checkout: Checkout, known: _Known, rows: list[_Described], commits: dict[str, str]) -> History:
    archive, folder = known.archive, TRACKS[track][0]
    records = tuple(_record(row, known) for row in rows)
    history = History(
        track=track,
        source=Source(repository=REPOSITORY, commit=checkout.commit),
        folders=tuple(archive.folders),
        machines=tuple(archive.machines),
        scripts=archive.table_of_scripts(known.committed),
        runs=tuple(run.row for run in archive.runs),
        records=records,
        heads={place: commit for place, commit in commits.items() if place.startswith(folder)},
        lost=tuple(archive.lost),
    )
    return with_shown(history, load_track(track))


def _record(found: _Described, known: _Known) -> ImportedRecord:
    row, entry, runs = found.row, found.entry, known.archive.runs
    linked, exists = linked_runs(row.link, runs)
    is_log = len({run.path for run in linked}) == 1
    folder = record_folder(linked[0].path if linked else row.link) if row.link else None
    group, members, losses, baseline = _own(found, known, linked, is_log=is_log)
    own = members if row.claim.steps else [run for run in members if run.row.is_complete]
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
        quoted=() if row.claim.steps else known.quoted.get(folder or "", ()),
        note=entry.note,
        merged=found.merged or known.merges.day_of(row.pull_request or entry.pull_request, row.link, folder),
        baseline=tuple(run.number for run in baseline),
        stated=found.stated,
    )


def _own(
    found: _Described, known: _Known, linked: list[Member], *, is_log: bool
) -> tuple[str, list[Member], tuple[float, ...], list[Member]]:
    """The rule, the runs it gives, their losses at the claimed step, and the runs they were raced against."""
    row, entry, runs = found.row, found.entry, known.archive.runs
    if row.claim.steps:
        members, losses = runs_at_step(row.claim.steps, entry.metric, row.link, linked, runs)
        return entry.group or "step", members, losses, []
    group = entry.group or ("script" if is_log else "folder")
    if not linked:
        return group, [], (), []
    if not is_log and not found.is_known:
        scripts = known.archive.table_of_scripts(known.committed)
        arms = arms_of(linked, record_folder(linked[0].path), lambda i: scripts[i].committed, known.archive.machine)
        own, beside = choose(arms, found.stated)
        if own is not None and len(arms) > 1:
            return f"arm {own.name}", list(own.runs), (), beside.whole if beside else []
    against = own_runs(f"folder {entry.baseline}", linked, runs) if entry.baseline else []
    return group, own_runs(group, linked, runs), (), [run for run in against if run.row.is_complete]
