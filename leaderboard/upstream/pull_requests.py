"""Pull requests: the claims in a checkout that no table has, read from fetched heads and from the tree itself.

A claim is a folder below records/ that a head has and the tables' commit has not, with logs, or with a README that
states a result. What was merged since, under whatever name, is told by its objects. Nothing of it is believed or run:
numbers come out of logs and documents, bounded, and every file that could not be had is named.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from data.printing import printable
from harness.errors import UserError

from .archive import LOG_SUFFIXES, Archive
from .arms import Arm, arms_of, choose, said_of
from .checkout import Checkout, PullHead
from .groups import SHARED_FOLDER, Member, loss_at, record_folder
from .history import Claim, History, Metric, Source, Stated
from .importing import TRACKS, ReadCheckout, text_of
from .merges import day_of
from .objects import UNREADABLE, TrackedFile
from .open_claims import ClaimBoard, OpenClaim, Status
from .stated import read_stated, with_baseline
from .stated_claims import stated_claims

MAX_FOLDERS = 8  # of one head
MAX_LOGS = 2_000  # of one folder
MAX_DOCUMENTS = 12
MAX_PARENTS = 6
DOCUMENT = re.compile(
    r"(?:readme|statistics|stats|results?|pr_description|pr_body|summary)[\w-]{0,40}\.(?:md|txt)\Z", re.I
)
_CLAIMED_STEPS = re.compile(r"(?<!\d)(\d{4})(?!\d)")
_REQUEST = re.compile(r"(?:/pull/|\bPR[ -]?#?|(?<![\w#])#)(\d{3,5})\b", re.I)
_ROW = re.compile(r"\b(?:record|row) {0,2}#?(\d{1,3})\b", re.I)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _ClaimFolder:
    """A folder that may be a claim."""

    key: str
    checkout: Checkout
    head: PullHead | None  # None: in the tree itself
    status: Status
    track: str
    folder: str
    logs: list[TrackedFile]
    documents: list[TrackedFile]


@dataclass(slots=True)
class _Board:
    """What accumulates for one track."""

    archive: Archive = field(default_factory=Archive)
    claims: list[OpenClaim] = field(default_factory=list)


def import_claims(
    checkout: Checkout, imported: ReadCheckout, progress: Progress = lambda done, total: None
) -> list[ClaimBoard]:
    """The open claims of every track. A plain folder has those of its own tree."""
    boards = {track: _Board() for track in TRACKS}
    lost = boards[next(iter(TRACKS))].archive.lose  # a head that cannot be read is of no track
    found = [*_in_the_tree(checkout, imported), *_in_heads(checkout, imported, lost)]
    for done, folder in enumerate(found, start=1):
        if claim := _read(folder, boards[folder.track].archive, imported):
            boards[folder.track].claims.append(claim)
        progress(done, len(found))
    return [_finished(boards[history.track], history, imported) for history in imported.histories]


def _finished(board: _Board, history: History, imported: ReadCheckout) -> ClaimBoard:
    typed = stated_claims(history.track, {claim.pull_request for claim in board.claims if claim.pull_request})
    archive = board.archive
    return ClaimBoard(
        track=history.track,
        source=Source(repository=history.source.repository, commit=history.source.commit),
        folders=tuple(archive.folders),
        machines=tuple(archive.machines),
        scripts=archive.table_of_scripts(imported.committed),
        runs=tuple(run.row for run in archive.runs),
        claims=tuple([*board.claims, *typed]),
        lost=tuple(archive.lost),
    )


# --------------------------------------------------------------------------------- which folders may be claims


def _in_the_tree(checkout: Checkout, imported: ReadCheckout) -> Iterable[_ClaimFolder]:
    """Folders with logs that no row links; a folder of many optimizers' single logs is none."""
    linked = {record.folder for history in imported.histories for record in history.records}
    accepted = {file.blob for file in imported.files if file.blob and _folder_of(file.path) in linked}
    for track, folder, files in _by_folder(imported.files):
        if folder not in linked and PurePosixPath(folder).name != SHARED_FOLDER:
            logs, documents = _sorted(files)
            if any(log.blob not in accepted for log in logs):  # not only copies of a record's
                key = printable(PurePosixPath(folder).name)[:80]
                yield _ClaimFolder(key, checkout, None, "not in the table", track, folder, logs, documents)


def _in_heads(checkout: Checkout, imported: ReadCheckout, lost: Callable[[str, str], None]) -> Iterable[_ClaimFolder]:
    """Folders of heads that were not merged, each at the first pull request that has it."""
    heads = checkout.pull_heads()
    merged = checkout.ancestors() if heads else set()
    accepted = {record.pull_request for history in imported.histories for record in history.records}
    here = {file.blob for file in imported.files}
    folders = {
        record_folder(file.path) for file in imported.files if PurePosixPath(file.path).parent.name != SHARED_FOLDER
    }
    seen: set[tuple[str, ...]] = set()
    for head in heads:
        if head.commit in merged or head.number in accepted:
            continue
        try:
            there, count = Checkout(checkout.root, head.commit), 0
            folders_there = _by_folder(there.files("records"))
        except UserError:  # one stranger's broken commit is no reason to read none
            lost(f"refs/pull/{head.number}/head", UNREADABLE)
            continue
        for track, folder, files in folders_there:
            new = [file for file in files if file.blob not in here]
            logs, documents = _sorted(new)
            before = sum(file.path.endswith(LOG_SUFFIXES) for file in files) - len(logs)
            shared = PurePosixPath(folder).name == SHARED_FOLDER
            mark = tuple(sorted(file.blob for file in logs or documents))
            if not mark or mark in seen or (not shared and (folder in folders or before > len(logs))):
                continue
            seen.add(mark)
            count += 1
            key = f"{head.number}" if count == 1 else f"{head.number}-{count}"
            status: Status = "open" if head.has_merge else "unmerged"
            yield _ClaimFolder(key, there, head, status, track, folder, logs, documents)
            if count == MAX_FOLDERS:
                break


def _by_folder(files: Iterable[TrackedFile]) -> list[tuple[str, str, list[TrackedFile]]]:
    """Track, record folder, its files. What lies in no track's folder is of the first one."""
    found: dict[str, list[TrackedFile]] = defaultdict(list)
    for file in files:
        if file.path.count("/") > 1:
            found[_folder_of(file.path)].append(file)
    first = next(iter(TRACKS))
    tracks = {
        folder: next((t for t, (top, _) in TRACKS.items() if f"{folder}/".startswith(top)), first) for folder in found
    }
    tops = {top.rstrip("/") for top, _ in TRACKS.values()}
    return [(tracks[folder], folder, files) for folder, files in found.items() if folder not in tops]


def _folder_of(path: str) -> str:
    """As a record's, also where it lies beside the tracks' folders instead of in one."""
    in_track = any(path.startswith(top) for top, _ in TRACKS.values())
    return record_folder(path) if in_track else "/".join(PurePosixPath(path).parts[:2])


def _sorted(files: list[TrackedFile]) -> tuple[list[TrackedFile], list[TrackedFile]]:
    """Logs and documents."""
    documents = [file for file in files if DOCUMENT.match(PurePosixPath(file.path).name)]
    logs = [file for file in files if file.path.endswith(LOG_SUFFIXES) and file not in documents]
    return logs[:MAX_LOGS], sorted(documents, key=_telling)[:MAX_DOCUMENTS]


def _telling(file: TrackedFile) -> tuple[bool, bool, int, str]:
    """Statistics before READMEs, those of the candidate first, nearer ones first."""
    pure = PurePosixPath(file.path)
    return "stat" not in pure.name.lower(), said_of(pure.parent)[0] != "own", len(pure.parts), file.path


# ------------------------------------------------------------------------------------------------- one claim


def _read(found: _ClaimFolder, archive: Archive, imported: ReadCheckout) -> OpenClaim | None:
    """None where there is nothing in it that a run could have said."""
    target, counts_steps = TRACKS[found.track][1], found.track == "optimizer-steps"
    before = len(archive.runs)
    archive.read(found.checkout, found.logs)
    runs = archive.runs[before:]
    stated, text = _read_documents(found, archive, target, runs, counts_steps=counts_steps)
    own, beside, arms = _arms(found, runs, stated, archive, imported, may_stop=counts_steps)
    steps = _claimed_steps(found, stated, own) if counts_steps else None
    if not runs and not (steps if counts_steps else stated.time_s if stated else None):
        return None
    members = list(own.runs if own and counts_steps else own.whole if own else ())
    losses: tuple[float, ...] = ()
    metric: Metric = "val_loss"
    if steps:
        members, losses, metric = _at_step(members, steps, stated)
    seconds, author = found.checkout.about(found.head.commit) if found.head else (0, "")
    return OpenClaim(
        key=found.key,
        title=_title(found.folder),
        status=found.status,
        pull_request=found.head.number if found.head else None,
        commit=found.checkout.commit,
        folder=found.folder,
        authors=(printable(author)[:60],) if author else (),
        date=day_of(seconds),
        claim=_claim(stated, steps),
        stated=stated,
        group=own.name if own else "",
        runs=tuple(run.number for run in members),
        losses=losses,
        metric=metric,
        left_out=len(own.runs) - len(members) if own else 0,
        baseline=tuple(run.number for run in beside.whole) if beside else (),
        other_runs=sum(len(arm.runs) for arm in arms if arm is not own and arm is not beside),
        parents=_parents(found, text),
    )


def _arms(
    found: _ClaimFolder,
    runs: list[Member],
    stated: Stated | None,
    archive: Archive,
    imported: ReadCheckout,
    *,
    may_stop: bool,
) -> tuple[Arm | None, Arm | None, list[Arm]]:
    scripts = archive.table_of_scripts(imported.committed)
    arms = arms_of(runs, found.folder, lambda i: scripts[i].committed, archive.machine, may_stop=may_stop)
    return *choose(arms, stated), arms


def _read_documents(
    found: _ClaimFolder, archive: Archive, target: float, runs: list[Member], *, counts_steps: bool
) -> tuple[Stated | None, str]:
    """What its documents state, and all of their words for those that name parents."""
    own: list[str] = []
    baseline: list[str] = []
    for file, chunks in found.checkout.read(found.documents):
        text = text_of(chunks)
        for _ in chunks:
            pass
        if file.key in found.checkout.damage:
            archive.lose(file.path, found.checkout.damage[file.key])
            continue
        inside = PurePosixPath(file.path[len(found.folder) + 1 :])
        (baseline if said_of(inside)[0] == "baseline" else own).append(text)
    times = [run.row.train_time_ms / 1000 for run in runs if run.row.train_time_ms]
    about_s = statistics.median(times) if times else None
    stated = read_stated(own, target, counts_steps=counts_steps, about_s=about_s)
    against = read_stated(baseline, target, counts_steps=counts_steps, about_s=about_s)
    return with_baseline(stated, against), "\n".join(own)


def _claim(stated: Stated | None, steps: int | None) -> Claim:
    if stated is None:
        return Claim(steps=steps)
    return Claim(train_time_s=stated.time_s, steps=steps, val_loss=stated.val_loss, runs=stated.runs)


def _claimed_steps(found: _ClaimFolder, stated: Stated | None, own: Arm | None) -> int | None:
    """As the folder's name has it, which upstream's do; else as its documents do; else where all of its runs end."""
    named = [int(text) for text in _CLAIMED_STEPS.findall(re.sub(r"\A\d{6,8}", "", PurePosixPath(found.folder).name))]
    likely = [number for number in named if 1_000 <= number < 10_000]
    if likely or (stated and stated.steps):
        return likely[-1] if likely else stated.steps if stated else None
    ends = {run.row.step for run in own.runs} if own else set()
    return ends.pop() if len(ends) == 1 else None


def _at_step(
    members: list[Member], steps: int, stated: Stated | None
) -> tuple[list[Member], tuple[float, ...], Metric]:
    """The runs that were validated at a step, and their losses there by the metric that is nearer to its words."""
    found: dict[Metric, list[tuple[Member, float]]] = {}
    metrics: tuple[Metric, ...] = ("val_loss", "val_ema_loss")
    for metric in metrics:
        at = [(run, loss_at(run.logged, steps, metric)) for run in members]
        if kept := [(run, loss) for run, loss in at if loss is not None]:
            found[metric] = kept
    if not found:
        return members, (), "val_loss"
    said = stated.val_loss if stated else None
    means = {metric: statistics.fmean(loss for _, loss in kept) for metric, kept in found.items()}
    best = min(means, key=lambda metric: abs(means[metric] - said)) if said else next(iter(means))
    return [run for run, _ in found[best]], tuple(loss for _, loss in found[best]), best


def _title(folder: str) -> str:
    """2026-07-28_LayerDropout -> Layer Dropout: the folder's name, without its date."""
    name = re.sub(r"\A[\d-]{6,10}[-_]", "", PurePosixPath(folder).name) or PurePosixPath(folder).name
    return printable(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " "))[:120]


def _parents(found: _ClaimFolder, text: str) -> tuple[str, ...]:
    """Pull requests and rows that its documents, or the folders of its logs, name."""
    own = found.head.number if found.head else 0
    places = " ".join(sorted({str(PurePosixPath(log.path).parent.name) for log in found.logs}))
    words = f"{places}\n{text[:200_000]}"
    requests = dict.fromkeys(int(number) for number in _REQUEST.findall(words))
    rows = dict.fromkeys(int(number) for number in _ROW.findall(words))
    named = [f"PR {number}" for number in requests if number != own] + [f"row {number}" for number in rows if number]
    return tuple(named[:MAX_PARENTS])
