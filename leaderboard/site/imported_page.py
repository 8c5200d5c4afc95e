"""The page of an imported record: what its table claims, what its logs hold."""

from dataclasses import dataclass
from urllib.parse import quote

from data.printing import one_line
from harness.formats import numbers
from harness.formats.track import Track

from ..upstream.audit import losses_of
from ..upstream.history import History, ImportedRun
from . import addresses
from .sparklines import Strip, strip
from .tables import Cell, Column, Part, Table, cell
from .track_data import Collection, Imported

MAX_RUNS = 400  # shown; data/<track>-runs.csv has all


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedView:
    """What imported.html shows."""

    imported: Imported
    track: Track
    is_reigning: bool
    claim: str
    strip: Strip | None
    runs: Table | None
    hidden_runs: int
    table_url: str
    log_url: str
    pull_request_url: str
    before: Part | None  # its neighbours in the table
    after: Part | None


def imported_view(found: Imported, collection: Collection) -> ImportedView:
    assert collection.track is not None
    history, record = found.history, found.record
    runs = [history.runs[i] for i in record.runs]
    losses = losses_of(record, runs)
    position = collection.imported.index(found)
    shown = tuple(_run_cells(history, number, run) for number, run in enumerate(runs[:MAX_RUNS]))
    request = f"{history.source.repository}/pull/{record.pull_request}" if record.pull_request else ""
    return ImportedView(
        imported=found,
        track=collection.track,
        is_reigning=collection.reigning is found,
        claim=_claim(found),
        strip=strip(losses, collection.track.target_val_loss),
        runs=Table(
            "runs-table", "Runs in its logs", RUN_COLUMNS, shown, (), tuple(f"run-{i}" for i in range(len(shown)))
        ).without_empty_columns()
        if runs
        else None,
        hidden_runs=max(len(runs) - MAX_RUNS, 0),
        table_url=addresses.web(history.url("README.md")),
        log_url=addresses.web(history.url(quote(record.link.path))) if record.link and record.link.exists else "",
        pull_request_url=addresses.web(request),
        before=_neighbour(collection, position - 1),
        after=_neighbour(collection, position + 1),
    )


RUN_COLUMNS = (
    Column("log", "log", wide=True),
    Column("time", "time", "number", "by the script's own clock"),
    Column("loss", "val_loss", "number", "at the last validation"),
    Column("step", "step", "number"),
    Column("validations", "validations", "number"),
    Column("machine", "machine"),
    Column("torch", "torch"),
    Column("script", "script", explain="digest of the source embedded in the log"),
)


def _run_cells(history: History, number: int, run: ImportedRun) -> tuple[Cell, ...]:
    machine, script = history.machines[run.machine], history.scripts[run.script]
    time_s = None if run.train_time_ms is None else run.train_time_ms / 1000
    gpus = f"{machine.gpu_count or '?'}x {machine.gpu}" if machine.gpu else ""
    committed = "" if script.committed is not False else "never committed"
    return (
        cell(one_line(run.file, 80) + (f", run {run.position + 1}" if run.position else ""),
             addresses.web(history.url(quote(history.path(run)))), notes=[one_line(history.folders[run.folder], 120)]),
        cell(numbers.seconds(time_s), sort=time_s),
        cell(numbers.loss(run.val_loss), sort=run.val_loss),
        cell(numbers.count(run.step), sort=run.step),
        cell(numbers.count(run.validations), sort=run.validations),
        cell(gpus),
        cell(machine.torch),
        cell(script.sha256, notes=[committed]),
    )  # fmt: skip


def _claim(found: Imported) -> str:
    claim = found.record.claim
    parts = [
        f"{claim.steps:,} steps" if claim.steps is not None else "",
        numbers.seconds(claim.train_time_s),
        f"val_loss {numbers.loss(claim.val_loss)}" if claim.val_loss is not None else "",
        f"n = {claim.runs}" if claim.runs is not None else "",
    ]
    return ", ".join(part for part in parts if part) or "nothing that could be read"


def _neighbour(collection: Collection, position: int) -> Part | None:
    if not 0 <= position < len(collection.imported):
        return None
    found = collection.imported[position]
    return Part(f"{found.key}: {found.record.title}", addresses.imported(collection.name, found.key))
