"""What train_gpt.py does on one GPU: speed of every stage, memory, tests, a refereed run, another's script beside it.

    benchmarks/hopper.sh [--modded PATH --modded-python PYTHON] [--out table.md]      on the GPU
    python -m benchmarks.hopper --cpu                          the same steps in small on the CPU, to see that they work

Measuring the script takes the standard library, torch and numpy; tests need pytest, the refereed run what the
harness needs: what cannot be imported is left out, and the table says so. Shards are synthetic: GPT-2's vocabulary,
documents of lognormal length. Each part is a process with its share of the minutes; one that fails or is too slow
does not end the others, and the table is printed whatever happens.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .gpu.stages import VOCAB_SIZE
from .nanogpt import rival
from .runs import refereed

ROOT = Path(__file__).resolve().parent.parent
SHARD_TOKENS = {"cuda": 20_000_000, "cpu": 200_000}
SHARE_S = {"script": 270.0, "referee": 240.0, "tests": 150.0, "modded": 600.0}  # at most, of what is left
LEAST_S = 15.0
REHEARSAL_S = 3600.0
Row = tuple[str, str]


@dataclass
class Sitting:
    """One session on one device, and what it has found."""

    device: str
    folder: Path
    deadline_s: float
    options: argparse.Namespace
    shards: dict[str, list[str]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ours: list[tuple[int, float]] = field(default_factory=list)  # by stage: tokens of a step, milliseconds

    def left_s(self, part: str) -> float:
        """What a part may take; in a rehearsal, on whatever machine and beside whatever work, long enough."""
        if self.device == "cpu":
            return REHEARSAL_S
        return min(SHARE_S[part], self.deadline_s - time.monotonic())

    def add(self, what: str, found: str) -> None:
        row = (what, found.replace("|", "/").replace("\n", " "))
        self.rows.append(row)
        print(": ".join(row), file=sys.stderr, flush=True)

    def table(self) -> str:
        return "\n".join(["| what | found |", "|---|---|", *(f"| {what} | {found} |" for what, found in self.rows)])


def main() -> None:
    """Run all parts and print the table."""
    parser = argparse.ArgumentParser(description="Measure train_gpt.py on one GPU.")
    parser.add_argument("--modded", type=Path, help="a checkout of modded-nanogpt, measured beside it")
    parser.add_argument("--modded-python", default=sys.executable, help="the interpreter that has what it needs")
    parser.add_argument("--cpu", action="store_true", help="rehearse in small on the CPU; its numbers mean nothing")
    parser.add_argument("--steps", type=int, default=16, help="timed steps of every stage")
    parser.add_argument("--minutes", type=float, default=10, help="for everything, on the GPU")
    parser.add_argument("--only", choices=list(SHARE_S), action="append")
    parser.add_argument("--out", type=Path, help="write the table here, too")
    options = parser.parse_args()
    device = "cpu" if options.cpu else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none: run this on a GPU machine, or rehearse with --cpu")
    deadline_s = time.monotonic() + options.minutes * 60 - 5
    with tempfile.TemporaryDirectory() as name:
        sitting = Sitting(device, Path(name), deadline_s, options)
        try:
            run_parts(sitting)
        except KeyboardInterrupt:  # what hopper.sh sends when the time is over
            sitting.add("the rest", "not run: interrupted")
            sys.exit(130)
        finally:
            print(sitting.table())
            if options.out:
                options.out.write_text(sitting.table() + "\n")


def run_parts(sitting: Sitting) -> None:
    """One after the other: what is measured has the device to itself."""
    conditions(sitting)
    sitting.shards = write_shards(sitting.folder, SHARD_TOKENS[sitting.device], VOCAB_SIZE[sitting.device])
    parts = {"script": measure_script, "referee": run_refereed, "tests": run_tests, "modded": measure_modded}
    for part, work in parts.items():
        if not sitting.options.only or part in sitting.options.only:
            attempt(sitting, part, work)


def attempt(sitting: Sitting, part: str, work: Callable[[Sitting, float], None]) -> None:
    """Run a part, or say why there is nothing of it."""
    started, left_s = time.monotonic(), sitting.left_s(part)
    if left_s < LEAST_S:
        return sitting.add(part, f"not run: the {sitting.options.minutes:g} minutes are over; see --only")
    try:
        work(sitting, left_s)
    except Exception as error:  # noqa: BLE001 - the other parts are still worth their minutes
        lines = str(error).splitlines() or [""]
        sitting.add(part, f"failed: {type(error).__name__}: {lines[0]}")
    return sitting.add(f"{part}: whole part", f"{time.monotonic() - started:.0f} s")


def conditions(sitting: Sitting) -> None:
    """Where the numbers come from."""
    if sitting.device == "cpu":
        sitting.add("device", "CPU: a rehearsal, none of these numbers means anything")
    else:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        sitting.add("device: name, driver, largest clock, power limit", found.replace("\n", "; "))
    sitting.add("torch, Python", f"{torch.__version__}, {platform.python_version()}")
    sitting.add("script", f"{len((ROOT / 'train_gpt.py').read_bytes())} bytes")


def write_shards(folder: Path, count: int, vocab: int) -> dict[str, list[str]]:
    """Two training shards and a validation shard, laid out and named as FineWeb's, of synthetic documents."""
    generator, names = np.random.default_rng(1), {"train": ["train_000001", "train_000002"], "val": ["val_000000"]}
    home = folder / "data" / "fineweb10B"
    home.mkdir(parents=True)
    paths: dict[str, list[str]] = {}
    for kind, files in names.items():
        for file in files:
            tokens = generator.zipf(1.2, count).clip(1, vocab - 1).astype("<u2") - 1
            ends = np.cumsum(np.maximum(8, generator.lognormal(6.0, 1.0, count // 64)).astype(np.int64))
            tokens[ends[ends < count]] = vocab - 1
            tokens[0] = vocab - 1
            header = np.zeros(256, "<i4")
            header[:3] = 20240520, 1, count
            path = home / f"fineweb_{file}.bin"
            path.write_bytes(header.tobytes() + tokens.tobytes())
            paths.setdefault(kind, []).append(str(path))
    return paths


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


def lines_of(command: list[str], limit_s: float, **environment: str) -> Iterator[str]:
    """What a command prints to stdout, until it ends or its time is over. Raises RuntimeError with its last words."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        reason = ""
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdout=out, stderr=err, env=os.environ | environment, timeout=limit_s, check=False
            )
            if done.returncode:
                reason = f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            reason = f"not done after {limit_s:.0f} s"
        out.seek(0)
        yield from out.read().splitlines()
        if reason:
            err.seek(0)
            raise RuntimeError(f"{reason}: {(err.read().strip().splitlines() or ['no word'])[-1]}")


def measure_script(sitting: Sitting, limit_s: float) -> None:
    """Every stage, in a process of its own; what was found before it failed counts."""
    arguments = [*sitting.shards["train"], "--device", sitting.device, "--steps", str(sitting.options.steps)]
    for line in lines_of(module("benchmarks.gpu.stages", *arguments), limit_s):
        if line.startswith("{"):  # the script itself prints, too
            row = json.loads(line)
            sitting.add(row["what"], row["found"])
            if "ms" in row:
                sitting.ours.append((row["tokens"], row["ms"]))


def run_tests(sitting: Sitting, limit_s: float) -> None:
    """The tests marked `gpu`; on the CPU only whether they can be collected."""
    if importlib.util.find_spec("pytest") is None:
        return sitting.add("GPU tests", "not run: pytest is not installed")
    extra = ["--collect-only"] if sitting.device == "cpu" else []
    command = module("pytest", "-q", "-m", "gpu", *extra, "tests/train_gpt", "tests/harness/scoring/test_judge.py")
    last = "no output"
    try:
        for line in lines_of(command, limit_s):
            last = line or last
            if line.startswith(("FAILED", "ERROR")):
                sitting.add("GPU tests", line)
    finally:
        sitting.add("GPU tests", last)
    return None


def run_refereed(sitting: Sitting, limit_s: float) -> None:
    """A short run under the referee on the synthetic shards, evaluators and judge on the same device."""
    missing = [name for name in ("pydantic", "typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        return sitting.add("refereed run", f"not run: needs {', '.join(missing)}")
    data, train, (val,) = (
        {"SPEEDRUN_DATA": str(sitting.folder / "shards")},
        sitting.shards["train"],
        sitting.shards["val"],
    )
    vocab = str(VOCAB_SIZE[sitting.device])
    imported = module("harness", "data", "import", *train, "--val", val, "--name", "synthetic", "--vocab-size", vocab)
    list(lines_of(imported, limit_s, **data))
    script, track = refereed.short_run(sitting.device, sitting.folder)
    command = module(
        "harness", "run", str(script), "--track", str(track), "--json", "--out", str(sitting.folder / "runs")
    )
    output = list[str]()
    try:
        output += lines_of(command, limit_s, **data)
    finally:
        record = json.loads("\n".join(output) or "{}")
        for what, found in refereed.rows(record, int(vocab)):
            sitting.add(f"refereed short run, kernels compiled anew: {what}", found)
    return None


def measure_modded(sitting: Sitting, limit_s: float) -> None:
    """The other script on the same shards, and ours against it, stage by stage."""
    options = sitting.options
    if options.modded is None:
        return sitting.add("modded-nanogpt", "not run: no --modded PATH")
    plan = rival.shorten(options.modded, sitting.folder / "modded")
    if sitting.device == "cpu":
        return sitting.add(
            "modded-nanogpt", f"not run: a rehearsal; stages of {plan.tokens} tokens a step, {plan.ends}"
        )
    found = rival.race(sitting.folder / "modded", options.modded_python, sitting.folder, limit_s, plan)
    for what, text in rival_rows(found, plan, sitting.ours):
        sitting.add(what, text)
    return None


def rival_rows(found: rival.Found, plan: rival.Plan, ours: list[tuple[int, float]]) -> Iterator[Row]:
    """Its stages, and ours divided by its, per token: by stage, and over all steps of its schedule."""
    if found.warm_s is not None:
        yield "modded-nanogpt: build, compile, warm up (kernels may be cached)", f"{found.warm_s:.1f} s"
    if found.memory is not None:
        yield (
            "modded-nanogpt: peak memory: allocated, reserved",
            "{:.1f} GiB, {:.1f} GiB".format(*(mib / 1024 for mib in found.memory)),
        )
    ratios, weights = list[float](), list[float]()
    for stage, (tokens, ms) in enumerate(zip(plan.tokens, found.ms, strict=False)):
        text = f"{ms:.2f} ms, {tokens / ms * 1000:,.0f} tokens/s"
        if stage < len(ours):
            ratios.append(ours[stage][1] / ours[stage][0] / (ms / tokens))
            weights.append(plan.weights[stage] * ms)
            text += f"; train_gpt.py takes {ratios[-1]:.2f} times as long per token"
        yield f"modded-nanogpt, stage {stage + 1}, {tokens:,} tokens", text
    if len(ratios) < len(plan.tokens):
        yield (
            "modded-nanogpt",
            f"{len(found.ms)} of {len(plan.tokens)} stages were reached; its last line: {found.last}",
        )
    else:
        whole = sum(ratio * weight for ratio, weight in zip(ratios, weights, strict=True)) / sum(weights)
        yield "train_gpt.py / modded-nanogpt, milliseconds per token over its schedule", f"{whole:.2f}x (goal: 1.25)"


if __name__ == "__main__":
    main()
