"""The one module that knows file names.

records/<track>/track.toml                      a contest
records/<track>/<date>_<Name>/record.json       one record of it: who, what, parents
records/<track>/<date>_<Name>/README.md         the same for people
records/<track>/<date>_<Name>/<source files>    the exact bytes that ran
records/<track>/<date>_<Name>/runs/<run>/       its runs: run.json and the curve
runs/<run>/                                     local runs, never submitted
    run.json          what became of it; `started` first, rewritten whole at every change
    log.txt           what the ranks printed (untrusted, cut at the track's log_bytes)
    progress.jsonl    the train-loss curve as the referee received it
    source/           the bytes that ran
    weights.safetensors   only with --keep-weights
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from data.files import replace_file

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "records"

TRACK_FILE = "track.toml"
RECORD_FILE = "record.json"
RUN_FILE = "run.json"
LOG_FILE = "log.txt"
PROGRESS_FILE = "progress.jsonl"
SOURCE_DIR = "source"
RECORD_RUNS_DIR = "runs"
WEIGHTS_FILE = "weights.safetensors"
RESERVE_FILE = ".reserve"  # space for the closing record, given back when it is written

RECORD_NAME = re.compile(r"^\d{4}-\d{2}-\d{2}_[A-Za-z0-9]+$")


def runs_root() -> Path:
    """Where local runs go: SPEEDRUN_RUNS, else runs/ of this checkout."""
    return Path(os.environ.get("SPEEDRUN_RUNS") or ROOT / "runs")


def track_file(name: str) -> Path:
    return RECORDS / Path(name).name / TRACK_FILE


def track_files() -> list[Path]:
    return sorted(RECORDS.glob(f"*/{TRACK_FILE}"))


def record_dirs(track: str) -> list[Path]:
    """The record folders of a track, oldest first (their names begin with the date)."""
    return sorted(p for p in (RECORDS / track).glob("*/") if RECORD_NAME.match(p.name))


def run_dirs(parent: Path) -> list[Path]:
    """The runs below a folder, oldest first (their names begin with the UTC start)."""
    return sorted(p.parent for p in parent.glob(f"*/{RUN_FILE}"))


def write_json(path: Path, value: Any) -> None:
    """Atomically: a reader sees the old file or the new one, also after a crash."""
    replace_file(path, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode()])
