"""Imported records, run again: one, or two interleaved, as a campaign of self-timed scripts."""

import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.text import Text

from data import datasets
from data.printing import printable
from harness.campaigns.bundle import read_bundle
from harness.campaigns.campaign import Plan
from harness.cli.campaigns import Start, begin_campaign, conduct
from harness.cli.scripts import ArmSettings, SharedSettings, draft_scripts
from harness.errors import RunFailure, UserError
from harness.formats import environment, layout
from harness.formats.track import Track, load_track
from harness.records.environments import COMPLETE, build, find_python, place_for
from harness.records.wheel_locks import Wheels, wheels_beside
from harness.status import ExitCode, Status

from ..upstream.history import ImportedRow
from ..upstream.recover import RecoveredRun, recover_run, write_source
from ..upstream.replaying import Replay, ReplayedRace, compare
from .reproduction_plans import ReproductionStart, agree, print_plan

PAIRS = 6  # by default; of one record alone one run


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStart:
    """How somebody wants imported records run again, besides what holds for all records."""

    common: ReproductionStart
    checkout: Path | None
    nproc: int | None
    env: tuple[str, ...]
    env_from: tuple[str, ...]
    anyway: bool
    dry_run: bool
    copy_to: Path | None
    resume: Path | None  # a campaign of theirs to go on with
    campaign: Path | None  # one to be judged


def replay(rows: Sequence[ImportedRow], start: ReplayStart) -> None:
    """Run one record, or race two, and say what it shows; or judge what was run. Raises UserError or RunFailure."""
    if len({row.track for row in rows}) > 1 or len({row.key for row in rows}) < len(rows):
        raise UserError(f"expected two records of one track, found {' and '.join(row.key for row in rows)}")
    begun, track = start.resume or start.campaign, load_track(rows[0].track)
    found = [recover_run(row, track, start.checkout, environment.gpus(), datasets.data_root()) for row in rows]
    if begun is not None:
        _take_up(begun, rows, found, start)
        return
    if start.dry_run:
        print_plan(_plan(rows, found, start), start.common.as_json)
        return
    for row, each in zip(rows, found, strict=True):
        if not each.files:
            raise UserError(f"expected the source of {row.key}, found none for want of {each.no_source}")
    missing = list(dict.fromkeys(sentence for each in found for sentence in each.missing))
    if missing and not start.anyway:
        print_plan(_plan(rows, found, start), start.common.as_json)
        names, things = " and ".join(row.key for row in rows), "thing" if len(missing) == 1 else "things"
        needs = "needs" if len(rows) == 1 else "need"
        told = f"expected all that {names} {needs}, found {len(missing)} {things} missing; --anyway tries"
        print(f"speedrun: {told}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.MACHINE))
    _run(rows, found, track, start)


def _take_up(begun: Path, rows: Sequence[ImportedRow], found: list[RecoveredRun], start: ReplayStart) -> None:
    """Go on with a campaign of these records, or only judge it."""
    if start.common.runs is not None or start.dry_run or (start.resume and start.campaign):
        raise UserError(f"expected only records beside a campaign, found more options; the plan of {begun} is fixed")
    plan = _plan_of(begun, rows)
    if start.resume is not None:
        _go_on(begun, plan, rows, _start(rows, start, _interpreter(rows, found, start)), resumed=True)
    bundle = read_bundle(begun)
    if not bundle.closed:
        raise UserError(f"expected a finished campaign at {begun}, found an open one; --resume goes on with it")
    track = load_track(str(begun / layout.TRACK_FILE))
    _tell(compare(bundle, track, rows, _differences(found, plan.world_size)), start)


def _run(rows: Sequence[ImportedRow], found: list[RecoveredRun], track: Track, start: ReplayStart) -> None:
    """The campaign from its plan to what it shows. The checkout is read; what runs is the campaign's own copy."""
    ranks = _ranks(found, start)
    shared = SharedSettings(
        track=rows[0].track,
        nproc=ranks,
        torchrun=True,
        grammar="auto",
        seed_variable=None,
        budget_s=None,
        require_sandbox=start.common.require_sandbox,
        out=start.common.runs_root,
        device="cuda" if environment.gpus() else "cpu",
    )
    interpreter = _interpreter(rows, found, start)
    with tempfile.TemporaryDirectory(prefix="speedrun-") as name:
        arms = []
        for row, each in zip(rows, found, strict=True):
            folder = Path(name) / row.key.replace("/", "-")
            folder.mkdir()
            arms.append(
                ArmSettings(
                    script=write_source(each, folder), checkout=folder, env=start.env, env_from=start.env_from,
                    record=row.key,
                )
            )  # fmt: skip
        drafted = draft_scripts(tuple(arms), _count(rows, start), shared, purpose="reproduce")
        begins = _start(rows, start, interpreter)
        folder = begin_campaign(drafted, begins)
    _go_on(folder, drafted.plan, rows, begins, resumed=False)
    _tell(compare(read_bundle(folder), track, rows, _differences(found, ranks)), start)


def _go_on(folder: Path, plan: Plan, rows: Sequence[ImportedRow], start: Start, *, resumed: bool) -> None:
    """Run what is left. Raises RunFailure where it is stopped before its end."""
    summary = conduct(folder, plan, start, resumed=resumed)
    if not summary.closed:
        stopped = summary.stopped_by or Status.REFEREE_FAILED
        told = f"the campaign was stopped ({stopped}); go on with `{start.goes_on_with} {folder}`"
        raise RunFailure(stopped, told)


def _start(rows: Sequence[ImportedRow], start: ReplayStart, interpreter: Path | None) -> Start:
    words = ["speedrun", "reproduce", rows[0].key, *(word for row in rows[1:] for word in ("--against", row.key))]
    words += ["--here"] if start.common.here else []
    return Start(
        keep_weights=False, wait=start.common.wait, dry_run=False, as_json=start.common.as_json,
        required_sandbox=start.common.require_sandbox, copy_to=start.copy_to, python=interpreter,
        goes_on_with=f"{shlex.join(words)} --resume",
    )  # fmt: skip


def _plan_of(folder: Path, rows: Sequence[ImportedRow]) -> Plan:
    """The plan of a campaign of these records. Raises UserError where it is one of others."""
    plan = read_bundle(folder).plan
    wanted, named = [row.key for row in rows], [arm.record for arm in plan.arms]
    if plan.self_timed is None or wanted != named:
        raise UserError(
            f"expected a campaign of {' against '.join(wanted)} at {folder}, found one of "
            f"{printable(' against '.join(name or 'no record' for name in named))}"
        )
    return plan


def _count(rows: Sequence[ImportedRow], start: ReplayStart) -> int:
    """Runs of each record. Raises UserError where they are too few to race."""
    count = start.common.runs or (PAIRS if len(rows) > 1 else 1)
    if count < 2 and len(rows) > 1:
        raise UserError(f"expected at least 2 pairs to race two records, found --runs {count}")
    return count


def _ranks(found: Sequence[RecoveredRun], start: ReplayStart) -> int:
    """As many as the first record ran with, unless somebody says another number."""
    machine = found[0].machine
    return start.nproc or (machine.gpu_count if machine else None) or 1


def _differences(found: Sequence[RecoveredRun], ranks: int) -> list[tuple[str, ...]]:
    """What of each record is not here as it was there."""
    told = []
    for each in found:
        more = []
        gpus = each.machine.gpu_count if each.machine else None
        if gpus is not None and gpus != ranks:
            more.append(f"it ran with {gpus} ranks, here with {ranks}")
        ours, first = each.packages[:1], found[0].packages[:1]
        if ours != first:
            there, here = (" ".join(names) or "a torch that is not known" for names in (ours, first))
            more.append(f"its nearest torch is {there}; both run in one environment, that of the first, {here}")
        told.append((*each.differences, *more))
    return told


def _interpreter(rows: Sequence[ImportedRow], found: list[RecoveredRun], start: ReplayStart) -> Path | None:
    """The environment that both run in: the first record's, for the sandbox alone; None: this one.

    What the track has no hash of is added to the record's differences.
    """
    first, common = found[0], start.common
    python = find_python(first.python or platform.python_version())
    if common.here or not first.packages or python is None:
        return None
    wheels = _wheels(rows[0], _packages(found))
    if not (place_for(common.runs_root, python, wheels.requirements) / COMPLETE).is_file():
        agree(common, wheels.requirements, wheels.left_out)
    left_out = (f"{name} is not installed: the track has no hash of it" for name in wheels.left_out)
    found[0] = replace(first, differences=(*first.differences, *left_out))
    return build(common.runs_root, python, wheels.requirements)


def _packages(found: Sequence[RecoveredRun]) -> tuple[str, ...]:
    """The first record's torch, and what any of them imports."""
    return tuple(dict.fromkeys((*found[0].packages[:1], *(name for each in found for name in each.packages[1:]))))


def _wheels(row: ImportedRow, packages: tuple[str, ...]) -> Wheels:
    """The wheels that the row's track knows by hash for its torch. Raises UserError where it knows none."""
    torch, *names = packages
    return wheels_beside(layout.track_file(row.track).parent, torch.partition("==")[2], names)


def _tell(found: Replay | ReplayedRace, start: ReplayStart) -> None:
    """What it shows; exits with its code."""
    if start.common.as_json:
        sys.stdout.write(TypeAdapter(type(found)).dump_json(found, indent=1).decode() + "\n")
    else:
        for sentence in found.sentences():
            Console().print(Text(printable(sentence)), soft_wrap=True)
    raise typer.Exit(int(found.exit_code))


def _plan(rows: Sequence[ImportedRow], found: Sequence[RecoveredRun], start: ReplayStart) -> dict[str, Any]:
    """What would be installed and run."""
    runs, ranks = _count(rows, start), _ranks(found, start)
    plans = [
        as_plan(row, each) | _installs(row, each, start) | {"runs": runs, "world_size": ranks}
        for row, each in zip(rows, found, strict=True)
    ]
    if len(plans) == 1:
        return plans[0]
    order = "".join("AB" if pair % 2 == 0 else "BA" for pair in range(runs))
    return {"record": plans[0], "against": plans[1], "order": order, "tier": "reported"}


def _installs(row: ImportedRow, found: RecoveredRun, start: ReplayStart) -> dict[str, Any]:
    """What would be installed by hash, and what would not be, or why nothing can be."""
    if start.common.here or not found.packages:
        return {"installs": [], "left_out": []}
    try:
        wheels = _wheels(row, found.packages)
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
        "commit": found.commit or None,
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
