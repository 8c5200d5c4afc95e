"""Reproduction plans: how somebody wants a record run again, what that would install, and asking first."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable
from harness.errors import UserError
from harness.formats import layout

SHOWN_DIFFERENCES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionStart:
    """How somebody wants a record reproduced. runs: None: as many as there are of a record of ours; one of others."""

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


def agree(start: ReproductionStart, requirements: Sequence[str], left_out: Sequence[str]) -> None:
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


def print_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    console = Console()
    lines = list(plan_lines(plan))
    width = max(len(label) for label, _ in lines) + 1
    for label, text in lines:
        console.print(Text.assemble((label.ljust(width), "bold"), printable(text)), soft_wrap=True)
    console.print("nothing was started")


def plan_lines(plan: Mapping[str, Any], indent: str = "") -> Iterator[tuple[str, str]]:
    """A plan as lines of (label, text): what lies in a part stands below its name, each entry of a list on a line."""
    for key, value in plan.items():
        label = f"{indent}{key}"
        if isinstance(value, Mapping) and value:
            yield label, ""
            yield from plan_lines(value, f"{indent}  ")
            continue
        entries = value if isinstance(value, list | tuple) else [value]
        for number, entry in enumerate(entries or ["none"]):
            yield label if number == 0 else "", _in_words(entry)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
