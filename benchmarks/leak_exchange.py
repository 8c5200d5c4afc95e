"""What a leak is worth that hides in noise: nats gained, how often it escapes, and what is charged for it.

    python -m benchmarks.leak_exchange                       the table, a minute
    python -m benchmarks.leak_exchange --exams 1000 --json

A simulated model sees later tokens at a share of its positions, gains `leak` nats at each, and adds normal noise to
every loss, as honest arithmetic in bfloat16 does on its own. Probes are drawn, compared and judged by the judge's own
code. Before: 32 suffix pairs and a fixed tolerance of 0.05 nats, nothing charged. After: 256 pairs, a tolerance
tied to what order and repeat pairs show, and the upper bound of the gain charged (rules 2.1).
"""

import argparse
import json
import random
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.formats.run import Probes, Score
from harness.formats.score import Windows
from harness.formats.track import Evaluation
from harness.scoring import probes
from harness.scoring.findings import findings
from harness.scoring.probes import Answered

WINDOWS, TOKENS = 1024, 512  # of nano-2cpu
BEFORE = Evaluation(max_tokens=TOKENS, max_batch_tokens=TOKENS, probe_pairs=32, repeat_tolerance_nats=0.05)
AFTER = Evaluation(max_tokens=TOKENS, max_batch_tokens=TOKENS, probe_pairs=256, leak_standard_errors=2.0)
MODELS = (  # noise (sd, nats), leak (nats at a position that leaks), share of positions
    (0.0, 0.0, 0.0), (0.001, 0.0, 0.0), (0.005, 0.0, 0.0), (0.0, 0.02, 1.0), (0.004, 0.01, 1.0), (0.006, 0.015, 1.0),
    (0.0, 0.05, 0.02), (0.004, 0.04, 0.02), (0.004, 3.0, 0.002),
)  # fmt: skip


def exam(evaluation: Evaluation, noise: float, leak: float, share: float, rng: np.random.Generator) -> Score:
    """One exam of such a model, as far as its probes go; losses are differences from what it would say honestly."""
    drawn = probes.draw(evaluation.probe_pairs, [TOKENS] * WINDOWS, random.Random(int(rng.integers(2**31))))
    real: dict[int, Answered] = {}
    ahead: dict[int, npt.NDArray[np.float64]] = {}
    copies = []
    for probe in drawn:
        if probe.window not in real:
            ahead[probe.window] = leak * (rng.random(TOKENS) < share)
            real[probe.window] = _answer(ahead[probe.window], noise, rng)
        seen = ahead[probe.window].copy()
        if probe.kind == "suffix":
            seen[probe.upto - 1] = 0.0
        copies.append((probe, _answer(seen, noise, rng)))
    found = probes.compare(real, copies)
    return Score(
        val_loss=2.0, leak_nats=probes.leak_nats(found, evaluation.leak_standard_errors), loss_sum=2.0, count=1,
        eval_batch=1, windows=Windows(tokens=TOKENS, loss_sums=[2.0], counts=[1]), probes=Probes(**found),
    )  # fmt: skip


def _answer(gains: npt.NDArray[np.float64], noise: float, rng: np.random.Generator) -> Answered:
    losses = rng.normal(0, noise, TOKENS) - gains if noise else -gains
    return Answered(losses.astype(np.float32), int(rng.integers(100)))


def measure(evaluation: Evaluation, model: tuple[float, float, float], exams: int, seed: int) -> dict[str, float]:
    """Over so many exams: the share that found nothing, and of those the mean charge (nats per token)."""
    rng = np.random.default_rng(seed)
    scores = [exam(evaluation, *model, rng) for _ in range(exams)]
    escaped = [score for score in scores if not findings(score, evaluation)]
    charged = float(np.mean([score.leak_nats for score in escaped])) if escaped else 0.0
    return {"escapes": len(escaped) / exams, "charged": charged}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exams", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if not options.json:
        print(f"{'noise':>7} {'leak':>7} {'share':>7} | {'gain':>8} | before: escapes | after: escapes   charged   net")
    for model in MODELS:
        before, after = (measure(rules, model, options.exams, options.seed) for rules in (BEFORE, AFTER))
        gain = model[1] * model[2]
        rows.append({"noise": model[0], "leak": model[1], "share": model[2], "gain": gain,
                     "before": before, "after": after})  # fmt: skip
        if not options.json:
            net = gain - after["charged"] if after["escapes"] else float("nan")
            print(
                f"{model[0]:7.3f} {model[1]:7.3f} {model[2]:7.3f} | {gain:8.5f} | {before['escapes']:15.3f} | "
                f"{after['escapes']:14.3f}  {after['charged']:8.5f}  {net:+.5f}",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
