"""What the referee costs inside the clock: the same script under the harness and under plain torchrun, ABBA.

    python -m benchmarks.timed_region [--blocks 8] [--script benchmarks/runs/steady.py] [--sandbox namespaces]

A: `speedrun run SCRIPT` (its own train_ns). B: `torchrun benchmarks/runs/bare_run.py SCRIPT` (barrier to barrier). Each
block runs A B B A; its log-ratio cancels drift that is linear within the block. Printed: the geometric mean of
A / B over blocks with its 95 % t-interval.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.system.clock import NS

ROOT = Path(__file__).resolve().parent.parent
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262, 11: 2.228,
        12: 2.201, 16: 2.131, 20: 2.093, 24: 2.069}  # two-sided, by number of blocks  # fmt: skip


def refereed(script: Path, track: str, sandbox: str, runs: str) -> float:
    """train_s of one run under the harness."""
    command = [sys.executable, "-m", "harness", "run", str(script), "--track", track, "--json", "--seed", "1"]
    command += ["--require-sandbox", sandbox, "--out", runs, "--wait"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    record = json.loads(out)
    assert record["status"] == "complete", record
    return record["phases"]["train_ns"] / NS


def bare(script: Path, dataset: str) -> float:
    """train_s of one run under plain torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["benchmarks/runs/bare_run.py", str(script), "--dataset", dataset, "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    return json.loads(out.stdout.splitlines()[-1])["train_time_s"]


def interval(log_ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean of the ratios and its 95 % interval."""
    mean = statistics.fmean(log_ratios)
    half = T_95[len(log_ratios)] * statistics.stdev(log_ratios) / math.sqrt(len(log_ratios))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=ROOT / "benchmarks/runs/steady.py")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--sandbox", default="namespaces")
    parser.add_argument("--blocks", type=int, default=8, choices=sorted(T_95))
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as runs:
        for block in range(args.blocks):
            a1 = refereed(args.script, args.track, args.sandbox, runs)
            b1, b2 = bare(args.script, args.dataset), bare(args.script, args.dataset)
            a2 = refereed(args.script, args.track, args.sandbox, runs)
            ratios.append((math.log(a1) + math.log(a2) - math.log(b1) - math.log(b2)) / 2)
            print(f"block {block + 1}: harness {a1:.3f} {a2:.3f} s, bare {b1:.3f} {b2:.3f} s, "
                  f"{math.expm1(ratios[-1]):+.2%}", flush=True)  # fmt: skip
    point, low, high = interval(ratios)
    print(
        f"harness / bare: {point - 1:+.2%}, 95 % interval {low - 1:+.2%} to {high - 1:+.2%}, {args.blocks} ABBA blocks"
    )


if __name__ == "__main__":
    main()
