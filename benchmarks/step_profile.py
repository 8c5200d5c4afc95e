"""Where a step of a racing script goes on a CPU: arithmetic, memory, optimizer, Python; and what the machine could do.

    python -m benchmarks.step_profile SCRIPT [--shard FILE] [--steps 60] [--json]

Four measurements in processes of their own, on all cores: matrix products of 2048 in bf16 and fp32 (the ceilings); the
floating-point operations of a step, counted in an uncompiled one; the seconds from GO to STOP, undisturbed; and the
same under torch's profiler, sorted by what operators do. Whatever no operator accounts for is Python and waiting. The
script gets one rank; its losses are not looked at. Without --shard it reads made-up characters.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from data.shards import write_shard

KINDS = {  # what an operator's name begins with -> kind; the first that fits
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::linear", "mkldnn::", "onednn"),
    "compiled elementwise": ("graph_", "cpp_fused", "torchinductor", "torch-compiled", "compiledfunction", "## call"),
    "looking up and moving rows": ("aten::embedding", "aten::index", "aten::gather", "aten::scatter"),
    "optimizer's own operators": ("optimizer.step", "aten::_fused_adam", "aten::lerp", "aten::linalg", "aten::rsqrt"),
    "memory: copies, casts, fills": ("aten::copy_", "aten::to", "aten::cat", "aten::zero", "aten::fill", "aten::clone"),
}


class Run(SimpleNamespace):
    """What a script sees of the referee. `begin` and `end` are called at GO and STOP."""

    def reserve(self, weights: dict[str, Any]) -> None:
        pass

    def go(self) -> list[str]:
        self.begin()
        self.start = time.perf_counter()
        return [self.shard]

    def log(self, **_: Any) -> None:
        pass

    def stop(self, weights: dict[str, Any]) -> None:
        self.seconds = time.perf_counter() - self.start
        self.end()


def train(
    path: str,
    shard: str,
    vocab_size: int,
    steps: int,
    begin: Callable[[], Any] = lambda: None,
    end: Callable[[], Any] = lambda: None,
) -> float:
    """Run the script for so many steps; seconds from GO to STOP."""
    import torch

    sys.dont_write_bytecode = True  # a record has no files but those of its manifest

    spec = importlib.util.spec_from_file_location("script", path)
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules["script"] = script
    spec.loader.exec_module(script)
    if hasattr(script, "STEPS"):
        script.STEPS = steps
    else:
        import dataclasses

        script.NANO = dataclasses.replace(script.NANO, steps=steps)
    run = Run(
        seed=1, rank=0, world_size=1, local_rank=0, device=torch.device("cpu"), vocab_size=vocab_size,
        document_token=None, practice=False, warmup_shards=[shard], shard=shard, begin=begin, end=end,
    )  # fmt: skip
    script.train(run)
    return float(run.seconds)


def ceilings() -> dict[str, float]:
    """GFLOP/s of matrix products of 2048 on all cores: medians of 9."""
    import torch

    found = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = torch.randn(2, 2048, 2048).to(dtype).unbind(0)
        times = []
        for _ in range(12):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        found[name] = 2 * 2048**3 / statistics.median(times[3:]) / 1e9
    return found


def operations(path: str, shard: str, vocab_size: int) -> float:
    """Floating-point operations of one step, in GFLOP: of four steps less those of two, uncompiled."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.compile = lambda function, **_: function
    counts = []
    for steps in (2, 4):
        counter = FlopCounterMode(display=False)
        with counter:
            train(path, shard, vocab_size, steps)
        counts.append(int(counter.get_total_flops()))
    return (counts[1] - counts[0]) / 2 / 1e9


def undisturbed(path: str, shard: str, vocab_size: int, steps: int) -> float:
    return train(path, shard, vocab_size, steps) / steps


def sorted_time(path: str, shard: str, vocab_size: int, steps: int) -> dict[str, float]:
    """Milliseconds of a step by kind of operator, from torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    profiler = profile(activities=[ProfilerActivity.CPU])
    seconds = train(path, shard, vocab_size, steps, profiler.start, profiler.stop)
    found = dict.fromkeys([*KINDS, "other operators"], 0.0)
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, begins in KINDS.items() if name.startswith(begins)), "other operators")
        found[kind] += event.self_cpu_time_total / 1e3 / steps
    return found | {"Python, waiting": seconds * 1e3 / steps - sum(found.values())}


def made_up_shard(folder: str) -> str:
    """A million characters that lean on the one before."""
    import numpy as np

    tokens = np.cumsum(np.random.default_rng(0).integers(1, 5, size=1_000_000)) % 65
    path = Path(folder) / "train.bin"
    write_shard(path, tokens)
    return str(path)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result from a process of its own."""
    print(f"{function.__name__} ...", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("--shard", type=Path, help="Real tokens; made-up characters by default.")
    parser.add_argument("--vocab-size", type=int, default=65)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        common = (str(options.script), str(options.shard or made_up_shard(folder)), options.vocab_size)
        result = {
            "ceilings_gflop_per_s": apart(ceilings),
            "gflop_per_step": apart(operations, *common),
            "step_ms": apart(undisturbed, *common, options.steps) * 1e3,
            "profiled_ms": apart(sorted_time, *common, options.steps),
        }
    show(result, as_json=options.json)


def show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=1))
        return
    rate = result["gflop_per_step"] / result["step_ms"] * 1e3
    best = result["ceilings_gflop_per_s"]
    print(f"step {result['step_ms']:.1f} ms, {result['gflop_per_step']:.2f} GFLOP: {rate:.0f} GFLOP/s", end="; ")
    print(f"ceilings: bf16 {best['bf16']:.0f}, fp32 {best['fp32']:.0f} GFLOP/s ({rate / best['bf16']:.1%} of bf16)")
    for kind, ms in sorted(result["profiled_ms"].items(), key=lambda item: -item[1]):
        print(f"{ms:8.2f} ms  {ms / sum(result['profiled_ms'].values()):6.1%}  {kind}")


if __name__ == "__main__":
    main()
