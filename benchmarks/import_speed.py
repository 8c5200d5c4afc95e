"""How fast an archive of logs is read: `speedrun import` against a loop that tries expressions line by line.

    python -m benchmarks.import_speed CHECKOUT [--repeats 3] [--json]

Whole commands, each on one core (taskset). The loop is what a first script would be: every log is decoded, split into
lines, and every line tried against every expression of the same grammars; it keeps the last validation of each run.
`speedrun import` also reads the tables, the READMEs and every version of the training script, finds copies, and writes
the histories (to a scratch folder). Both get the logs from one `git cat-file --batch`.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = "--baseline"


def baseline(checkout: str) -> None:
    """Line by line; prints how many logs and runs it found."""
    from harness.selftimed.grammars import MODDED_NANOGPT, forms
    from leaderboard.upstream.checkout import Checkout

    patterns = [re.compile(line.pattern.pattern.decode()) for line in forms(MODDED_NANOGPT)]
    source = Checkout(Path(checkout))
    logs = [f for f in source.files("records") if f.path.endswith((".txt", ".log", ".out", ".stdout"))]
    found = runs = 0
    for _, chunks in source.read(logs):
        last = None
        for line in b"".join(chunks).decode(errors="replace").splitlines():
            for pattern in patterns:
                match = pattern.match(line)
                if match and match.groupdict().get("val_loss"):
                    step = int(match["step"])
                    runs += last is None or step < last
                    last = step
                    break
        found += last is not None
    print(json.dumps({"logs": found, "runs": runs}))


def measured(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, processor seconds of the command and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    out = subprocess.run(
        ["taskset", "-c", "0", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="A work tree or a bare repository of modded-nanogpt.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(BASELINE, action="store_true", help="Be the loop.")
    args = parser.parse_args()
    if args.baseline:
        baseline(args.checkout)
        return
    results: dict[str, list[tuple[float, float]]] = {"speedrun import": [], "line by line": []}
    with tempfile.TemporaryDirectory() as scratch:
        ours = [sys.executable, "-m", "harness", "import", "modded-nanogpt", args.checkout, "--out", scratch, "--json"]
        theirs = [sys.executable, "-m", "benchmarks.import_speed", args.checkout, BASELINE]
        for _ in range(args.repeats):
            for name, command in (("speedrun import", ours), ("line by line", theirs)):
                wall, cpu, out = measured(command)
                results[name].append((wall, cpu))
                print(f"{name:<16} {wall:6.2f} s, {cpu:6.2f} s of processor", file=sys.stderr)
                counts = json.loads(out)
                logs = counts["logs"] if "logs" in counts else sum(track["logs"] for track in counts["tracks"])
                assert logs > 0, out
    medians = {name: statistics.median(wall for wall, _ in values) for name, values in results.items()}
    ratios = [theirs[0] / ours[0] for ours, theirs in zip(*results.values(), strict=True)]
    if args.json:
        print(json.dumps({"median_s": medians, "ratios": ratios, "cpus": os.cpu_count()}))
        return
    for name, median in medians.items():
        print(f"{name:<16} median {median:.2f} s of {args.repeats}")
    print(f"speedrun import is {statistics.median(ratios):.1f} times faster ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
