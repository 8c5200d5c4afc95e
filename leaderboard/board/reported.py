"""Reported results: self-timed scripts on a board, single runs and whole campaigns. Tier `reported`.

A single run is a `legacy.json`, in records/<track>/reported/ or among the local runs. It holds no place, whatever it
says: its time is its own, or, where it claims none, the wall clock of the whole script. Without a measured loss it has
neither time nor loss, and stands only among the local runs. A campaign is a folder beside it. It holds no place either;
its row is derived from its logs, and shown only where all of it holds.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.errors import RecordError
from harness.formats import layout
from harness.formats.track import Track
from harness.records.reported import BADGE, ReportedCampaign, read_all_reported
from harness.records.standings import Standing
from harness.selftimed.record import SelfTimedRecord, read_self_timed
from harness.status import Status
from harness.system import clock

from .index import Look, below, opened


def reported_standings(track: Track, *, fresh: bool = False) -> tuple[list[Standing], list[str]]:
    """The rows of a track's reported results, oldest first, and a sentence for each file that is none.

    fresh: read every log of every campaign again, whatever an index says.
    """
    rows, broken = [], []
    for path in layout.reported_files(track.name):
        try:
            record = read_self_timed(path)
            if record.track is None or record.track.name != track.name or record.measured is None:
                raise RecordError(f"expected a result on {track.name} with a measured loss, found none in {path}")
            rows.append(_row(path.stem, record))
        except RecordError as error:
            broken.append(str(error))
    if layout.reported_dirs_of(layout.records_root() / track.name):
        folder, today = layout.records_root() / track.name, str(clock.utc_now().date())  # keys expire
        with opened(tuple[list[Standing], list[str]], today, fresh=fresh) as recall:
            held, failed = recall(folder / layout.REPORTED_DIR, lambda: _looks(folder), lambda: _campaigns(track))
        rows, broken = [*rows, *held], [*broken, *failed]
    return rows, broken


def _looks(track_dir: Path) -> Iterator[Look]:
    """Of all campaigns of a track as one, since none may tell a run that another told."""
    for name in (layout.TRACK_FILE, layout.SIGNERS_FILE, layout.REPORTED_DIR, layout.PAST_RULES_DIR):
        yield from below(f"{track_dir}/{name}")


def _campaigns(track: Track) -> tuple[list[Standing], list[str]]:
    rows, broken = [], []
    for campaign in read_all_reported(layout.records_root() / track.name):
        row = campaign_standing(campaign, track.major)
        if row is None:
            first = campaign.errors[0]
            broken.append(f"{campaign.folder}: {first.sentence}; expected {first.expected}, found {first.found}")
        else:
            rows.append(row)
    return rows, broken


def campaign_standing(found: ReportedCampaign, major: int) -> Standing | None:
    """The row of a campaign; None where anything of it does not hold. major: of the track's rules."""
    said, bundle, track, numbers = found.statement, found.bundle, found.track, found.numbers
    if found.errors or said is None or bundle is None or track is None or numbers is None:
        return None
    runs, target = found.runs, track.target_val_loss
    steps = {run.claim.step for run in runs if run.claim is not None and run.result is not None}
    return Standing(
        place=None,
        name=found.folder.name,
        title=said.title,
        authors=said.authors,
        date=said.date,
        tier="reported",
        badge=BADGE,
        runs=numbers.runs,
        train_time_s=numbers.train_time_s,
        train_time_sd_s=numbers.train_time_sd_s,
        train_time_low_s=numbers.train_time_low_s,
        train_time_high_s=numbers.train_time_high_s,
        val_loss=numbers.val_loss,
        p_value=numbers.p_value,
        ratio=numbers.ratio,
        saving=None,
        hardware=_hardware(runs[0]),
        sandbox=bundle.plan.sandbox,
        status="complete" if not numbers.failed else f"{numbers.failed} runs not valid",
        reached_target=None if target is None else numbers.val_loss <= target,
        steps=next(iter(steps)) if track.metric == "steps" and len(steps) == 1 else None,
        signer=found.signer,
        techniques=said.techniques,
        flags=tuple(dict.fromkeys(finding.id for finding in found.findings)),
        rules_version=bundle.plan.track.rules_version,
        older_rules=track.major < major,
    )


def local_standing(record: SelfTimedRecord) -> Standing:
    """The row of a self-timed run that nobody handed in: `reported` too, because nobody refereed it."""
    row = _row(record.run_id, record)
    return replace(row, title=f"{row.title} (local)")


def _row(name: str, record: SelfTimedRecord) -> Standing:
    measured, claim = record.measured, record.claim
    time_ns = None if measured is None else _time_ns(record)
    return Standing(
        place=None,
        name=name,
        title=f"{record.script.checkout}/{record.script.entry}, unmodified",
        authors=(),
        date=record.started_at.date(),
        tier=record.tier,
        runs=1,
        train_time_s=None if time_ns is None else time_ns / clock.NS,
        train_time_sd_s=None,
        val_loss=None if measured is None else measured.score.val_loss,
        saving=None,
        hardware=_hardware(record),
        sandbox=record.sandbox or "none",
        status="not measured" if record.status == Status.COMPLETE and measured is None else str(record.status),
        reached_target=record.reached_target,
        steps=claim.step if claim is not None else None,
        flags=tuple(dict.fromkeys(finding.id for finding in record.findings)),
    )


def _hardware(run: SelfTimedRecord) -> str:
    gpus = sorted({gpu.name for gpu in run.environment.gpus})
    return f"{run.script.world_size}x {' / '.join(gpus)}" if gpus else f"{run.environment.cpu_cores}x CPU core"


def _time_ns(record: SelfTimedRecord) -> int | None:
    if record.claim is not None and record.claim.train_time_ns:
        return record.claim.train_time_ns
    return None if record.observed is None else record.observed.wall_ns
