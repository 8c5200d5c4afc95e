"""Amounts on the command line: counts of tokens as people write them, and how far a long command has come."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..errors import UserError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def parse_tokens(text: str) -> int:
    """Return 900_000_000 for 900M; UserError for what is no count of tokens."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGB]?)", text.strip().replace("_", "").replace(",", ""), re.IGNORECASE)
    count = round(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if count < 1:
        raise UserError(f"expected a count of tokens such as 900M or 1.5B, found '{text}'; give one.")
    return count


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends a command that goes on later with exit code 130 and says so."""
    try:
        yield
    except KeyboardInterrupt:
        print("speedrun: interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None


def progress_bar(verb: str, console: Console, quiet: bool) -> Progress:
    """One display of bytes: how far, how fast, how long still. Only where somebody watches."""
    return Progress(
        TextColumn(f"{verb} {{task.description}}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def advancing(bar: Progress, description: str) -> Callable[[int, int], None]:
    """Return what moves a new row of `bar`: called with (done, total)."""
    task = bar.add_task(description, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)
