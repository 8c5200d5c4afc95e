"""The page of a reported campaign: what its scripts state, beside the referee's clock, and their logs."""

from dataclasses import dataclass
from pathlib import Path

from data.printing import one_line
from harness.campaigns.bundle import StatedAttempt, evidence_files
from harness.campaigns.evidence import ArmEvidence
from harness.errors import RecordError
from harness.formats import layout, numbers
from harness.formats.run import Finding
from harness.formats.track import Track
from harness.records.reported import MAX_BYTES
from harness.system.clock import NS
from harness.system.plainfile import read_plain

from ..board.show import environment_of
from . import addresses
from .sparklines import Strip, strip
from .tables import Cell, Column, Table, cell
from .track_data import Collection, Reported

MAX_RUNS, MAX_FINDINGS = 400, 200  # shown at most; data/<track>-runs.csv has every run


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignView:
    """What campaign.html shows."""

    reported: Reported
    track: Track
    arms: tuple[ArmEvidence, ...]
    sentences: tuple[str, ...]
    strip: Strip | None
    runs: Table | None
    findings: tuple[Finding, ...]
    environment: tuple[tuple[str, str], ...]


def campaign_view(found: Reported, collection: Collection) -> CampaignView:
    """Raises nothing: what cannot be read is not shown, and the findings say so."""
    assert collection.track is not None
    one, evidence = found.campaign, found.campaign.evidence
    arms = () if evidence is None else tuple(arm for arm in (evidence.candidate, evidence.baseline) if arm is not None)
    stated = [] if one.bundle is None else list(one.bundle.stated)[:MAX_RUNS]
    rows = tuple(_run_cells(attempt, number, collection.name, found.name) for number, attempt in enumerate(stated))
    anchors = tuple(f"run-{number}" for number in range(len(rows)))
    return CampaignView(
        reported=found,
        track=collection.track,
        arms=arms,
        sentences=tuple(evidence.comparison.sentences()) if evidence and evidence.comparison else (),
        strip=strip(arms[0].losses, collection.track.target_val_loss) if arms else None,
        runs=Table("runs-table", "Runs", RUN_COLUMNS, rows, (), anchors).without_empty_columns() if rows else None,
        findings=one.findings[:MAX_FINDINGS],
        environment=tuple((name, one_line(value, 600)) for name, value in environment_of(one.runs[0]))
        if one.runs
        else (),
    )


def campaign_files(found: Reported, track: str) -> dict[str, bytes]:
    """The bytes behind its runs, as text whatever they are; none of a campaign that does not hold."""
    one = found.campaign
    if found.standing is None or one.bundle is None:
        return {}
    files: dict[str, bytes] = {}
    names = evidence_files(one.bundle.plan)
    for number, attempt in enumerate(one.bundle.stated[:MAX_RUNS]):
        folder = one.folder / layout.RECORD_RUNS_DIR / attempt.run.run_id
        for name, form in zip(names, ("json", "txt"), strict=True):
            files[addresses.stated_run(track, found.name, number, form)] = _bytes_of(folder / name)
    return files


def _bytes_of(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_BYTES, RecordError)
    except RecordError:
        return b""


RUN_COLUMNS = (
    Column("run", "run", wide=True),
    Column("arm", "arm"),
    Column("pair", "pair", "number", "runs of a pair stood next to each other"),
    Column("seed", "seed", "number", "handed to the script; empty: the script's own"),
    Column("time", "stated time", "number", "by the script's own clock"),
    Column("loss", "stated val_loss", "number", "as the script printed it, nats per token"),
    Column("wall", "wall clock", "number", "of the whole run, first process to last, on the referee's clock"),
    Column("log", "log"),
    Column("status", "status"),
)


def _run_cells(attempt: StatedAttempt, number: int, track: str, name: str) -> tuple[Cell, ...]:
    run, slot, (time_s, loss) = attempt.run, attempt.slot, attempt.run.result or (None, None)
    address = addresses.stated_run(track, name, number, "json")
    wall_s = None if run.observed is None else run.observed.wall_ns / NS
    ids = [one_line(id, 60) for id in dict.fromkeys(finding.id for finding in run.findings)]
    return (
        cell(one_line(run.run_id, 60), address),
        cell(slot.arm, notes=[] if attempt.counted else ["does not count"]),
        cell("" if slot.pair is None else str(slot.pair), sort=slot.pair),
        cell("" if run.seed is None else str(run.seed), sort=run.seed),
        cell(numbers.seconds(time_s), address, sort=time_s),
        cell(numbers.loss(loss, 5), address, sort=loss),
        cell(numbers.seconds(wall_s), address, sort=wall_s),
        cell(layout.LOG_FILE, addresses.stated_run(track, name, number, "txt")),
        cell(str(run.status), notes=[", ".join(ids)] if ids else []),
    )
