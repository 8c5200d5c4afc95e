"""What train_gpt.py does on one GPU: speed of every stage, memory, tests, a refereed run.

    benchmarks/hopper.sh [--modded PATH] [--out table.md]      on the GPU
    python -m benchmarks.hopper --cpu                          the same steps in small on the CPU, to see that they work

Measuring the script takes the standard library, torch and numpy; tests need pytest, the refereed run what the
harness needs: what cannot be imported is left out, and the table says so. Shards are synthetic: GPT-2's vocabulary,
documents of lognormal length. Each part has its share of the minutes, and a part that fails does not end the others.
"""

import argparse
import dataclasses
import importlib.util
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
VOCAB_SIZE = {"cuda": 50_257, "cpu": 257}  # the last token begins a document
SHARD_TOKENS = {"cuda": 20_000_000, "cpu": 200_000}
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "GH200": 989e12}  # dense bf16; by a part of the device's name
MODDED_STEP = re.compile(r"step:(\d+)/\d+ train_time:(\d+)ms")
Row = tuple[str, str]


def main() -> None:
    """Run all parts and print the table."""
    parser = argparse.ArgumentParser(description="Measure train_gpt.py on one GPU.")
    parser.add_argument("--modded", type=Path, help="a checkout of modded-nanogpt, measured beside it")
    parser.add_argument("--cpu", action="store_true", help="rehearse in small on the CPU; its numbers mean nothing")
    parser.add_argument("--steps", type=int, default=16, help="timed steps of every stage")
    parser.add_argument("--only", choices=["tests", "script", "referee", "modded"], action="append")
    parser.add_argument("--out", type=Path, help="write the table here, too")
    options = parser.parse_args()
    device = torch.device("cpu" if options.cpu else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none: run this on a GPU machine, or rehearse with --cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_shards(folder, SHARD_TOKENS[device.type], VOCAB_SIZE[device.type])
        parts: dict[str, Callable[[], list[Row]]] = {
            "script": lambda: measure_script(device, shards, options.steps),
            "tests": lambda: run_tests(device),
            "referee": lambda: run_refereed(device, folder),
            "modded": lambda: measure_modded(options.modded, folder),
        }
        rows = conditions(device)
        for part, work in parts.items():
            if not options.only or part in options.only:
                rows += attempt(part, work)
    table = "\n".join(["| what | found |", "|---|---|", *(f"| {what} | {found} |" for what, found in rows)])
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


def attempt(part: str, work: Callable[[], list[Row]]) -> list[Row]:
    """A part's rows, or one that says why there are none."""
    started = time.monotonic()
    print(f"{part} ...", file=sys.stderr, flush=True)
    try:
        rows = work()
    except Exception as error:  # noqa: BLE001 - the other parts are still worth their minutes
        rows = [(part, f"failed: {type(error).__name__}: {str(error).splitlines()[:1]}".replace("|", "/"))]
    return [*rows, (f"{part}: whole part", f"{time.monotonic() - started:.0f} s")]


def conditions(device: torch.device) -> list[Row]:
    """Where the numbers come from."""
    script = (ROOT / "train_gpt.py").read_bytes()
    rows = [("torch, Python", f"{torch.__version__}, {platform.python_version()}"), ("script", f"{len(script)} bytes")]
    if device.type == "cpu":
        return [("device", "CPU: a rehearsal, none of these numbers means anything"), *rows]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return [("device: name, driver, largest clock, power limit", found.replace("\n", "; ")), *rows]


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


def import_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("measured_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["measured_script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_script(device: torch.device, shards: dict[str, list[str]], steps: int) -> list[Row]:
    """PREPARE, then milliseconds, tokens/s, MFU and memory of every stage at the record's shapes."""
    gpt = import_script(ROOT / "train_gpt.py")
    vocab = VOCAB_SIZE[device.type]
    hp = gpt.GPT2_SMALL if device.type == "cuda" else rehearsal(gpt)
    run = SimpleNamespace(
        seed=1, rank=0, local_rank=0, world_size=1, device=device, vocab_size=vocab, document_token=vocab - 1,
        practice=False,
    )  # fmt: skip
    started = time.perf_counter()
    ranks = gpt.join_ranks(run)
    trainer = gpt.build(hp, ranks, run)
    gpt.warm_up(trainer, gpt.Stream(shards["train"], hp.length, vocab - 1))
    rows = [("PREPARE: build, compile, warm up", f"{time.perf_counter() - started:.1f} s")]
    whole_ms = 0.0
    starts = [0, *(-int(-stage.until * hp.steps // 1) for stage in hp.stages)]
    for stage, start, end in zip(hp.stages, starts, starts[1:], strict=False):
        ms = statistics.median(step_times(gpt, trainer, shards["train"], range(start, min(end, start + steps))))
        tokens = stage.rows * hp.length
        rows.append((f"steps {start} to {end - 1}, {tokens:,} tokens", speed(ms, tokens, trainer, device)))
        whole_ms += ms * (end - start)
    rows.append((f"all {hp.steps} steps at these medians (a projection)", f"{whole_ms / 1000:.1f} s on one device"))
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30
        rows.append(("peak memory: allocated, reserved", f"{used[0]:.1f} GiB, {used[1]:.1f} GiB"))
    return rows


def rehearsal(gpt: Any) -> Any:
    """The preset in small: the same stages and mechanisms."""
    stages = tuple(
        dataclasses.replace(stage, until=i / 4, short=8, long=8 + i, document=32)
        for i, stage in enumerate(gpt.GPT2_SMALL.stages, start=1)
    )
    return dataclasses.replace(
        gpt.GPT2_SMALL, width=48, heads=3, ngram_rows=(1024,), length=64, documents=16, steps=8, stages=stages,
        eval_windows=(16, 24), dtype=torch.float32,
    )  # fmt: skip


def step_times(gpt: Any, trainer: Any, shards: list[str], steps: range) -> Iterator[float]:
    """Milliseconds of each step, waited for. Every second one has Adam's part of the work."""
    stream = gpt.Stream(shards, trainer.hp.length, trainer.model.document_token)
    for step, batch in zip(steps, gpt.prefetch(gpt.batches(stream, steps, trainer.hp, trainer.ranks)), strict=True):
        wait(trainer.device)
        started = time.perf_counter()
        trainer.step(step, batch)
        wait(trainer.device)
        yield (time.perf_counter() - started) * 1000


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed(ms: float, tokens: int, trainer: Any, device: torch.device) -> str:
    """MFU counts the matrices' 6 operations per weight and token, and no attention."""
    rate = tokens / ms * 1000
    text = f"{ms:.2f} ms, {rate:,.0f} tokens/s"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peak = next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)
    if peak is None:
        return text
    weights = sum(p.numel() for n, p in trainer.model.named_parameters() if n in ("attention", "mlp", "head"))
    return f"{text}, MFU {6 * weights * rate / peak:.1%} of {peak / 1e12:.0f} TFLOP/s"


def run_tests(device: torch.device) -> list[Row]:
    """The tests marked `gpu`; on the CPU only whether they can be collected."""
    if importlib.util.find_spec("pytest") is None:
        return [("GPU tests", "not run: pytest is not installed")]
    extra = ["--collect-only"] if device.type == "cpu" else []
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        *extra,
        "tests/train_gpt",
        "tests/harness/test_judge.py",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    return [("GPU tests", (done.stdout.strip().splitlines() or ["no output"])[-1].replace("|", "/"))]


def run_refereed(device: torch.device, folder: Path) -> list[Row]:
    """Forty steps under the referee, evaluators and judge on the GPU, embedded corpus under GPT-2's presets."""
    missing = [name for name in ("pydantic", "typer", "rich") if importlib.util.find_spec(name) is None]
    if missing or device.type == "cpu":
        return [("refereed run", f"not run: {'needs ' + ', '.join(missing) if missing else 'a rehearsal'}")]
    script, track = folder / "train_gpt.py", folder / "track.toml"
    script.write_text((ROOT / "train_gpt.py").read_text().replace("steps=1_920", "steps=40"))
    text = (ROOT / "records" / "gpt2-small-1gpu" / "track.toml").read_text()
    changes = {
        r'dataset = ".*"': 'dataset = "embedded"', r"train_shards = .*\n": "",
        r"val_tokens = .*": "val_tokens = 524_288",
        r"target_val_loss = .*": "target_val_loss = 9.0", r"shadow_tokens = .*": "shadow_tokens = 65_536",
    }  # fmt: skip
    for pattern, value in changes.items():
        text = re.sub(pattern, value, text, count=1)
    track.write_text(text)
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        str(script),
        "--track",
        str(track),
        "--out",
        str(folder / "runs"),
    ]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return [("refereed run of 40 steps", f"exit {done.returncode} after {time.monotonic() - started:.0f} s: {last}")]


def measure_modded(checkout: Path | None, folder: Path, limit_s: float = 420) -> list[Row]:
    """Another's script from its own checkout on the same shards, for as long as there is time."""
    if checkout is None:
        return [("modded-nanogpt", "not run: no --modded PATH")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "train_gpt.py"]
    started = subprocess.Popen(
        command, cwd=checkout, env=os.environ | {"DATA_PATH": str(folder)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = started.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        output, _ = started.communicate()
    return modded_rows(output)


def modded_rows(output: str) -> list[Row]:
    """Median milliseconds between the steps its log names, by a hundred steps."""
    times = {int(step): int(ms) for step, ms in MODDED_STEP.findall(output)}
    spans: dict[int, list[int]] = {}
    for step, ms in times.items():
        if step - 1 in times:
            spans.setdefault(step // 100, []).append(ms - times[step - 1])
    if not spans:
        last = output.strip().splitlines()[-1:]
        return [("modded-nanogpt", f"no step was logged: {last}".replace("|", "/"))]
    return [
        (f"modded-nanogpt, steps {100 * part} to {100 * part + 99}", f"{statistics.median(found):.1f} ms")
        for part, found in sorted(spans.items())
    ]


if __name__ == "__main__":
    main()
