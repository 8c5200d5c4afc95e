"""Arms: the runs below one folder, told apart into what was raced and what it was raced against.

A folder's own words come first (`this_pr/`, `baseline/`), then the scripts: one that once was the repository's own is
what stood before. Nothing here is certain; a reader sees the name of the arm that was taken.
"""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from .groups import Member, distinct
from .history import Stated

Role = Literal["own", "baseline", ""]
BASELINE = frozenset(
    [
        "baseline",
        "baselines",
        "base",
        "control",
        "master",
        "main",
        "upstream",
        "original",
        "anchor",
        "anchors",
        "reference",
        "prev",
        "previous",
        "old",
        "stock",
        "unmodified",
        "parent",
        "before",
        "record89",
    ]
)
OWN = frozenset(
    ["candidate", "ours", "new", "submission", "treatment", "final", "this", "confirm", "confirmation", "certified"]
)
ASIDE = frozenset(
    [
        "alternate",
        "ablation",
        "ablations",
        "screen",
        "sweep",
        "probe",
        "exploratory",
        "accuracy",
        "attempt",
        "attempts",
        "pilot",
        "h200",
        "1xh100",
        "single",
        "failed",
        "extra",
        "supplementary",
        "old",
    ]
)
SAME_LOSS, SAME_TIME = 1e-4, 0.002  # a stated mean, rounded; share of a stated time
_Kind = tuple[str, Role, bool, int, int | None, tuple[str, int | None]]  # place, what it says, script, steps, machine
Machines = Callable[[int], tuple[str, int | None]]  # what a machine of the archive is: GPU, how many


@dataclass(frozen=True, slots=True)
class Arm:
    """Runs that belong together: one place, one script, as many steps, one kind of machine."""

    name: str
    role: Role
    is_aside: bool
    runs: tuple[Member, ...]
    machine: tuple[str, int | None]
    may_stop: bool = False  # before its last step: a track that counts steps

    @property
    def whole(self) -> list[Member]:
        ended = (run for run in self.runs if self.may_stop or run.row.is_complete)
        return [run for run in ended if run.row.val_loss is not None]


def arms_of(
    runs: Iterable[Member],
    folder: str,
    committed: Callable[[int], bool | None],
    machines: Machines,
    *,
    may_stop: bool = False,
) -> list[Arm]:
    """The arms below a folder, the largest first. committed: whether a script (by index) was the repository's own."""
    kinds: dict[_Kind, list[Member]] = {}
    for run in distinct(runs):
        inside = PurePosixPath(run.path[len(folder) + 1 :])
        role, aside = said_of(inside)
        script = -1 if may_stop else run.row.script  # on a track that counts steps every seed may have its own
        machine = ("", None) if may_stop else machines(run.row.machine)
        key = (str(inside.parent), role, aside, script, run.row.total, machine)
        kinds.setdefault(key, []).append(run)
    kinds = _joined(kinds)
    all_baselines = bool(kinds) and all(role == "baseline" for _, role, *_ in kinds)  # then believe the scripts
    found = []
    for (place, role, aside, script, _, kind_of_machine), members in kinds.items():
        if all_baselines or not role:
            role = "baseline" if script >= 0 and committed(script) else ""
        name = place if place != "." else {"own": "candidate", "baseline": "baseline"}.get(role, "runs")
        found.append(Arm(name, role, aside, tuple(members), kind_of_machine, may_stop))
    return sorted(found, key=lambda arm: -len(arm.runs))


def _joined(kinds: dict[_Kind, list[Member]]) -> dict[_Kind, list[Member]]:
    """Runs that lie in a folder each, one of them like the next, are of the folder above."""
    lonely = Counter((str(PurePosixPath(key[0]).parent), *key[1:]) for key, runs in kinds.items() if len(runs) == 1)
    found: dict[_Kind, list[Member]] = {}
    for key, runs in kinds.items():
        above: _Kind = (str(PurePosixPath(key[0]).parent), *key[1:])
        found.setdefault(above if len(runs) == 1 and key[0] != "." and lonely[above] > 1 else key, []).extend(runs)
    return found


def choose(found: list[Arm], stated: Stated | None = None) -> tuple[Arm | None, Arm | None]:
    """The arm that a claim is about, and the one beside it on the same kind of machine that it was raced against."""
    mine = [arm for arm in found if arm.role != "baseline"] or list(found)
    mine = [arm for arm in mine if arm.role == "own"] or mine
    mine = [arm for arm in mine if not arm.is_aside] or mine
    own = min(mine, key=lambda arm: _rank(arm, stated), default=None)
    against = [arm for arm in found if arm.role == "baseline" and arm is not own]
    if own is None:
        return None, None
    beside = [arm for arm in against if arm.machine == own.machine]
    return own, min(beside, key=lambda arm: (arm.is_aside != own.is_aside, -len(arm.whole)), default=None)


def said_of(inside: PurePosixPath) -> tuple[Role, bool]:
    """What the names of folders, and of the log, say of a run."""
    aside = False
    role: Role = ""
    for part in (*inside.parts[:-1], inside.stem):
        words = set(re.split(r"[^a-z0-9]+", part.lower())) | set(re.findall(r"[a-z]+", part.lower()))
        aside = aside or bool(words & ASIDE)
        role = "baseline" if words & BASELINE else "own" if words & OWN else role
    return role, aside


def _rank(arm: Arm, stated: Stated | None) -> tuple[bool, int, float]:
    """The one whose means its README states; then the one with most runs; then the faster."""
    whole = arm.whole
    losses = [run.row.val_loss for run in whole if run.row.val_loss is not None]
    times = [run.row.train_time_ms / 1000 for run in whole if run.row.train_time_ms is not None]
    same = False
    if stated is not None and losses and stated.val_loss is not None:
        same = abs(statistics.fmean(losses) - stated.val_loss) <= SAME_LOSS
    if stated is not None and times and stated.time_s:
        same = same or abs(statistics.fmean(times) / stated.time_s - 1) <= SAME_TIME
    return not same, -len(whole), statistics.fmean(times) if times else float("inf")
