"""Counters of the kernel, with real neighbours: who burns beside a process is told from who burns below it."""

import json
import subprocess
import sys
from pathlib import Path

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
