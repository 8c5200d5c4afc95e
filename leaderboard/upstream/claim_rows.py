"""Rows of the board of claims: each claim's words beside what its logs hold. None of them is a record."""

from dataclasses import dataclass
from datetime import date

from harness.formats.track import Track

from .audit import AuditRow
from .history import History
from .open_claims import ClaimBoard, OpenClaim, audit_claims, gaps, read_claims


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """One claim. What its authors state, and what the logs in its folder hold, are never mixed."""

    key: str
    title: str
    status: str
    pull_request: int | None
    authors: tuple[str, ...]
    date: date | None
    parents: tuple[str, ...]
    claimed_time_s: float | None
    claimed_saving_s: float | None
    claimed_steps: int | None
    claimed_val_loss: float | None
    claimed_runs: int | None
    claimed_p_value: float | None
    runs: int
    time_s: float | None  # mean, by the scripts' own clock
    time_sd_s: float | None
    val_loss: float | None
    p_value: float | None
    baseline_runs: int
    baseline_time_s: float | None  # of the record before it, beside it on the same kind of machine
    baseline_val_loss: float | None
    ratio: float | None  # its time / the baseline's
    source_files: int | None
    source_lines: int | None
    source_bytes: int | None
    beats_record: bool | None  # whether its number is below the standing record's, on whatever machine
    flags: tuple[str, ...]
    gaps: tuple[str, ...]  # what neither documents nor logs say
    note: str
    url: str  # of its folder, or its pull request

    @property
    def is_whole(self) -> bool:
        return not self.gaps

    @property
    def value(self) -> float | None:
        """What it is ranked by: steps, or seconds, as claimed or else as logged."""
        return self.claimed_steps or self.claimed_time_s or self.time_s


def read_claim_rows(track: Track, history: History | None) -> list[ClaimRow]:
    """The claims of a track, the best first, those without a number last; none where none were imported."""
    board = read_claims(track.name)
    return [] if board is None else claim_rows(board, track, history)


def claim_rows(board: ClaimBoard, track: Track, history: History | None) -> list[ClaimRow]:
    """One row per claim."""
    standing = _standing(history, track)
    audited = audit_claims(board, track)
    rows = [_row(board, claim, row, standing) for claim, row in zip(board.claims, audited, strict=True)]
    return sorted(rows, key=lambda row: (row.value is None, row.value or 0.0, row.key))


def _standing(history: History | None, track: Track) -> float | None:
    """The number of the record that stands."""
    held = [record.claim for record in history.records if record.official] if history else []
    if not held:
        return None
    return held[-1].steps if track.metric == "steps" else held[-1].train_time_s


def _row(board: ClaimBoard, claim: OpenClaim, audited: AuditRow, standing: float | None) -> ClaimRow:
    scripts = [board.scripts[board.runs[number].script] for number in claim.runs]
    script = next((script for script in scripts if script.files), None)
    baseline_s = audited.baseline_time_s
    value = claim.claim.steps or claim.claim.train_time_s or audited.time_s
    request = f"{board.source.repository}/pull/{claim.pull_request}" if claim.pull_request else ""
    return ClaimRow(
        key=claim.key,
        title=claim.title,
        status=claim.status,
        pull_request=claim.pull_request,
        authors=claim.authors,
        date=claim.date,
        parents=claim.parents,
        claimed_time_s=claim.claim.train_time_s,
        claimed_saving_s=claim.saves_s,
        claimed_steps=claim.claim.steps,
        claimed_val_loss=claim.claim.val_loss,
        claimed_runs=claim.claim.runs,
        claimed_p_value=claim.stated.p_value if claim.stated else None,
        runs=audited.runs,
        time_s=audited.time_s,
        time_sd_s=audited.time_sd_s,
        val_loss=audited.val_loss,
        p_value=audited.p_value,
        baseline_runs=audited.baseline_runs,
        baseline_time_s=baseline_s,
        baseline_val_loss=audited.baseline_val_loss,
        ratio=audited.time_s / baseline_s if audited.time_s and baseline_s else None,
        source_files=script.files if script else None,
        source_lines=script.lines if script else None,
        source_bytes=script.size_bytes if script else None,
        beats_record=None if value is None or standing is None else value < standing,
        flags=tuple(flag.id for flag in audited.flags),
        gaps=tuple(gaps(claim, audited, board)),
        note=claim.note,
        url=request or board.as_history().url(claim.folder),
    )
