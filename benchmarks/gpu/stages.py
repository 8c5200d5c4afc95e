"""What train_gpt.py takes on one device: compiling, milliseconds of every stage, MFU, memory.

    python -m benchmarks.gpu.stages SHARD... [--device cuda] [--steps 16] [--script train_gpt.py]

One JSON object per line: a row of the table {"what", "found"}, with {"tokens", "ms"} where it is a stage's. A process
of its own, so that its memory is gone before others are measured, and a device that fails takes nobody along. Takes
the standard library, torch and numpy.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
VOCAB_SIZE = {"cuda": 50_257, "cpu": 257}  # the last token begins a document
PEAK_FLOPS = {  # dense bf16, by a part of the device's name; the first that fits
    "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H200": 989e12, "GH200": 989e12,
}  # fmt: skip
BLOCKS = 4  # a stage's timed steps are waited for so many times, not at every one: a race does not wait either


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure train_gpt.py on one device.")
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--steps", type=int, default=16, help="timed steps of every stage")
    parser.add_argument("--script", type=Path, default=ROOT / "train_gpt.py")
    options = parser.parse_args()
    device = torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)  # a rehearsal is not to wait for the other cores of a busy machine
    for row in measure(import_script(options.script), device, options.shards, options.steps):
        print(json.dumps(row), flush=True)


def import_script(path: Path) -> ModuleType:
    sys.dont_write_bytecode = True  # a record has no files but those of its manifest
    spec = importlib.util.spec_from_file_location("measured_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["measured_script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(gpt: Any, device: torch.device, shards: list[str], steps: int) -> Iterator[dict[str, Any]]:
    """PREPARE as the script does it, then every stage at the record's shapes."""
    vocab = VOCAB_SIZE[device.type]
    hp = gpt.GPT2_SMALL if device.type == "cuda" else rehearsal(gpt)
    run = SimpleNamespace(
        seed=1, rank=0, local_rank=0, world_size=1, device=device, vocab_size=vocab, document_token=vocab - 1,
        practice=False,
    )  # fmt: skip
    started = time.perf_counter()
    ranks = gpt.init_distributed(run)
    trainer = gpt.build(hp, ranks, run)
    gpt.warm_up(trainer, gpt.Stream(shards, hp.length, vocab - 1))
    wait(device)
    took = time.perf_counter() - started
    yield {
        "what": "build, compile, warm up (kernels may be cached; the refereed PREPARE's are not)",
        "found": f"{took:.1f} s",
    }
    whole_ms = 0.0
    starts = [0, *(math.ceil(stage.until * hp.steps) for stage in hp.stages)]
    for stage, start, end in zip(hp.stages, starts, starts[1:], strict=False):
        ms = statistics.median(block_times(gpt, trainer, shards, range(start, end), steps))
        tokens = stage.rows * hp.length
        found = speed(ms, tokens, trainer, device)
        yield {"what": f"steps {start} to {end - 1}, {tokens:,} tokens", "found": found, "tokens": tokens, "ms": ms}
        whole_ms += ms * (end - start)
    what = f"all {hp.steps} steps at these medians (a projection)"
    yield {"what": what, "found": f"{whole_ms / 1000:.1f} s on one device"}
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30
        yield {"what": "peak memory: allocated, reserved", "found": f"{used[0]:.1f} GiB, {used[1]:.1f} GiB"}


def rehearsal(gpt: Any) -> Any:
    """The preset in small: the same stages and mechanisms."""
    stages = tuple(
        dataclasses.replace(stage, until=i / 4, short=8, long=8 + i, max_doc_len=32)
        for i, stage in enumerate(gpt.GPT2_SMALL.stages, start=1)
    )
    return dataclasses.replace(
        gpt.GPT2_SMALL, width=48, heads=3, ngram_vocab_sizes=(1024,), length=64, max_docs=16, steps=8, stages=stages,
        eval_windows=(16, 24), dtype=torch.float32,
    )  # fmt: skip


def block_times(gpt: Any, trainer: Any, shards: list[str], stage: range, steps: int) -> Iterator[float]:
    """Milliseconds per step, of BLOCKS blocks with as many steps with Adam's part of the work as without."""
    size = max(2, steps // BLOCKS // 2 * 2)
    numbers = [stage[i % len(stage)] for i in range(2 + size * BLOCKS)]  # two to get going; short stages start over
    stream = gpt.Stream(shards, trainer.hp.length, trainer.model.document_token)
    batches = gpt.prefetch(gpt.batches(stream, numbers, trainer.hp, trainer.ranks))
    started = 0.0
    for done, (step, batch) in enumerate(zip(numbers, batches, strict=True), start=1):
        trainer.step(step, batch)
        if done >= 2 and (done - 2) % size == 0:
            wait(trainer.device)
            now = time.perf_counter()
            if done > 2:
                yield (now - started) * 1000 / size
            started = now


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


if __name__ == "__main__":
    main()
