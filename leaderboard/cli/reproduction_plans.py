"""Reproduction plans: how somebody wants a record run again, what that would install, and asking first."""

import json
import sys
from collections.abc import Sequence
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
