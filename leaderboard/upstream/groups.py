"""Groups: which runs of an archive are a record's own, by a named rule.

    folder          all runs below the linked folder; `folder NAME`: below that folder of the record's
    script          runs in the record's folder whose embedded script equals the linked log's (the default for a log)
    linked          the linked log alone
    steps           runs in the record's folder with as many steps as the linked log, whatever their script
    all, files NAME every run in the record's folder, or those of logs whose names begin so
    step            optimizer track: runs beside the linked log that were validated at the claimed step
    arm NAME        those of the linked folder that were raced, not those they were raced against: arms.py tells them
                    apart (a folder without words of ours); NAME is what the folder calls them

A run that is in an archive twice counts once.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from harness.selftimed.training_log import LoggedRun

from .history import ImportedRun

README = "README.md"
SHARED_FOLDER = (
    "results"  # of the optimizer track: its records lie one level deeper, some without a folder of their own
)


@dataclass(frozen=True, slots=True)
class Member:
    """One run and where it stands."""

    number: int  # index in its archive
    path: str
    row: ImportedRun
    logged: LoggedRun


def linked_runs(link: str, runs: list[Member]) -> tuple[list[Member], bool]:
    """The runs of the linked log or below the linked folder, and whether the link leads anywhere.

    Where it leads nowhere: the runs of the one log of that name elsewhere.
    """
    place = link.removesuffix(README).rstrip("/")
    found = [run for run in runs if run.path == link or run.path.startswith(f"{place}/")] if place else []
    if found or not link:
        return found, bool(found)
    alike = re.sub("[-_]", "_", place)  # 2026-08-06-Name for 2026-08-06_Name, and the reverse
    if found := [run for run in runs if place and re.sub("[-_]", "_", record_folder(run.path)) == alike]:
        return found, False
    namesakes = [run for run in runs if PurePosixPath(run.path).name == PurePosixPath(link).name]
    return namesakes if len({run.path for run in namesakes}) == 1 else [], False


def own_runs(group: str, linked: list[Member], runs: list[Member]) -> list[Member]:
    """The runs that a rule calls the record's own, each once. `linked` is not empty."""
    rule, _, name = group.partition(" ")
    first, folder = linked[0].row, record_folder(linked[0].path)
    beside = [run for run in runs if record_folder(run.path) == folder]
    if rule == "script":
        return distinct(run for run in beside if run.row.script == first.script)
    if rule == "steps":
        return distinct(run for run in beside if (run.row.step, run.row.total) == (first.step, first.total))
    if rule == "files":
        return distinct(run for run in beside if run.row.file.startswith(name))
    if rule == "folder" and name:
        return distinct(run for run in beside if run.path.startswith(f"{folder}/{name}/"))
    return distinct(beside if rule == "all" else linked)


def runs_at_step(
    steps: int, metric: Literal["val_loss", "val_ema_loss"], link: str, linked: list[Member], runs: list[Member]
) -> tuple[list[Member], tuple[float, ...]]:
    """The runs beside the linked log that report the metric at the claimed step, and what they report."""
    parent = PurePosixPath(link).parent
    near = linked if parent.name == SHARED_FOLDER else [run for run in runs if run.path.startswith(f"{parent}/")]
    found = [(run, loss_at(run.logged, steps, metric)) for run in distinct(near)]
    kept = [(run, loss) for run, loss in found if loss is not None]
    return [run for run, _ in kept], tuple(loss for _, loss in kept)


def loss_at(run: LoggedRun, steps: int, metric: Literal["val_loss", "val_ema_loss"]) -> float | None:
    """A run's loss at one step; None where it was not validated there, or the loss is not finite."""
    reading = run.at_step(steps)
    loss = None if reading is None else reading.val_ema_loss if metric == "val_ema_loss" else reading.val_loss
    return loss if loss is not None and math.isfinite(loss) else None


def distinct(runs: Iterable[Member]) -> list[Member]:
    """Without copies: the first of every validation trace."""
    first: dict[str, Member] = {}
    for run in runs:
        first.setdefault(run.logged.trace_sha256, run)
    return list(first.values())


def record_folder(path: str) -> str:
    """records/<track>/<record>, or records/<track>/results/<record>, of a path below it."""
    parts = PurePosixPath(path).parts
    return "/".join(parts[: 4 if len(parts) > 4 and parts[2] == SHARED_FOLDER else 3])
