"""What each sandbox level costs inside the clock: the same script at that level and under plain torchrun, ABBA.

    python -m benchmarks.sandbox_cost [--blocks 8] [--levels namespaces landlock process] [--script FILE]

A: `speedrun run --require-sandbox LEVEL SCRIPT` (its own train_ns). B: `torchrun benchmarks/bare_run.py SCRIPT`, which
has no sandbox, no referee and no limits. Each block runs A B B A for every level in turn, so that a drift of the
machine meets all levels alike. Printed per level: the geometric mean of A / B with its 95 % t-interval, which holds
the referee's own cost too; and, paired by block, each level against the last one named.
"""

import argparse
import math
import tempfile
from pathlib import Path

from harness import sandbox

from .timed_region import ROOT, T_95, bare, interval, refereed


def block(level: str, script: Path, track: str, dataset: str, runs: str) -> float:
    """The log-ratio of one block A B B A."""
    a1 = refereed(script, track, level, runs)
    b1, b2 = bare(script, dataset), bare(script, dataset)
    a2 = refereed(script, track, level, runs)
    ratio = (math.log(a1) + math.log(a2) - math.log(b1) - math.log(b2)) / 2
    print(
        f"  {level:<10}  sandboxed {a1:.3f} {a2:.3f} s, bare {b1:.3f} {b2:.3f} s, {math.expm1(ratio):+.2%}", flush=True
    )
    return ratio


def show(name: str, log_ratios: list[float]) -> None:
    point, low, high = interval(log_ratios)
    print(f"{name}: {point - 1:+.2%}, 95 % interval {low - 1:+.2%} to {high - 1:+.2%}, {len(log_ratios)} ABBA blocks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=ROOT / "benchmarks/steady.py")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--levels", nargs="+", choices=sandbox.LEVELS, default=sandbox.available_levels())
    parser.add_argument("--blocks", type=int, default=8, choices=sorted(T_95))
    args = parser.parse_args()
    ratios: dict[str, list[float]] = {level: [] for level in args.levels}
    with tempfile.TemporaryDirectory() as runs:
        for number in range(args.blocks):
            print(f"block {number + 1}", flush=True)
            for level, found in ratios.items():
                found.append(block(level, args.script, args.track, args.dataset, runs))
    for level, found in ratios.items():
        show(f"{level} / bare", found)
    *others, last = ratios
    for level in others:
        show(f"{level} / {last}", [a - b for a, b in zip(ratios[level], ratios[last], strict=True)])


if __name__ == "__main__":
    main()
