"""Turns: while one evaluator answers, no process of the other one runs."""

import os
import random
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import levels
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree
from harness.scoring import turns
from harness.system import processes

FORKING = """
import os, sys, threading, time
for _ in range(3):
    if os.fork() == 0:
        threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)], daemon=True).start()
        break
while True:
    os.write(1, b"x")
    if os.fork() == 0:
        os._exit(0)
    os.waitpid(-1, os.WNOHANG)
"""
TOP = '''
import os, subprocess, sys, threading, time
EVAL_BATCH = 4
told = []
BEAT = """
import os, sys, time
while True:
    began = time.monotonic_ns()
    sum(range(2000))
    os.write(1, f"BEAT {me} {began} {time.monotonic_ns()}\\\\n".encode())
    time.sleep(0.004)
"""
me = os.urandom(4).hex()
def beat():
    exec(BEAT, {"me": me})
'''
LOGITS = """
began = time.monotonic_ns()
if not told:  # whatever an evaluator starts is stopped with it
    told.append(threading.Thread(target=beat, daemon=True))
    told[0].start()
    for detached in ("", "import os; os.fork() and os._exit(0); os.setsid()"):
        told.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", f"{detached}\\nme = {me!r}{BEAT}"]))
while time.monotonic_ns() < began + 20_000_000:
    pass
os.write(1, f"ANSWER {me} {began} {time.monotonic_ns()}\\n".encode())
"""


@given(st.lists(st.integers(0, 40), min_size=2, max_size=2), st.integers(0, 99))
def test_every_batch_has_its_turn(batches: list[int], seed: int) -> None:
    drawn = turns.draw(batches, random.Random(seed))
    for number, count in enumerate(batches):
        assert sum(asked for who, asked in drawn if who == number) == count
    assert all(before[0] != after[0] and before[1] > 0 < after[1] for before, after in pairwise(drawn))


def test_whose_turn_it_is_is_drawn() -> None:
    drawn = {tuple(turns.draw((20, 20), random.Random(seed))) for seed in range(50)}
    assert len(drawn) > 40
    assert {order[0][0] for order in drawn} == {0, 1}
    assert len({len(order) for order in drawn}) > 2


def states(pids: set[int]) -> set[str]:
    """Of all threads of these processes, as /proc shows them."""
    found = set()
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            try:
                found.add(task.read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
    return found


@pytest.mark.parametrize("level", levels.LEVELS)
def test_a_tree_that_forks_all_the_time_is_stopped_whole(tmp_path: Path, level: str) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    processes.adopt_orphans()
    (tmp_path / "home").mkdir()
    tree = ProcessTree(level, View(readable=(), home=tmp_path / "home"))
    try:
        process = tree.start([sys.executable, "-I", "-S", "-c", FORKING])
        assert process.stdout is not None
        for _ in range(3):
            assert os.read(process.stdout.fileno(), 100)
            tree.stop()
            stopped = states(processes.tree(process.pid) | {process.pid})
            os.set_blocking(process.stdout.fileno(), False)
            while True:  # what it wrote before
                try:
                    os.read(process.stdout.fileno(), 2**16)
                except BlockingIOError:
                    break
            os.set_blocking(process.stdout.fileno(), True)
            assert stopped <= {"T", "Z", "X"}, stopped
            assert states(processes.tree(process.pid)) <= {"T", "Z", "X"}
            tree.go_on()
    finally:
        tree.kill()
        processes.kill_children()
        process.communicate()
        tree.close()


@pytest.mark.parametrize("level", ["namespaces", pytest.param("landlock", marks=pytest.mark.slow)])
def test_nothing_of_one_evaluator_runs_while_the_other_answers(
    speedrun: Any, tmp_path: Path, write_submission: Any, level: str
) -> None:
    """Threads and children that run on are told by their own clocks: what they did lies in no answer of the other."""
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine: {levels.lacking(level)}")
    script = write_submission(tmp_path, top=TOP, logits=LOGITS)
    outcome = speedrun.run(script, "--nproc", "1", "--require-sandbox", level)
    assert outcome.record["status"] == "complete", outcome.record["sentence"]
    found: dict[str, list[tuple[str, int, int]]] = {"ANSWER": [], "BEAT": []}
    for word, who, began, ended in re.findall(r"(ANSWER|BEAT) (\w+) (\d+) (\d+)$", outcome.log, re.MULTILINE):
        found[word].append((who, int(began), int(ended)))
    answers, beats = found["ANSWER"], found["BEAT"]
    assert len({who for who, _, _ in answers}) >= 2
    within = [
        (who, other) for who, began, ended in answers for other, first, last in beats if began <= first <= last <= ended
    ]
    assert within
    assert {(who, other) for who, other in within if who != other} == set()
