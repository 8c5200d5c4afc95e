"""What honest runs are charged for their answers: one training, scored many times.

    python -m benchmarks.first_answer [--track nano-2cpu] [--runs 30] [--json] [SCRIPT]

Every exam is a whole one, sandbox and fresh evaluators included, on the weights of one training and the values its
ranks had at reserve(). Shown: from the delivery of the weights to the first answer, of the evaluator that counts and
of all; rehearsals; later answers; and what was charged, in milliseconds. The time between GO and STOP, which the slack
may depend on, is that of the one training.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from data import datasets
from harness.cli.campaigns import prepare_data, refereed_track
from harness.formats.observer import Observer
from harness.formats.run import Charge, Score
from harness.formats.submission import read_submission
from harness.formats.track import Track
from harness.formats.weights import WeightBuffer
from harness.referee import execution, machine
from harness.referee.run_state import Request
from harness.scoring import charges
from harness.scoring.scorer import Scorer, ScoreRequest

ROOT = Path(__file__).resolve().parent.parent
Scored = list[tuple[Score, tuple[Charge, Charge]]]


def rescore(track: Track, script: Path, runs: int) -> Scored:
    """Train once, score so many times."""
    scores: list[Score] = []

    class Repeating(Scorer):
        def score(
            self, buffers: list[WeightBuffer], request: ScoreRequest, reserved: Sequence[WeightBuffer] = ()
        ) -> Score:
            for _ in range(runs):
                scores.append(super().score(buffers, request, reserved))
                print(f"{len(scores)} of {runs}", end="\r", file=sys.stderr, flush=True)
            return scores[-1]

    device = machine.pick_device(track)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            submission=read_submission(script), track=track, dataset=datasets.load_dataset(track.data.dataset),
            data_root=datasets.data_root(), runs_root=Path(folder), device=device,
            world_size=machine.pick_world_size(track, None, device), seed=1, seed_source="user", wait=True,
        )  # fmt: skip
        execution.Scorer = Repeating  # type: ignore[misc]
        record, _ = execution.execute(request, Observer())
    if record.phases.train_ns is None or record.weights is None or not scores:
        raise SystemExit(f"{record.status}: {record.sentence}")
    size, train_ns = record.weights.bytes, record.phases.train_ns
    found = [(score, score.answers) for score in scores]
    return [
        (score, charges.of_answers(answers, track.evaluation, train_ns, size))
        for score, answers in found
        if answers is not None
    ]


def summary(scored: Scored) -> dict[str, Any]:
    """Milliseconds: median, smallest and largest."""
    answers = [score.answers for score, _ in scored if score.answers is not None]
    every = [evaluator for found in answers for pair in found.pairs for evaluator in pair]
    lines = {
        "first answer, as it counts": [found.first_ns for found in answers],
        "first answer, every evaluator": [evaluator.first_ns[0] for evaluator in every],
        "slowest of the first windows, every evaluator": [evaluator.slowest_ns for evaluator in every],
        "quickest rehearsal, every evaluator": [min(e.rehearsals_ns) for e in every if e.rehearsals_ns],
        "first rehearsal, every evaluator": [e.rehearsals_ns[0] for e in every if e.rehearsals_ns],
        "later answers, medians": [later.median_ns for found in answers for later in found.later],
        "slow later answers": [time for found in answers for later in found.later for time in later.slow_ns],
        "free": [first.free_ns for _, (first, _) in scored],
        "charged for the first answer": [first.charged_ns for _, (first, _) in scored],
        "charged for later answers": [later.charged_ns for _, (_, later) in scored],
    }
    times = {
        name: {"n": len(found), "median_ms": statistics.median(found) / 1e6, "min_ms": min(found) / 1e6,
               "max_ms": max(found) / 1e6} for name, found in lines.items() if found
    }  # fmt: skip
    return {
        "exams": len(scored),
        "asked for a fresh pair": sum(len(found.pairs) > 1 for found in answers),
        "charged": sum(first.charged_ns + later.charged_ns > 0 for _, (first, later) in scored),
        "rehearsals": sorted(len(evaluator.rehearsals_ns) for evaluator in every),
        "largest difference of windows asked again, nats": max(found.again.max_abs_difference for found in answers),
        "times": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", type=Path, default=ROOT / "train_gpt.py")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--runs", type=int, default=30, help="exams of one training")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    track = refereed_track(args.track)
    prepare_data(track, Console(stderr=True))
    found = summary(rescore(track, args.script, args.runs))
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        if name != "times":
            print(f"{name}: {value}")
    for name, times in found["times"].items():
        between = f"[{times['min_ms']:.1f} .. {times['max_ms']:.1f}]"
        print(f"{name}: {times['median_ms']:.1f} ms {between}, {times['n']} of them")


if __name__ == "__main__":
    main()
