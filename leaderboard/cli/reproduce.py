"""speedrun reproduce: a record run again, here, and whether it holds."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.text import Text

from data import datasets
from data.printing import printable
from harness.campaigns.bundle import Bundle, read_refereed_bundle
from harness.campaigns.executors import Options
from harness.campaigns.runner import begin, run_campaign
from harness.campaigns.scoreboard import Scoreboard
from harness.cli import options
from harness.cli.campaigns import check_data, draft
from harness.cli.reports import say_who_holds
from harness.errors import RunFailure, UserError
from harness.formats import environment, layout
from harness.formats.track import Track, load_track
from harness.records.environments import (
    COMPLETE,
    EnvironmentLock,
    build,
    differences,
    find_python,
    place_for,
    read_lock,
)
from harness.records.lookup import find_submission
from harness.records.record import Record, read_record
from harness.records.reproduction import Reproduction, assess
from harness.records.wheel_locks import Wheels, wheels_beside, wheels_for
from harness.referee.display import Display, watching_console
from harness.status import ExitCode

from ..board.record_names import OwnRecord, ReportedFolder, find_record
from ..upstream.history import ImportedRow
from ..upstream.recover import RecoveredRun, recover_run
from ..upstream.replaying import Replay, replay

SHOWN_DIFFERENCES = 8

Name = Annotated[str, typer.Argument(help="A record: name, track/name, path; imported ones as track/number.")]
Runs = Annotated[int | None, typer.Option(min=1, help="Runs; as many as the record has by default.")]
Here = Annotated[bool, typer.Option("--here", help="Use this environment, and say how it differs from the record's.")]
Relabel = Annotated[
    bool | None,
    typer.Option(
        "--relabel/--no-relabel",
        help="Also one run under a secret vocabulary; by default where runs have no language of their own.",
    ),
]
Finished = Annotated[Path | None, typer.Option("--campaign", help="Judge this finished campaign; start nothing.")]
Root = Annotated[
    Path | None, typer.Option("--checkout", envvar="MODDED_NANOGPT", help="For imported records: a checkout of them.")
]

Yes = Annotated[bool, typer.Option("--yes", help="Install what is listed without asking.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Imported records: try, whatever is missing.")]


def reproduce(
    record: Name,
    runs: Runs = None,
    here: Here = False,
    relabel: Relabel = None,
    campaign: Finished = None,
    checkout: Root = None,
    anyway: Anyway = False,
    yes: Yes = False,
    out: options.Out = None,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Run a record again on this machine: reproduced, not reproduced, or undecided.

    A record of ours: its exact source, on its track. Referee and judge stay in this environment; only the sandbox gets
    one like the record's, of the wheels that the track knows by hash, installed by pip with your own configuration once
    you agree; what else the record had is listed and not installed. Its losses have to pass the track's test again or
    be equivalent to the record's; the ratio of times is told. Where all runs read the same shards, one more is made
    under a secret vocabulary: what was brought along as it is shows there. On the embedded corpus every run speaks a
    language of its own anyway.

    An imported record: its source is taken out of the log in your own --checkout; what it ran on is named, what is
    gone and what comes nearest, and what this machine lacks. All of that is listed before anything starts. Its packages
    too are those that the track knows by hash for that torch; where it knows none, only --here runs it.

    Exit code 0: reproduced; 1: not, or undecided; otherwise that of what stopped it.
    """
    found = find_record(record)
    if isinstance(found, ReportedFolder):
        raise UserError(
            f"expected a refereed or an imported record, found {found.key}, a campaign of self-timed scripts; "
            "`speedrun compare --legacy` races them anew"
        )
    relabel = _has_standing_text(found) if relabel is None else relabel
    start = _Start(
        runs=runs, here=here, relabel=relabel, out=out, require_sandbox=require_sandbox, wait=wait, as_json=as_json,
        yes=yes,
    )  # fmt: skip
    if isinstance(found, ImportedRow):
        _imported(found, start, checkout, dry_run=dry_run, anyway=anyway)
        return
    _own(found, start, campaign, dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """How somebody wants a record of ours reproduced."""

    runs: int | None
    here: bool
    relabel: bool
    out: Path | None
    require_sandbox: str | None
    wait: bool | None
    as_json: bool
    yes: bool

    @property
    def runs_root(self) -> Path:
        return self.out or layout.runs_root()


# --------------------------------------------------------------------------------------------- records of ours


def _own(found: OwnRecord, start: _Start, campaign: Path | None, dry_run: bool) -> None:
    record = read_record(found.folder)
    lock = read_lock(found.folder, record.runs[0].environment)
    differing = differences(lock, environment.collect())
    python = Path(sys.executable) if start.here else find_python(lock.python)
    count = start.runs or len(record.runs)
    if dry_run:
        _show_own_plan(record, found, start, lock, differing, python, count)
        return
    wheels = None if start.here or campaign is not None else wheels_for(found.folder.parent, lock)
    if campaign is not None:
        _tell(assess(record.name, record.runs, read_refereed_bundle(campaign), _track(found), None), start.as_json)
    interpreter = None if wheels is None else _environment_for(start, lock, python, wheels)
    _say_differences(differing if interpreter is None else differences(lock, environment.collect(interpreter)))
    main = _conduct(found, start, count, interpreter, relabel=False)
    under_labels = _conduct(found, start, 1, interpreter, relabel=True) if start.relabel else None
    _tell(assess(record.name, record.runs, main, _track(found), under_labels), start.as_json)


def _has_standing_text(found: OwnRecord | ImportedRow) -> bool:
    """Whether all runs of a record's track read the same shards."""
    if isinstance(found, ImportedRow):
        return False  # replayed as it was, never relabelled
    return datasets.load_dataset(_track(found).data.dataset).kind != "embedded"


def _track_name(found: OwnRecord) -> str:
    """The contest as it was when the record was made, where the record keeps it."""
    own = found.folder / layout.TRACK_FILE
    return str(own) if own.is_file() else found.track


def _track(found: OwnRecord) -> Track:
    return load_track(_track_name(found))


def _conduct(found: OwnRecord, start: _Start, runs: int, python: Path | None, *, relabel: bool) -> Bundle:
    """One campaign of the record's own source. Raises RunFailure when it is stopped before its end."""
    named = find_submission(str(found.folder), found.track)
    drafted = draft(
        _track_name(found), (named,), runs, _ranks(found), start.require_sandbox, start.out,
        purpose="reproduce", relabel=relabel,
    )  # fmt: skip
    console = watching_console()
    check_data(drafted.track)
    folder = begin(drafted.plan, drafted.track_file, [named.submission], drafted.parent)
    console.print(Text(f"{'under other labels' if relabel else 'campaign'}: {folder}"), soft_wrap=True)
    with Scoreboard(console, drafted.plan, folder).watching() as board:
        settings = Options(
            data_root=datasets.data_root(), wait=start.wait is not False, on_wait=say_who_holds(console), python=python
        )
        result = run_campaign(folder, settings, board)
    if result.stopped_by is not None:
        stopped = result.stopped_by
        how = f"speedrun run --resume {folder}; then speedrun reproduce {found.key} --campaign {folder}"
        raise RunFailure(stopped.status, f"{stopped.sentence}; go on with {how}")
    return read_refereed_bundle(folder)


def _ranks(found: OwnRecord) -> int:
    """As many ranks as the record ran with."""
    return read_record(found.folder).runs[0].world_size


def _environment_for(start: _Start, lock: EnvironmentLock, python: Path | None, wheels: Wheels) -> Path:
    """An environment like the record's, for the sandbox alone, once somebody has agreed to it."""
    if python is None:
        raise UserError(
            f"expected an interpreter for Python {lock.python} on PATH, found none; install it, or use --here"
        )
    if not (place_for(start.runs_root, python, wheels.requirements) / COMPLETE).is_file():
        _agree(start, wheels.requirements, wheels.left_out)
    return build(start.runs_root, python, wheels.requirements)


def _agree(start: _Start, requirements: Sequence[str], left_out: Sequence[str]) -> None:
    """List what is going to be installed and what is not, and ask. Raises UserError where nobody can answer."""
    names = [printable(line.partition(" ")[0]) for line in requirements]
    print(f"speedrun: for the sandbox alone, wheels: {', '.join(names)}", file=sys.stderr)
    if left_out:
        shown = ", ".join(map(printable, left_out[:SHOWN_DIFFERENCES]))
        more = f" and {len(left_out) - SHOWN_DIFFERENCES} more" if len(left_out) > SHOWN_DIFFERENCES else ""
        print(f"speedrun: the record had, and its track has no hash of: {shown}{more}; not installed", file=sys.stderr)
    if start.yes:
        return
    if start.as_json or not sys.stdin.isatty():
        raise UserError("expected --yes, or somebody to ask, before packages are installed; found neither")
    if not typer.confirm("Install them?", err=True):
        raise UserError("expected a yes, found a no; nothing was installed. --here uses this environment")


def _show_own_plan(
    record: Record,
    found: OwnRecord,
    start: _Start,
    lock: EnvironmentLock,
    differing: list[tuple[str, str, str]],
    python: Path | None,
    runs: int,
) -> None:
    """What would be built and run."""
    wheels, missing = None, [] if python or start.here else [f"Python {lock.python}"]
    try:
        wheels = None if start.here else wheels_for(found.folder.parent, lock)
    except UserError as error:
        missing.append(str(error))
    plan = {
        "record": found.key,
        "source_sha256": record.submission.sha256,
        "track": _track(found).name,
        "rules_version": _track(found).rules_version,
        "runs": runs,
        "relabelled_runs": int(start.relabel),
        "environment": "this one"
        if start.here
        else str(place_for(start.runs_root, python, wheels.requirements))
        if python and wheels
        else None,
        "python": {"locked": lock.python, "found": str(python) if python else None},
        "packages": len(lock.packages),
        "installs": [line.partition(" ")[0] for line in wheels.requirements] if wheels else [],
        "left_out": list(wheels.left_out) if wheels else [],
        "differs_here": [{"name": name, "locked": locked, "here": here} for name, locked, here in differing],
        "missing": missing,
    }
    _print_plan(plan, start.as_json)


def _say_differences(differing: list[tuple[str, str, str]]) -> None:
    """On stderr: what of this environment is not the record's."""
    for name, locked, here in differing[:SHOWN_DIFFERENCES]:
        print(
            f"speedrun: {printable(name)} is {printable(here)} here, {printable(locked)} in the lock", file=sys.stderr
        )
    if len(differing) > SHOWN_DIFFERENCES:
        print(f"speedrun: and {len(differing) - SHOWN_DIFFERENCES} packages more differ", file=sys.stderr)


def _tell(found: Reproduction, as_json: bool) -> None:
    """The verdict; exits with its code."""
    if as_json:
        sys.stdout.write(TypeAdapter(Reproduction).dump_json(found, indent=1).decode() + "\n")
    else:
        console = Console()
        for sentence in found.sentences():
            console.print(Text(printable(sentence)), soft_wrap=True)
        if found.can_challenge:
            labels = f" --relabelled {found.relabelled.folder}" if found.relabelled else ""
            command = f"speedrun challenge {found.track}/{found.record} {found.campaign}{labels} --author ..."
            console.print(Text(f"attach it: {command}", style="dim"), soft_wrap=True)
    raise typer.Exit(int(found.exit_code))


# --------------------------------------------------------------------------------------------- imported records


def _imported(row: ImportedRow, start: _Start, checkout: Path | None, *, dry_run: bool, anyway: bool) -> None:
    track = load_track(row.track)
    found = recover_run(row, track, checkout, environment.gpus(), datasets.data_root())
    if dry_run or (found.missing and not anyway):
        _print_plan(as_plan(row, found) | _installs(row, found, start), start.as_json)
    if dry_run:
        return
    if found.missing and not anyway:
        things = "thing" if len(found.missing) == 1 else "things"
        sentence = f"expected all that {row.key} needs, found {len(found.missing)} {things} missing; --anyway tries"
        print(f"speedrun: {sentence}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.MACHINE))
    python, interpreter = find_python(found.python or platform.python_version()), None
    if not start.here and found.packages and python is not None:
        wheels = _wheels(row, found)
        _agree(start, wheels.requirements, wheels.left_out)
        interpreter = build(start.runs_root, python, wheels.requirements)
        left_out = (f"{name} is not installed: the track has no hash of it" for name in wheels.left_out)
        found = replace(found, differences=(*found.differences, *left_out))
    with Display(watching_console()) as display:
        done = replay(
            row, found, track, runs=start.runs or 1, python=interpreter, data_root=datasets.data_root(),
            runs_root=start.runs_root, require_sandbox=start.require_sandbox, wait=bool(start.wait), observer=display,
        )  # fmt: skip
        display.close()
    if start.as_json:
        sys.stdout.write(TypeAdapter(Replay).dump_json(done, indent=1).decode() + "\n")
    else:
        for sentence in done.sentences():
            Console().print(Text(printable(sentence)), soft_wrap=True)
    raise typer.Exit(int(done.exit_code))


def _wheels(row: ImportedRow, found: RecoveredRun) -> Wheels:
    """The wheels that the row's track knows by hash for its torch. Raises UserError where it knows none."""
    torch, *names = found.packages
    return wheels_beside(layout.track_file(row.track).parent, torch.partition("==")[2], names)


def _installs(row: ImportedRow, found: RecoveredRun, start: _Start) -> dict[str, Any]:
    """What would be installed by hash, and what would not be, or why nothing can be."""
    if start.here or not found.packages:
        return {"installs": [], "left_out": []}
    try:
        wheels = _wheels(row, found)
    except UserError as error:
        return {"installs": [], "left_out": list(found.packages), "differences": [*found.differences, str(error)]}
    names = [line.partition(" ")[0] for line in wheels.requirements]
    return {"installs": names, "left_out": list(wheels.left_out)}


def as_plan(row: ImportedRow, found: RecoveredRun) -> dict[str, Any]:
    """What would be installed and run, and what is gone."""
    nearest = found.torch
    release = nearest.release if nearest else None
    return {
        "record": row.key,
        "title": found.record.title,
        "log": found.log or None,
        "source": {name: len(content) for name, content in found.files.items()} or None,
        "source_stated": list(found.record.stated.files) if found.record.stated else [],
        "python": found.python or None,
        "torch": {
            "wanted": nearest.wanted if nearest else None,
            "install": release.version if release else None,
            "cuda": nearest.cuda if nearest and release else None,
            "triton": release.triton if release else None,
            "exact": bool(nearest and nearest.is_exact),
        },
        "hardware": f"{found.machine.gpu_count or '?'}x {found.machine.gpu}"
        if found.machine and found.machine.gpu
        else None,
        "packages": list(found.packages),
        "differences": list(found.differences),
        "missing": list(found.missing),
        "tier": "reported",
    }


def _print_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    for key, value in plan.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines or ["nothing"]):
            label = key if number == 0 else ""
            console.print(Text.assemble((f"{label:<16}", "bold"), printable(_plain(line))), soft_wrap=True)
    console.print("nothing was started")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {'none' if inner is None else inner}" for name, inner in value.items())
    return "not known" if value is None else str(value)
