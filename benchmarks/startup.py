"""How long the command line takes to answer.

python -m benchmarks.startup [--repeats 9]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("--help", "leaderboard --track nano-2cpu", "tracks", "doctor")


def seconds(command: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness", *command.split()], cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    for command in COMMANDS:
        values = [seconds(command) for _ in range(args.repeats)]
        print(f"speedrun {command:<32} median {statistics.median(values):.2f} s, largest {max(values):.2f} s")


if __name__ == "__main__":
    main()
