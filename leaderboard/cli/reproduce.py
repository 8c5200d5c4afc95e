"""speedrun reproduce: a record run again, here, and whether it holds."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

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
from harness.records.wheel_locks import Wheels, wheels_for
from harness.referee.display import watching_console

from ..board.record_names import OwnRecord, ReportedFolder, find_record
from ..upstream.history import ImportedRow
from .replays import ReplayStart, replay
from .reproduction_plans import SHOWN_DIFFERENCES, ReproductionStart, agree, print_plan

Name = Annotated[str, typer.Argument(help="A record: name, track/name, path; imported ones as track/number.")]
Against = Annotated[
    str | None, typer.Option("--against", help="Another imported record of the track: both are raced, interleaved.")
]
Runs = Annotated[
    int | None,
    typer.Option(min=1, help="Runs of each; by default as many as a record of ours has, else 1, or 6 with --against."),
]
Here = Annotated[bool, typer.Option("--here", help="Use this environment, and say how it differs from the record's.")]
Relabel = Annotated[
    bool | None,
    typer.Option(
        "--relabel/--no-relabel",
        help="Also one run under a secret vocabulary; by default where runs have no language of their own.",
    ),
]
Finished = Annotated[Path | None, typer.Option("--campaign", help="Judge this finished campaign; start nothing.")]
Begun = Annotated[Path | None, typer.Option("--resume", help="Imported records: go on with this campaign of theirs.")]
Ranks = Annotated[
    int | None, typer.Option("--nproc", min=1, max=1024, help="Imported records: ranks; as they ran by default.")
]
Env = Annotated[list[str] | None, typer.Option("--env", help="Imported records: NAME=VALUE they get; again for more.")]
EnvFrom = Annotated[
    list[str] | None, typer.Option("--env-from", help="The same, NAME of your environment; a secret is named twice.")
]
Root = Annotated[
    Path | None, typer.Option("--checkout", envvar="MODDED_NANOGPT", help="For imported records: a checkout of them.")
]

Yes = Annotated[bool, typer.Option("--yes", help="Install what is listed without asking.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Imported records: try, whatever is missing.")]


def reproduce(
    record: Name,
    against: Against = None,
    runs: Runs = None,
    here: Here = False,
    relabel: Relabel = None,
    campaign: Finished = None,
    resume: Begun = None,
    checkout: Root = None,
    nproc: Ranks = None,
    env: Env = None,
    env_from: EnvFrom = None,
    copy_to: options.CopyTo = None,
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

    An imported record: its source is taken out of the log in your own --checkout, or out of the tree of its own commit,
    and no file of yours is touched; what it ran on is named, what is gone and what comes nearest, and what this machine
    lacks. All of that is listed before anything starts. Its packages too are those that the track knows by hash for
    that torch; where it knows none, only --here runs it. It is a campaign of a self-timed script (tier `reported`);
    with --against two records are its arms, as `compare --legacy` races them, and the ratio of their times here is told
    beside the published one.

    Exit code 0: reproduced; 1: not, or undecided; otherwise that of what stopped it.
    """
    found = _find(record)
    relabel = _has_standing_text(found) if relabel is None else relabel
    start = ReproductionStart(
        runs=runs, here=here, relabel=relabel, out=out, require_sandbox=require_sandbox, wait=wait, as_json=as_json,
        yes=yes,
    )  # fmt: skip
    rows = [found, *([] if against is None else [_find(against)])]
    imported = [row for row in rows if isinstance(row, ImportedRow)]
    if len(imported) == len(rows):
        wishes = ReplayStart(
            common=start, checkout=checkout, nproc=nproc, env=tuple(env or ()), env_from=tuple(env_from or ()),
            anyway=anyway, dry_run=dry_run, copy_to=copy_to, resume=resume, campaign=campaign,
        )  # fmt: skip
        replay(imported, wishes)
        return
    ours = next(row for row in rows if isinstance(row, OwnRecord))
    only = {"against": against, "resume": resume, "nproc": nproc, "env": env, "env-from": env_from, "copy-to": copy_to}
    _refuse(ours, only)
    _own(ours, start, campaign, dry_run)


def _find(name: str) -> OwnRecord | ImportedRow:
    """The record of that name, which is one that can be run again."""
    found = find_record(name)
    if isinstance(found, ReportedFolder):
        raise UserError(
            f"expected a refereed or an imported record, found {found.key}, a campaign of self-timed scripts; "
            "`speedrun compare --legacy` races them anew"
        )
    return found


def _refuse(ours: OwnRecord, only: Mapping[str, object]) -> None:
    """Raises UserError where an option of imported records is given for one of ours."""
    for option, value in only.items():
        if value:
            raise UserError(
                f"expected an imported record for --{option}, found {ours.key}; `compare` races records of ours"
            )


# --------------------------------------------------------------------------------------------- records of ours


def _own(found: OwnRecord, start: ReproductionStart, campaign: Path | None, dry_run: bool) -> None:
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


def _conduct(found: OwnRecord, start: ReproductionStart, runs: int, python: Path | None, *, relabel: bool) -> Bundle:
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


def _environment_for(start: ReproductionStart, lock: EnvironmentLock, python: Path | None, wheels: Wheels) -> Path:
    """An environment like the record's, for the sandbox alone, once somebody has agreed to it."""
    if python is None:
        raise UserError(
            f"expected an interpreter for Python {lock.python} on PATH, found none; install it, or use --here"
        )
    if not (place_for(start.runs_root, python, wheels.requirements) / COMPLETE).is_file():
        agree(start, wheels.requirements, wheels.left_out)
    return build(start.runs_root, python, wheels.requirements)


def _show_own_plan(
    record: Record,
    found: OwnRecord,
    start: ReproductionStart,
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
    print_plan(plan, start.as_json)


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
