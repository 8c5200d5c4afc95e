"""Another's script, modded-nanogpt's, from its own checkout: its milliseconds, memory and warm-up on our shards.

Its schedule is shortened in a copy, so that every stage is reached within minutes; shapes of a step, kernels and the
order of work stay its own. It wants what its requirements.txt names (torch 2.10 as of 2026, so an interpreter of its
own), and the network once: FlashAttention 3 from the Hugging Face hub, GPT-2's merges for tiktoken.
"""

import itertools
import math
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.system import processes

STEPS = 24  # of every stage
EXTENSION_STEPS = 10
SKIPPED = 4  # first steps of a stage: caches and the host's lead settle
STEP = re.compile(r"step:(\d+)/\d+ train_time:(\d+)ms")
MEMORY = re.compile(r"peak memory allocated: (\d+) MiB reserved: (\d+) MiB")
BATCH = re.compile(r"\bbatch_size=([\d *]+)")
WARM = "Resetting Model"


@dataclass(frozen=True, slots=True)
class Plan:
    """What its script is going to do, as read from its source."""

    tokens: list[int]  # of a step, by stage
    weights: list[int]  # steps of each stage in the record's schedule
    ends: list[int]  # of the shortened one's stages


@dataclass(slots=True)
class Found:
    """What its log says. ms: of a step, by stage, as far as it came."""

    ms: list[float] = field(default_factory=list)
    warm_s: float | None = None
    memory: tuple[int, int] | None = None  # MiB, allocated and reserved
    last: str = ""


def shorten(checkout: Path, copy: Path) -> Plan:
    """Copy its script with a short schedule. Raises ValueError where the source does not read as expected."""
    copy.mkdir()
    for path in checkout.glob("*.py"):
        shutil.copy(path, copy)
    script = copy / "train_gpt.py"
    text = script.read_text()
    scheduled, extension = number(text, "num_scheduled_iterations"), number(text, "num_extension_iterations")
    found = BATCH.findall(text[text.index("TRAINING_STAGES = [") :])
    tokens = [math.prod(int(part) for part in product.split("*")) for product in found]
    regular = len(tokens) - 1  # the last one is the extension
    if regular < 1:
        raise ValueError("expected batch_size of several stages in TRAINING_STAGES, found none")
    ends = [*(STEPS * stage for stage in range(1, regular + 1)), STEPS * regular + EXTENSION_STEPS]
    for name, value in {
        "num_scheduled_iterations": ends[-2], "num_extension_iterations": EXTENSION_STEPS, "val_loss_every": 0,
        "val_tokens": number(text, "val_tokens") // 5,
    }.items():  # fmt: skip
        text = re.sub(rf"(\b{name}: int = )\d+", rf"\g<1>{value}", text, count=1)
    script.write_text(text)
    return Plan(tokens, [*[round(scheduled / regular)] * regular, extension], ends)


def number(text: str, name: str) -> int:
    found = re.search(rf"\b{name}: int = (\d+)", text)
    if found is None:
        raise ValueError(f"expected a line `{name}: int = ...` in its train_gpt.py, found none")
    return int(found[1])


def race(copy: Path, python: str, data: Path, limit_s: float, plan: Plan) -> Found:
    """Run it for so long at most, on one GPU."""
    command = [python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "train_gpt.py"]
    started = time.monotonic()
    lines, warm_s = list[str](), None
    with subprocess.Popen(
        command, cwd=copy, env=os.environ | {"DATA_PATH": str(data), "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        timer = threading.Timer(limit_s, end, (process,))
        timer.start()
        try:
            for line in process.stdout or ():
                lines.append(line)
                if line.startswith(WARM):
                    warm_s = time.monotonic() - started
        finally:
            timer.cancel()
            end(process)
    found = read("".join(lines), plan)
    found.warm_s = warm_s
    return found


def end(process: subprocess.Popen[str]) -> None:
    """Kill it with all its descendants: torchrun's workers lead sessions of their own, and hold the pipe open."""
    if process.poll() is None:
        processes.kill_all({process.pid, *processes.tree(process.pid)})


def read(output: str, plan: Plan) -> Found:
    """Milliseconds of a step, by stage, from the clock at the ends of the steps it has logged."""
    clock = {int(step): int(ms) for step, ms in STEP.findall(output)}
    found = Found(last=(output.strip().splitlines() or ["it printed nothing"])[-1][:200])
    for start, end in itertools.pairwise([0, *plan.ends]):
        last = max((step for step in clock if start < step <= end), default=start)
        first = start + SKIPPED
        if last > first and first in clock:
            found.ms.append((clock[last] - clock[first]) / (last - first))
    if memory := MEMORY.search(output):
        found.memory = int(memory[1]), int(memory[2])
    return found
