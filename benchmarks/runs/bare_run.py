"""Train a submission without the referee, for comparison:

    torchrun --standalone --nproc_per_node=2 benchmarks/runs/bare_run.py train_gpt.py --seed 1 --eval

The ranks time themselves, a barrier on either side: what the referee's overhead is measured against.
Rank 0 prints one line of JSON: train_time_s, prepare_s, tokens, and with --eval the validation loss.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # torchrun starts scripts, not modules

from data.datasets import Dataset, data_root, load_dataset, prepare, train_paths, val_path
from data.shards import read_shard, write_shard
from harness.sandbox.inside import import_submission

WARMUP_TOKENS = 2**20


class BareRun:
    """What a submission sees as `run`: the referee's contract without the referee."""

    practice = False

    def __init__(self, dataset: Dataset, seed: int, folder: Path) -> None:
        self.seed = seed
        self.rank, self.local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        self.world_size = int(os.environ["WORLD_SIZE"])
        self.device = torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")
        self.vocab_size, self.document_token = dataset.vocab_size, dataset.document_token
        self.track = SimpleNamespace(name="bare", target_val_loss=0.0)
        self.budget_s = float("inf")
        self.folder = folder
        self.warmup_shards = (str(self._write_warmup_shard()),)
        self.shards = [str(path) for path in train_paths(dataset, data_root())]
        self.tokens = 0
        self.created = time.perf_counter()

    def log(self, *, step: int, steps: int, train_loss: float, tokens: int) -> None:
        self.tokens = tokens
        if self.rank == 0:
            print(f"step {step}/{steps} train_loss {train_loss:.4f}", file=sys.stderr)

    def reserve(self, weights: dict[str, torch.Tensor]) -> None:
        self.reserved = {name: torch.empty_like(tensor, device="cpu") for name, tensor in weights.items()}

    def go(self) -> list[str]:
        self.prepare_s = time.perf_counter() - self.created
        self._meet()
        self.started = time.perf_counter()
        return self.shards

    def stop(self, weights: dict[str, torch.Tensor]) -> None:
        for name, tensor in weights.items():
            self.reserved[name].copy_(tensor)
        self._meet()
        self.train_time_s = time.perf_counter() - self.started
        torch.save(self.reserved, self.folder / f"weights_{self.rank}.pt")
        self._meet()

    def _meet(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        if dist.is_initialized():
            dist.barrier()

    def _write_warmup_shard(self) -> Path:
        path = self.folder / f"warmup_{self.rank}.bin"
        tokens = np.random.default_rng(0).integers(self.vocab_size, size=WARMUP_TOKENS, dtype=np.uint16)
        write_shard(path, tokens)
        return path


@torch.no_grad()
def validation_loss(submission: ModuleType, weights: dict[str, torch.Tensor], run: BareRun, tokens: Any) -> float:
    """Mean cross-entropy in nats over non-overlapping windows, every target once."""
    logits_fn = submission.load(weights, run.device)
    length, batch = submission.EVAL_TOKENS, submission.EVAL_BATCH
    count = (len(tokens) - 1) // length
    whole = torch.from_numpy(tokens.astype(np.int64))
    inputs = whole[: count * length].view(count, length).split(batch)
    targets = whole[1 : count * length + 1].view(count, length).split(batch)
    total = 0.0
    for x, y in zip(inputs, targets, strict=True):
        logits = logits_fn(x.to(run.device)).float().flatten(0, 1)
        total += float(F.cross_entropy(logits, y.to(run.device).flatten(), reduction="sum"))
    return total / (count * length)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a submission without the referee.")
    parser.add_argument("submission", type=Path)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eval", action="store_true", help="also compute the validation loss")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.dataset)
    prepare(dataset, data_root())
    torch.manual_seed(arguments.seed)
    submission = import_submission(str(arguments.submission))
    folder = Path(tempfile.gettempdir()) / f"bare_run_{os.environ['TORCHELASTIC_RUN_ID']}"
    folder.mkdir(exist_ok=True)
    run = BareRun(dataset, arguments.seed, folder)
    submission.train(run)
    if run.rank == 0:
        result: dict[str, Any] = {
            "train_time_s": run.train_time_s,
            "prepare_s": run.prepare_s,
            "tokens": run.tokens,
        }
        if arguments.eval:
            parts = [torch.load(folder / f"weights_{rank}.pt") for rank in range(run.world_size)]
            weights = {name: tensor for part in parts for name, tensor in part.items()}
            started = time.perf_counter()
            result["val_loss"] = validation_loss(submission, weights, run, read_shard(val_path(dataset, data_root())))
            result["eval_s"] = time.perf_counter() - started
        print(json.dumps(result))


if __name__ == "__main__":
    main()
