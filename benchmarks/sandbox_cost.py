"""What each sandbox level costs inside the clock: the same training at every level and at none, in turns of 0.2 s.

    python -m benchmarks.sandbox_cost [--sittings 8] [--blocks 25] [--levels namespaces landlock process]

A sitting starts the same two ranks (torchrun, gloo; benchmarks/runs/turns.py) once bare and once in a sandbox of each
level, and then lets one of them train at a time, from the word to the last rank's answer: GO to STOP without either,
whose own cost benchmarks/latency.py measures. A block is a palindrome, bare A B C C B A bare, so that whatever drifts
meets all alike; its log-ratio is that of a level's two turns to the two bare ones. While a sandbox trains it is
watched as the referee watches it. Two processes of the same program differ by where their memory lies, so the interval
is a t-interval over sittings, not over blocks. The bound, 0.5 %, is for the point.
"""

import argparse
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data import datasets
from harness.referee.referee import listen
from harness.sandbox import levels
from harness.sandbox.policy import View
from harness.sandbox.process_tree import ProcessTree
from harness.system import processes

from .timed_region import T_95, interval

HERE = Path(__file__).resolve().parent
RANKS, BOUND = 2, 0.005
BARE = "bare"
START_S = 300  # for torchrun and three imports of torch


@dataclass(slots=True)
class Arm:
    """The same ranks, once."""

    name: str
    process: subprocess.Popen[bytes]
    tree: ProcessTree | None  # None: bare
    ranks: list[socket.socket]

    def turn(self, steps: int) -> float:
        """Seconds from the word to the last rank's answer."""
        started = time.perf_counter()
        for rank in self.ranks:
            rank.send(bytes([steps]))
        for rank in self.ranks:
            while True:
                if self.tree is not None:
                    self.tree.watch()
                rank.settimeout(None if self.tree is None else self.tree.watch_s + 0.001)
                try:
                    answered = rank.recv(1)
                    break
                except TimeoutError:
                    continue
            if not answered:
                raise SystemExit(f"expected {self.name} to train on, found it gone")
        return time.perf_counter() - started


def start(name: str, folder: Path, shard: Path, vocab_size: int) -> Arm:
    """torchrun with its ranks, at a level or bare, until all of them wait for their first word."""
    for part in ("home", "socket"):
        (folder / part).mkdir(parents=True)
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}"]
    argv += [str(HERE / "runs" / "turns.py"), str(shard), str(vocab_size)]
    view = View(
        readable=(HERE, shard.parent, folder / "socket"),
        home=folder / "home",
        environment={"OMP_NUM_THREADS": "1", "SPEEDRUN_SOCKET": str(folder / "socket" / "referee")},
    )
    listener = listen(folder / "socket")
    listener.settimeout(START_S)
    if name == BARE:
        tree, environment = None, levels.clean_environment(view.home) | view.environment
        process = subprocess.Popen(argv, env=environment, cwd=view.home, stdout=subprocess.DEVNULL)
    else:
        tree = ProcessTree(name, view)
        process = tree.start(argv)
    try:
        ranks = [listener.accept()[0] for _ in range(RANKS)]
    except TimeoutError as error:
        raise SystemExit(f"expected {RANKS} ranks of {name} within {START_S} s, found fewer") from error
    listener.close()
    return Arm(name, process, tree, ranks)


@contextmanager
def started(names: list[str], shard: Path, vocab_size: int) -> Iterator[list[Arm]]:
    """One arm for each name, and none of them afterwards."""
    arms: list[Arm] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            arms += [start(name, Path(folder) / name, shard, vocab_size) for name in names]
            for arm in arms:
                if arm.tree is not None:
                    arm.tree.strangers = {other.process.pid for other in arms if other is not arm}
            yield arms
        finally:
            for arm in arms:
                if arm.tree is not None:
                    arm.tree.kill()
            processes.kill_children()
            for arm in arms:
                for rank in arm.ranks:
                    rank.close()
                arm.process.communicate()
                if arm.tree is not None:
                    arm.tree.close()


def sitting(names: list[str], shard: Path, vocab_size: int, blocks: int, steps: int) -> dict[str, float]:
    """The median log-ratio of each level to bare over the blocks of one sitting: a hiccup of the machine is no cost."""
    ratios: dict[str, list[float]] = {name: [] for name in names}
    with started(names, shard, vocab_size) as arms:
        for arm in arms:
            arm.turn(steps)
        for number in range(blocks):
            order = arms[number % len(arms) :] + arms[: number % len(arms)]
            logs = {name: 0.0 for name in names}
            for arm in (*order, *reversed(order)):
                logs[arm.name] += math.log(arm.turn(steps)) / 2
            for name, value in logs.items():
                ratios[name].append(value - logs[BARE])
        print(f"  a turn took {statistics.median([arms[0].turn(steps) for _ in range(5)]):.3f} s bare", flush=True)
    return {name: statistics.median(values) for name, values in ratios.items() if name != BARE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", nargs="+", choices=levels.LEVELS, default=levels.available_levels())
    parser.add_argument("--sittings", type=int, default=8, choices=sorted(T_95))
    parser.add_argument("--blocks", type=int, default=25, help="of each sitting")
    parser.add_argument("--steps", type=int, default=15, choices=range(1, 256), metavar="1..255", help="of each turn")
    parser.add_argument("--dataset", default="embedded")
    args = parser.parse_args()
    processes.adopt_orphans()
    dataset = datasets.load_dataset(args.dataset)
    datasets.prepare(dataset, datasets.data_root())
    found: dict[str, list[float]] = {level: [] for level in args.levels}
    with tempfile.TemporaryDirectory() as stage:
        shard = Path(shutil.copy(datasets.train_paths(dataset, datasets.data_root())[0], stage))
        for number in range(args.sittings):
            print(f"sitting {number + 1} of {args.sittings}, load {os.getloadavg()[0]:.2f}", flush=True)
            for level, ratio in sitting(
                [BARE, *args.levels], shard, dataset.vocab_size, args.blocks, args.steps
            ).items():
                found[level].append(ratio)
                print(f"  {level:<10} {math.expm1(ratio):+.2%}", flush=True)
    print(f"{'level':<10}  against none, 95 % interval over {args.sittings} sittings of {args.blocks} ABBA blocks")
    for level, ratios in found.items():
        point, low, high = interval(ratios)
        verdict = f"{'within' if point - 1 <= BOUND else 'over'} the bound of {BOUND:.1%}"
        print(f"{level:<10}  {point - 1:+.2%}  ({low - 1:+.2%} to {high - 1:+.2%})  {verdict}")


if __name__ == "__main__":
    main()
