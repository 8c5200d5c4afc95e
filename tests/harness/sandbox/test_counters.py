"""The kernel's counters of the whole machine: what one evaluator moves, the other cannot read."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.sandbox import levels, namespaces
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree
from harness.system import processes

LOOK = """
import json, os, sys

def seen():
    found = {}
    for folder, folders, names in os.walk("/proc"):
        if folder == "/proc":
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self", "net")]
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    os.set_blocking(file.fileno(), False)
                    found[os.path.join(folder, name)] = file.read(2**20)
            except OSError:
                continue
    return found

before = seen()
os.write(1, b"looked\\n")
os.read(int(sys.argv[1]), 1)
after = seen()
print(json.dumps([sorted(before), [path for path in before if before[path] != after.get(path)]]))
"""
MOVE = """
import os, tempfile
for _ in range(300):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
held = [bytearray(2**20) for _ in range(64)]
files = [tempfile.TemporaryFile() for _ in range(300)]
for file in files:
    file.write(b"x" * 4096); file.flush(); os.fsync(file.fileno())
print(len(held))
"""


@pytest.mark.skipif("namespaces" not in levels.available_levels(), reason="needs namespaces")
def test_an_evaluator_reads_no_counter_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    view = View(packages=(), readable=(), home=tmp_path / "home", evaluator=True)
    tree = ProcessTree("namespaces", replace(view, own=namespaces.own_files(view)))
    processes.adopt_orphans()
    told, tell = os.pipe()
    try:
        process = tree.start([sys.executable, "-I", "-S", "-c", LOOK, str(told)], pass_fds=(told,))
        assert process.stdout is not None
        assert process.stdout.readline() == b"looked\n"
        subprocess.run([sys.executable, "-I", "-S", "-c", MOVE], check=True, capture_output=True)
        os.write(tell, b"1")
        seen, moved = json.loads(process.stdout.read())
        assert {"/proc/stat", "/proc/meminfo", "/proc/cpuinfo", "/proc/sys/kernel/hostname"} <= set(seen)
        assert set(moved) <= {"/proc/sys/kernel/random/uuid"}  # another one at every look
    finally:
        os.close(told)
        os.close(tell)
        tree.kill()
        processes.kill_children()
        process.communicate()
        tree.close()
