"""Imported standings: rows of a leaderboard made of another competition's records.

The time, or the number of steps, is the one its table claims; runs, mean loss and p are what its logs support; the
flags of the audit stand beside them. Their tier is `reported`, whatever a log says.
"""

from dataclasses import replace
from datetime import date

from harness.formats.track import Track
from harness.records.standings import Standing, difference

from .audit import AuditRow, audit
from .history import EmbeddedScript, History, ImportedRecord, read_history

UNDATED = date(1970, 1, 1)


def imported_standings(track: Track, *, official_only: bool = True) -> list[Standing]:
    """The imported records of a track in the order of their table; none where nothing was imported."""
    history = read_history(track.name)
    if history is None:
        return []
    rows: list[Standing] = []
    previous: Standing | None = None
    parent: EmbeddedScript | None = None
    for record, found in zip(history.records, audit(history, track), strict=True):
        source = source_of(history, record)
        row = _with_source(_standing(record, found, history, track, previous), source, parent)
        parent = source or parent
        if record.claim.train_time_s is not None:
            previous = row  # a re-timing of the record before is what the next one is compared with
        if record.official or not official_only:
            rows.append(row)
    return rows


def source_of(history: History, record: ImportedRecord) -> EmbeddedScript | None:
    """The script that most of its runs embed, the linked log's before others; None where none is known."""
    linked = [number for number in (record.link.runs if record.link else ()) if number in record.runs]
    scripts = [history.runs[number].script for number in linked or record.runs]
    known = [index for index in scripts if history.scripts[index].files]
    return history.scripts[max(known, key=scripts.count)] if known else None


def _with_source(row: Standing, source: EmbeddedScript | None, parent: EmbeddedScript | None) -> Standing:
    """How much source it is; the record before it in the table counts as what it builds on."""
    if source is None:
        return row
    return replace(
        row, source_files=source.files, source_lines=source.lines, source_bytes=source.size_bytes,
        source_lines_change=difference(source.lines, parent.lines if parent else None),
        source_bytes_change=difference(source.size_bytes, parent.size_bytes if parent else None),
    )  # fmt: skip


def below(imported: list[Standing], own: list[Standing]) -> list[Standing]:
    """Imported rows, then ours, whose places go on where theirs end."""
    last = max((row.place or 0 for row in imported), default=0)
    if not last:
        return imported + own
    return imported + [row if row.place is None else replace(row, place=row.place + last) for row in own]


def _standing(
    record: ImportedRecord, found: AuditRow, history: History, track: Track, previous: Standing | None
) -> Standing:
    time_s = record.claim.train_time_s
    before_s = previous.train_time_s if previous else None
    mean, target = found.val_loss, track.target_val_loss
    return Standing(
        place=record.number if record.official else None,
        name=f"{history.source.repository.rpartition('/')[2]} {record.number}",
        title=record.title,
        authors=record.authors,
        date=record.date or UNDATED,
        tier="reported",
        runs=found.runs,
        train_time_s=time_s,
        train_time_sd_s=None,
        val_loss=mean,
        saving=1 - time_s / before_s if time_s and before_s and record.official else None,
        hardware=", ".join(found.hardware),
        sandbox="none",
        status="imported",
        reached_target=None if mean is None or target is None else mean <= target,
        p_value=found.p_value,
        board_time_s=time_s,
        techniques=record.techniques,
        steps=record.claim.steps,
        flags=tuple(flag.id for flag in found.flags),
    )
