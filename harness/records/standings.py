"""Standings: the rows of a leaderboard, derived from records and local runs. Pure; nothing is typed by hand.

A record's time is the mean over its valid runs. It was raced against the record before it on one machine, so the order
of acceptance is the order of the board; a time from another kind of machine is not compared with its neighbours, its
ratio to the baseline beside it is. Local runs stand below, one row each: they were refereed here, but nobody has
submitted them.

A change of the major rules version opens a new standing: places, savings and board times begin anew, and the rows of
older rules are marked. They say what they said, and nothing about the new ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from ..formats.track import rules_major
from ..system.clock import NS
from .entry import RecordEntry, entry_of, hardware

if TYPE_CHECKING:
    from ..formats.run import RunRecord
    from .record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One row. What only records have is None for a local run."""

    place: int | None  # 1 is the first record of its major rules; None for local runs
    name: str
    title: str
    authors: tuple[str, ...]
    date: date
    tier: str  # reported, refereed, reproduced; local for runs nobody submitted
    runs: int
    train_time_s: float | None  # mean over the runs
    train_time_sd_s: float | None
    val_loss: float | None  # mean over the runs
    saving: float | None  # share of the previous record's time that this one saves, on one machine where it was raced
    hardware: str
    sandbox: str
    status: str
    reached_target: bool | None
    train_time_low_s: float | None = None  # 95 % interval of the mean
    train_time_high_s: float | None = None
    p_value: float | None = None  # of the track's test against its target
    ratio: float | None = None  # its time / its baseline's, from the pairs of their race
    baseline: str | None = None  # the record it was raced against
    placed_by: Literal["time", "ratio"] | None = None  # ratio: its machine is not the previous record's
    board_time_s: float | None = None  # its time, as it would be on the machine of the board's first record
    signer: str | None = None  # fingerprint of the key that signed it
    challenges: int = 0  # intact ones; refutations among them
    refutations: int = 0
    techniques: tuple[str, ...] = ()
    claim: str | None = None
    steps: int | None = None  # claimed, on a track that counts steps
    flags: tuple[str, ...] = ()  # imported records: what the audit would have a reader look at
    source_files: int | None = None
    source_lines: int | None = None  # that are not empty
    source_bytes: int | None = None
    source_lines_change: int | None = None  # against the record it builds on
    source_bytes_change: int | None = None
    rules_version: str | None = None  # it was made under; None: another competition's, or one run timed by itself
    badge: Literal["campaign"] | None = None  # reported: a whole campaign of scripts that timed themselves
    older_rules: bool = False  # of a major version that is not the track's any more: it stands below, nobody races it

    @property
    def mark(self) -> str:
        """What tells a row of older rules from one that can be beaten; empty for the latter."""
        return f"rules {rules_major(self.rules_version)}" if self.older_rules and self.rules_version else ""


def standings(
    records: "list[Record]", local: "Sequence[RunRecord]", *, major: int | None = None
) -> list[Standing]:  # fmt: skip
    """Records in the order they come, those of older major rules first, then local runs, oldest first."""
    return standings_of([entry_of(record) for record in records], local, major=major)


def standings_of(
    entries: Sequence[RecordEntry], local: "Sequence[RunRecord]" = (), *, major: int | None = None
) -> list[Standing]:
    """The same of entries, which an index may have kept. major: of the track's rules; None: of the newest record's."""
    of = {entry.name: rules_major(entry.rules_version) for entry in entries}
    current = max(of.values(), default=0) if major is None else major
    named = {entry.name: entry for entry in entries}
    rows: list[Standing] = []
    for one in sorted(set(of.values())):
        rows += _of_one_major([entry for entry in entries if of[entry.name] == one], named, one < current)
    return rows + [_of_run(run, major) for run in local]


def newest_standing(rows: Iterable[Standing]) -> list[Standing]:
    """The rows with a place that may be compared: of the newest major rules among them, and another competition's."""
    held = [row for row in rows if row.place is not None]
    newest = max((rules_major(row.rules_version) for row in held if row.rules_version), default=0)
    return [row for row in held if row.rules_version is None or rules_major(row.rules_version) == newest]


def _of_one_major(entries: Sequence[RecordEntry], named: Mapping[str, RecordEntry], older: bool) -> list[Standing]:
    rows: list[Standing] = []
    previous: RecordEntry | None = None
    for place, entry in enumerate(entries, start=1):
        parent = named.get(entry.parent) if entry.parent else None
        rows.append(_of_entry(place, entry, previous, rows[-1] if rows else None, parent, older))
        previous = entry
    return rows


def _of_entry(
    place: int,
    entry: RecordEntry,
    previous: RecordEntry | None,
    above: Standing | None,
    parent: RecordEntry | None,
    older: bool,
) -> Standing:
    like = previous is None or entry.machine == previous.machine
    saving = _saving(entry, previous, like)
    return Standing(
        place=place,
        name=entry.name,
        title=entry.title,
        authors=entry.authors,
        date=entry.date,
        tier=entry.tier,
        runs=entry.runs,
        train_time_s=entry.mean_time_s,
        train_time_sd_s=entry.sd_time_s,
        val_loss=entry.mean_loss,
        saving=saving,
        hardware=entry.hardware,
        sandbox=entry.sandbox,
        status="complete" if entry.valid == entry.runs else f"{entry.runs - entry.valid} runs not valid",
        reached_target=entry.reached_target,
        train_time_low_s=entry.time_low_s,
        train_time_high_s=entry.time_high_s,
        p_value=entry.p_value,
        ratio=entry.ratio,
        baseline=entry.baseline,
        placed_by="time" if like else "ratio",
        board_time_s=_board_time(entry.mean_time_s, saving, like, above),
        signer=entry.signer,
        challenges=entry.challenges,
        refutations=entry.refutations,
        techniques=entry.techniques,
        claim=entry.claim,
        source_files=entry.source_files,
        source_lines=entry.source_lines,
        source_bytes=entry.source_bytes,
        source_lines_change=difference(entry.source_lines, parent.source_lines if parent else None),
        source_bytes_change=difference(entry.source_bytes, parent.source_bytes if parent else None),
        rules_version=entry.rules_version,
        older_rules=older,
    )


def difference(one: int | None, other: int | None) -> int | None:
    """None where one of them is not known."""
    return None if one is None or other is None else one - other


def _saving(entry: RecordEntry, previous: RecordEntry | None, like: bool) -> float | None:
    """From the race of the two where there was one; from their own times only on like machines."""
    if previous is None or entry.mean_time_s is None:
        return None
    if entry.ratio is not None and entry.baseline == previous.name:
        return 1 - entry.ratio
    return 1 - entry.mean_time_s / previous.mean_time_s if previous.mean_time_s and like else None


def _board_time(mean_s: float | None, saving: float | None, like: bool, above: Standing | None) -> float | None:
    """Its own time while the board's records come from one kind of machine; from then on what its saving leaves of
    the time above it."""
    if above is None or (like and above.board_time_s == above.train_time_s):
        return mean_s
    if above.board_time_s is None or saving is None:
        return None
    return above.board_time_s * (1 - saving)


def _of_run(run: "RunRecord", major: int | None) -> Standing:
    time_ns = run.time_ns
    return Standing(
        place=None,
        name=run.run_id,
        title=run.submission.entry + (" (practice)" if run.practice else ""),
        authors=(),
        date=run.started_at.date(),
        tier="local",
        runs=1,
        train_time_s=None if time_ns is None or run.score is None else time_ns / NS,
        train_time_sd_s=None,
        val_loss=None if run.score is None else run.score.val_loss,
        saving=None,
        hardware=hardware(run),
        sandbox=run.sandbox or "none",
        status=_verdict(run),
        reached_target=run.reached_target,
        rules_version=run.track.rules_version,
        older_rules=major is not None and rules_major(run.track.rules_version) < major,
    )


def _verdict(run: "RunRecord") -> str:
    """The status, or the first rule a complete run broke."""
    return f"broke {run.errors[0].id}" if run.errors else str(run.status)
