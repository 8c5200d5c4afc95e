"""Counters of the kernel, with real neighbours: who burns beside a process is told from who burns below it."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
BURN_S = 1.0
# Processor time, not time on the wall: a busy machine takes longer and shows the same.
BURN = f"import time\nwhile time.process_time() < {BURN_S}: pass\nprint('burnt', flush=True)\ninput()"
MEASURE = """
import json, subprocess, sys
from harness.referee.referee import load_between
from harness.system.load import read_counters
before = read_counters()
if sys.argv[1] == "below":
    child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
else:
    print("ready", flush=True)
    input()
print(load_between(before, read_counters()).model_dump_json())
"""


def measured(where: str) -> dict[str, int]:
    """A load in which somebody burns a second of processor time: a child of who measures, or a neighbour."""
    with subprocess.Popen(
        [sys.executable, "-c", MEASURE, where, BURN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as meter:
        assert meter.stdin is not None
        assert meter.stdout is not None
        if where == "beside":
            assert meter.stdout.readline() == "ready\n"
            with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
                assert other.stdout is not None
                other.stdout.readline()
                other.communicate(b"\n")
            meter.stdin.write("\n")
            meter.stdin.flush()
        found: dict[str, int] = json.loads(meter.stdout.readline())
    return found


def test_a_neighbour_that_wakes_is_others_time() -> None:
    found = measured("beside")
    assert found["others_ns"] >= 0.8 * BURN_S * 1e9
    assert found["own_ns"] < 0.5 * BURN_S * 1e9
    assert found["wall_ns"] > 0


def test_what_the_submission_takes_is_its_own() -> None:
    assert measured("below")["own_ns"] >= 0.8 * BURN_S * 1e9


SEEDED = """
if weights:
    weights["table"] = torch.randn(run.vocab_size, generator=torch.Generator().manual_seed(run.seed)) / 9
"""
WAITS = "print('holding', flush=True)\nwhile not os.path.exists({told!r}): time.sleep(0.02)"


@pytest.mark.slow
def test_a_neighbour_that_wakes_for_one_arm_is_found(
    speedrun: Any, tmp_path: Path, write_submission: Any, write_track: Any, until: Callable[..., Any]
) -> None:
    """A whole campaign: somebody starts programs that burn every core whenever the baseline runs, and only then.

    Both arms sleep, so that the work they do is no part of it; the candidate is faster by a twelfth. Where others burn
    all cores during the candidate too, no arm had less, and nothing is to be found: the runs' counters decide.
    """
    told = tmp_path / "told"  # the baseline is held in PREPARE until the neighbour is awake
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    candidate = write_submission(tmp_path / "a", prepare=SEEDED, train="time.sleep(1.2)")
    baseline = write_submission(tmp_path / "b", prepare=SEEDED + WAITS.format(told=str(told)), train="time.sleep(1.3)")
    track = write_track(tmp_path, target_val_loss=7.0, prepare_s=600)
    process = speedrun.start(
        sys.executable, "-m", "harness", "compare", candidate, baseline, "--runs", "2", "--track", track, "--anyway",
        "--require-sandbox", "process", "--json",
    )  # fmt: skip
    for _ in range(2):
        run = until(lambda: holding(speedrun.runs), "a run of the baseline", saw=speedrun.logs)
        burn = [sys.executable, "-c", "while True: pass"]
        neighbours = [subprocess.Popen(burn) for _ in range(4 * len(os.sched_getaffinity(0)))]
        try:
            told.touch()
            until(lambda run=run: json.loads((run / "run.json").read_bytes())["stamps"], "its STOP", saw=speedrun.logs)
        finally:
            told.unlink()
            for neighbour in neighbours:
                neighbour.kill()
                neighbour.wait()
    done = speedrun.end(process)
    summary = json.loads(done.stdout)
    assert summary["closed"], done.stderr
    shares = {"candidate": list[float](), "baseline": list[float]()}
    for path in sorted(speedrun.runs.glob("*/runs/*/run.json")):
        run = json.loads(path.read_bytes())
        lost_ns = run["load"]["others_ns"] + run["load"]["steal_ns"] + (run["load"]["throttled_ns"] or 0)
        share = 1 - lost_ns / (run["load"]["cores"] * run["load"]["wall_ns"])
        shares[run["campaign"]["arm"]].append(max(1e-3, share))
    assert max(shares["baseline"]) < 0.5, shares
    more = fmean(math.log(a / b) for a, b in zip(shares["candidate"], shares["baseline"], strict=True))
    effect = -math.log(summary["evidence"]["comparison"]["ratio"])
    found = [finding["severity"] for finding in summary["findings"] if finding["id"] == "machine_taken_from_baseline"]
    assert found == (["error"] if 0 < effect < more else []), (shares, effect, summary["findings"])


def holding(runs: Path) -> Path | None:
    """A run of a campaign whose submission waits, and has not been let through yet."""
    for log in runs.glob("*/runs/*/log.txt"):
        run = json.loads((log.parent / "run.json").read_bytes())
        if "holding" in log.read_text(errors="replace") and run["status"] == "started" and run["stamps"] is None:
            return log.parent
    return None
