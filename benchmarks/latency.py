"""What GO and STOP cost: stamps of the referee against stamps of the ranks, on the same clock.

    python -m benchmarks.latency [--repeats 9]

GO: from the referee's stamp (before the data appears) to the return of `run.go()`. STOP: from the call of
`run.stop(weights)` (1.6 MB a rank) to the referee's stamp after the last seal. Both are inside the time of a run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .judge_rate import read_safetensors

ROOT = Path(__file__).resolve().parent.parent


def measure(runs: str, sandbox: str) -> tuple[float, float]:
    """Milliseconds of GO and of STOP, each of the slowest rank."""
    command = [sys.executable, "-m", "harness", "run", "benchmarks/runs/stamps.py", "--track", "tests/tracks/tiny"]
    command += ["--json", "--keep-weights", "--out", runs, "--require-sandbox", sandbox, "--wait"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    record = json.loads(out)
    weights = read_safetensors(Path(runs) / record["run_id"] / "weights.safetensors")
    ranks = [weights[f"stamps.{rank}"].tolist() for rank in range(record["world_size"])]
    go_ns, stop_ns = record["stamps"]["go_ns"], record["stamps"]["stop_ns"]
    return (max(rank[0] for rank in ranks) - go_ns) / 1e6, (stop_ns - max(rank[1] for rank in ranks)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sandbox", default="namespaces")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        measured = [measure(runs, args.sandbox) for _ in range(args.repeats)]
    for name, values in zip(("GO", "STOP"), zip(*measured, strict=True), strict=True):
        print(f"{name:<5} median {statistics.median(values):.2f} ms, largest {max(values):.2f} ms, of {args.repeats}")


if __name__ == "__main__":
    main()
