"""How fast the judge scores, against a plain evaluation loop over the same weights and the same windows.

    python -m benchmarks.judge_rate [--script train_gpt.py] [--track nano-2cpu] [--repeats 3]

The plain loop is what a script would do for itself: one process, every core, `F.cross_entropy` on its own logits.
The judge has two evaluators and itself on the same cores, copies every logit, and checks probes besides. Both
rates are from the first batch to the last, without start-up.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data.datasets import data_root, load_dataset, val_path
from data.shards import read_shard
from harness.inside import import_submission
from harness.track import Track, load_track

ROOT = Path(__file__).resolve().parent.parent
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I64": torch.int64, "F64": torch.float64}


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """A safetensors file as CPU tensors."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    body, weights = raw[8 + size :], {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        start, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(body[start:end]), dtype=DTYPES[entry["dtype"]])
        weights[name] = flat.reshape(entry["shape"])
    return weights


def plain_loop(script: Path, weights: dict[str, torch.Tensor], track: Track) -> tuple[float, float]:
    """Tokens per second and val_loss of the loop a script would write for itself."""
    module = import_submission(str(script))
    logits_fn = module.load(weights, torch.device("cpu"))
    count, length = track.data.val_tokens, min(module.EVAL_TOKENS, track.evaluation.max_tokens)
    batch = max(1, min(module.EVAL_BATCH, track.evaluation.max_batch_tokens // length))
    dataset = load_dataset(track.data.dataset)
    stream = np.asarray(read_shard(val_path(dataset, data_root()))[: count + 1]).astype(np.int64)
    whole = count // (length * batch) * (length * batch)
    inputs = torch.from_numpy(stream[:whole]).reshape(-1, batch, length)
    targets = torch.from_numpy(stream[1 : whole + 1]).reshape(-1, batch, length)
    started, total = time.perf_counter(), 0.0
    with torch.inference_mode():
        for x, y in zip(inputs, targets, strict=True):
            total += F.cross_entropy(logits_fn(x).float().flatten(0, 1), y.flatten(), reduction="sum").item()
    return whole / (time.perf_counter() - started), total / whole


def judged(script: Path, track: Track, runs: str) -> tuple[float, float, Path]:
    """Tokens per second and val_loss of one refereed run, and its folder."""
    command = [sys.executable, "-m", "harness", "run", str(script), "--track", track.name, "--json", "--keep-weights"]
    out = subprocess.run([*command, "--out", runs], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    record = json.loads(out)
    score = record["score"]
    return score["count"] / score["eval_ns"] * 1e9, score["val_loss"], Path(runs) / record["run_id"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=ROOT / "train_gpt.py")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    track, ratios = load_track(args.track), []
    with tempfile.TemporaryDirectory() as runs:
        for _ in range(args.repeats):
            judge_rate, judge_loss, folder = judged(args.script, track, runs)
            weights = read_safetensors(folder / "weights.safetensors")
            plain_rate, plain_loss = plain_loop(args.script, weights, track)
            ratios.append(judge_rate / plain_rate)
            judge, plain = (
                f"{judge_rate:,.0f} tokens/s, {judge_loss:.6f}",
                f"{plain_rate:,.0f} tokens/s, {plain_loss:.6f}",
            )
            print(f"judge {judge}; plain loop {plain}; ratio {ratios[-1]:.2f}", flush=True)
    print(f"judge / plain loop: median {statistics.median(ratios):.2f} of {args.repeats}")


if __name__ == "__main__":
    main()
