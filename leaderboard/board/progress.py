"""Progress: the loss curve that a run reported, read line by line, with suspicion.

A submission reports its own training loss, and a run in progress may be writing the last line: what is torn, odd or
not finite is left out.
"""

import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.formats import layout
from harness.system.clock import NS
from harness.system.plainfile import read_plain

MAX_PROGRESS_BYTES = 32 * 2**20
TAIL_BYTES = 2**16
_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """One report of rank 0. train_loss: nats per token, by the submission's own word."""

    step: int
    elapsed_s: float  # since GO, on the referee's clock
    train_loss: float | None
    tokens: int | None


def read_progress(run_folder: Path) -> list[TrainingReport]:
    """Every readable report of a run, in order; none where the file cannot be read."""
    try:
        content = read_plain(run_folder / layout.PROGRESS_FILE, MAX_PROGRESS_BYTES)
    except UserError:
        return []
    return [report for line in content.splitlines() if (report := parse_report(line)) is not None]


def parse_report(line: bytes) -> TrainingReport | None:
    """A line of progress.jsonl; None for anything else."""
    try:
        found = json.loads(line)
        step, elapsed_ns = found["step"], found["elapsed_ns"]
        loss, tokens = found.get("train_loss"), found.get("tokens")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not (_is_count(step) and _is_count(elapsed_ns)):
        return None
    loss = float(loss) if isinstance(loss, int | float) and not isinstance(loss, bool) and abs(loss) < 1e300 else None
    if loss is not None and not math.isfinite(loss):
        loss = None
    return TrainingReport(step, elapsed_ns / NS, loss, tokens if _is_count(tokens) else None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def read_last_report(run_folder: Path) -> tuple[TrainingReport, float] | None:
    """The newest whole report of a run and when the file was last written (Unix time, s); None where there is none.

    Only the end of the file is read, so that a long run costs a watcher nothing.
    """
    try:
        descriptor = os.open(run_folder / layout.PROGRESS_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        tail = os.pread(descriptor, TAIL_BYTES, max(found.st_size - TAIL_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    reports = (parse_report(line) for line in reversed(tail.split(b"\n")))
    last = next((report for report in reports if report is not None), None)
    return None if last is None else (last, found.st_mtime)
