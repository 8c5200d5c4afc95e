"""How fast the judge scores: against a plain evaluation loop, and at GPT-2's vocabulary by itself.

    python -m benchmarks.judge_rate [--script train_gpt.py] [--track nano-2cpu] [--repeats 3]
    python -m benchmarks.judge_rate --vocab 50304 [--tokens 65536 262144] [--window 1024] [--repeats 3] [--device cuda]

The plain loop is what a script would do for itself: one process, every core, `F.cross_entropy` on its own logits.
The judge has two evaluators and itself on the same cores, reads every logit, and checks probes besides. Both
rates are from the first batch to the last, without start-up.

With --vocab, two sandboxed evaluators answer with bf16 logits that were made beforehand: what is measured is the
shared ring and the judge's log-softmax, and what memory they take. The last line is a projection for the scoring of the
GPT-2 tracks.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data.datasets import data_root, load_dataset, val_path
from data.shards import read_shard, write_shard
from harness.formats.logfile import LogFile
from harness.formats.observer import Observer
from harness.formats.run import Score
from harness.formats.track import Track, load_track
from harness.sandbox import belongings
from harness.sandbox.inside import import_submission
from harness.sandbox.policy import View
from harness.scoring import probes
from harness.scoring.scorer import EvaluatorSettings, Scorer, ScoreRequest
from harness.system import processes
from harness.system.clock import NS

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
    return score["count"] / score["eval_ns"] * NS, score["val_loss"], Path(runs) / record["run_id"]


SYNTHETIC = """
import torch
EVAL_TOKENS, EVAL_BATCH, VOCAB = {window}, 1, {vocab}
def load(weights, device):
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(EVAL_TOKENS, VOCAB, generator=generator) * 3).bfloat16().to(device)
    return lambda tokens: logits.expand(len(tokens), -1, -1)
"""
GPT2_TRACK = "gpt2-small-8xh100"


class Watcher(Observer):
    """Notes how many batches are read, and what each process has used by the first look at it and by the last.

    It looks at every batch: when it is told of the last one, judge and evaluators may be gone already.
    """

    def __init__(self) -> None:
        self.total, self.first, self.last = 0, dict[int, Usage](), dict[int, Usage]()

    def scored(self, done: int, total: int) -> None:
        self.total, found = total, usage()
        self.first = self.first or found
        for pid, used in found.items():
            if pid not in self.last or used.processor_s >= self.last[pid].processor_s:  # threads that ended count less
                self.last[pid] = used

    def rate(self, name: str) -> float:
        """Batches per second of the processor time of all processes of this name, from the first batch to the last."""
        used = sum(self.last[pid].processor_s - self.first[pid].processor_s for pid in self.named(name))
        return (self.total - 1) / used

    def peak_mib(self, name: str) -> int:
        """The largest process of this name, at the end."""
        return max(self.last[pid].peak_mib for pid in self.named(name))

    def named(self, name: str) -> list[int]:
        return [pid for pid, used in self.last.items() if used.name == name]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process so far."""

    name: str
    processor_s: float
    peak_mib: int  # resident; the shared pages of the ring are counted in both processes


def usage() -> dict[int, Usage]:
    """Judge and evaluators among our descendants, by pid."""
    found = {}
    for pid in processes.tree(os.getpid()):
        folder = Path("/proc") / str(pid)
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            tasks = [(task / "schedstat").read_text() for task in (folder / "task").iterdir()]
        except (OSError, ValueError):
            continue
        name = (
            "evaluator" if b"evaluate" in words else "judge" if b"harness.scoring.judge" in b" ".join(words) else None
        )
        if b"python" in words[0] and name is not None:
            nanoseconds = sum(int(task.split()[0]) for task in tasks)
            found[pid] = Usage(name, nanoseconds / NS, int(status["VmHWM"].split()[0]) // 1024)
    return found


def synthetic(options: argparse.Namespace, count: int, folder: Path) -> tuple[Score, Watcher]:
    """One scoring of `count` scored tokens, a tenth as much shadow text, and probes."""
    (folder / "source").mkdir(parents=True)
    (folder / "home").mkdir()
    belongings.put(folder / "source")
    entry = folder / "source" / "train_gpt.py"
    entry.write_text(SYNTHETIC.format(window=options.window, vocab=options.vocab))
    stream = np.random.default_rng(1).integers(0, options.vocab, count + count // 8 + 1)
    write_shard(folder / "val.bin", stream)
    view = View(readable=(folder / "source",), home=folder / "home", cuda=options.device == "cuda")
    settings = EvaluatorSettings(
        level=options.sandbox, view=view,
        inside=folder / "source", entry=entry, seed=1, device=options.device, threads=options.threads,
    )  # fmt: skip
    score_request = ScoreRequest(
        val_path=folder / "val.bin", val_sha256=None, val_tokens=count, vocab_size=options.vocab, max_tokens=2**16,
        max_batch_tokens=2**16, probe_pairs=4, shadow_tokens=count // 10, shadow_source="rest",
        relabelling_key=None, budget_s=3600,
    )  # fmt: skip
    log, watcher = LogFile(folder / "log.txt", 2**20), Watcher()
    try:
        return Scorer(settings, log, watcher).score([], score_request), watcher
    finally:
        log.close()


def measure_vocabulary(options: argparse.Namespace) -> None:
    """Print one line for every scoring, and the projection."""
    rates = []
    for count in options.tokens:
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as name:
                score, watcher = synthetic(options, count, Path(name) / "scoring")
            batch = score.eval_batch * score.windows.tokens
            rates.append(watcher.rate("judge") * batch)
            wall, evaluators = watcher.total * batch / score.eval_ns * NS, watcher.rate("evaluator") * batch
            print(
                f"{count:,} scored of {watcher.total * batch:,} tokens x {options.vocab:,} bf16 logits: "
                f"{wall:,.0f} tokens/s, {wall * options.vocab * 2 / 1e9:.2f} GB/s through the ring; "
                f"by processor time: judge {rates[-1]:,.0f}, evaluators {evaluators:,.0f} tokens/s; "
                f"peak MiB: judge {watcher.peak_mib('judge')}, evaluator {watcher.peak_mib('evaluator')}; "
                f"val_loss {score.val_loss:.6f}",
                flush=True,
            )
    track, rate = load_track(GPT2_TRACK), statistics.median(rates)
    whole = exam_tokens(track, 65_536), exam_tokens(track, 1024)
    print(
        f"projection, not a measurement: the scoring of {GPT2_TRACK} reads {whole[0]:,} tokens in windows of 65,536 "
        f"({whole[1]:,} in windows of 1,024) and would keep such a judge busy for {whole[0] / rate / 60:.0f} min "
        f"({whole[1] / rate / 60:.0f}); the budget of SCORE is {track.budget.score_s / 60:.0f} min"
    )


def exam_tokens(track: Track, window: int) -> int:
    """Tokens the evaluators are asked for in windows of so many: scored, shadow, and copies for probes."""
    windows = -(-track.data.val_tokens // window)
    drawn = probes.draw(track.evaluation.probe_pairs, [window] * windows, random.Random(1))
    return (windows + max(1, track.evaluation.shadow_tokens // window) + len(drawn)) * window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=ROOT / "train_gpt.py")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocab", type=int, help="measure with made-up logits of so many tokens instead")
    parser.add_argument("--tokens", type=int, nargs="+", default=[65_536], help="of each scoring, with --vocab")
    parser.add_argument("--window", type=int, default=1024, help="tokens of a window and of a batch, with --vocab")
    parser.add_argument("--threads", type=int, default=1, help="of each process, with --vocab")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sandbox", default="namespaces", choices=["namespaces", "landlock", "process"])
    args = parser.parse_args()
    if args.vocab:
        measure_vocabulary(args)
        return
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
