"""Whether all languages of the embedded corpus are equally hard: their entropies, what a script reaches, what counting.

    python -m benchmarks.languages --languages 20                         entropies
    python -m benchmarks.languages --languages 20 --train --steps 64      losses of the reigning script, in this process
    python -m benchmarks.languages --languages 4 --counting               Kneser-Ney of orders 1 to 6

Trains with one process, outside the referee, on text as a run on `nano-2cpu` gets it. Language 0 is shown with --seeds:
the same language with other seeds of the run, for the spread that languages are held against.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data.corpus import narration
from data.corpus.language import STANDARD, Language, language
from data.shards import write_shard
from harness.formats import layout

from .counting import KneserNey

TRAIN_TOKENS, VAL_TOKENS = 2_000_000, 131_072  # a run's training text; a quarter of its validation
MAX_ORDER = 6
Tokens = npt.NDArray[np.uint16]


def drawn(number: int) -> Language:
    """The same languages every time; number 0 is language 0."""
    return STANDARD if number == 0 else language(hashlib.sha256(f"benchmark {number}".encode()).digest())


def texts(spoken: Language) -> tuple[Tokens, Tokens, float]:
    """Training and validation text of a language, and the entropy of the latter in nats per token."""
    seeds = (1, 2) if spoken.secret is None else (spoken.seed("train 1"), spoken.seed("validation"))
    train = narration.generate(seeds[0], TRAIN_TOKENS, spoken)
    val = narration.narrate(seeds[1], VAL_TOKENS + 1, spoken)
    return train, val.tokens, float(val.nats.mean(dtype=np.float64))


def load_script(path: Path, steps: int) -> ModuleType:
    """The reigning script with another number of steps on this preset."""
    text, count = re.subn(r"(?m)^    steps=76,$", f"    steps={steps},", path.read_text())
    if count != 1:
        raise ValueError(f"expected one line 'steps=76,' in {path}, found {count}")
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(text)
        file.flush()
        spec = importlib.util.spec_from_file_location(f"script_{steps}", file.name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


def trained_loss(script: ModuleType, train: Tokens, val: Tokens, seed: int) -> float:
    """Nats per token on `val` after a run of the script on `train`, as the referee would start it with one rank."""
    kept: dict[str, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.bin"
        write_shard(path, train)
        script.train(SimpleNamespace(
            device=torch.device("cpu"), world_size=1, rank=0, seed=seed, vocab_size=narration.VOCAB_SIZE,
            document_token=narration.DOCUMENT_TOKEN, practice=False, warmup_shards=[str(path)],
            reserve=lambda weights: None, go=lambda: [str(path)], log=lambda **_: None,
            stop=lambda weights: kept.update({name: value.clone() for name, value in weights.items()}),
        ))  # fmt: skip
    logits, tokens, length = script.load(kept, "cpu"), torch.from_numpy(val.astype(np.int64)), script.EVAL_TOKENS
    starts, total = range(0, VAL_TOKENS, length), 0.0
    with torch.inference_mode():
        for batch in (starts[i : i + 32] for i in range(0, len(starts), 32)):
            windows = torch.stack([tokens[at : at + length + 1] for at in batch])
            found = logits(windows[:, :-1]).float()
            total += torch.nn.functional.cross_entropy(found.flatten(0, 1), windows[:, 1:].flatten()).item() * len(
                batch
            )
    return total / len(starts)


def counted_losses(train: Tokens, val: Tokens) -> dict[int, float]:
    """Nats per token of modified Kneser-Ney models, by order."""
    model, targets = KneserNey(train.astype(np.int64), narration.VOCAB_SIZE, MAX_ORDER), val.astype(np.int64)
    return {
        order: -float(np.log(found[1:]).mean()) for order, found in enumerate(model.probabilities(targets, targets), 1)
    }


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per language and seed; printed as they come."""
    scripts = {steps: load_script(options.script, steps) for steps in options.steps} if options.train else {}
    rows = []
    first = 0 if options.seeds else 1
    for number in range(first, options.languages + 1):
        train, val, entropy = texts(drawn(number))
        seeds = range(1, options.seeds + 1) if number == 0 else [1]
        for seed in seeds:
            row: dict[str, Any] = {"language": number, "seed": seed, "entropy": round(entropy, 5)}
            row["val_loss"] = {steps: round(trained_loss(s, train, val, seed), 5) for steps, s in scripts.items()}
            if options.counting and seed == 1:
                row["counting"] = {order: round(loss, 4) for order, loss in counted_losses(train, val).items()}
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def spread(rows: list[dict[str, Any]]) -> list[str]:
    """Means and standard deviations, of languages and of seeds."""
    lines = []
    for what, some in (
        ("languages", [r for r in rows if r["language"]]),
        ("seeds", [r for r in rows if not r["language"]]),
    ):
        values = {"entropy": [r["entropy"] for r in some]}
        for steps in some[0]["val_loss"] if some else ():
            values[f"val_loss at {steps} steps"] = [r["val_loss"][steps] for r in some]
        lines += [
            f"{len(v)} {what}: {name} {statistics.fmean(v):.4f}, sd {statistics.stdev(v):.4f}, "
            f"{min(v):.4f} to {max(v):.4f}"
            for name, v in values.items()
            if len(v) > 1
        ]
    return lines


def main() -> None:
    """Print one JSON object per row, then the spread."""
    parser = argparse.ArgumentParser(description="How hard languages of the embedded corpus are.")
    parser.add_argument("--languages", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=0, help="so many runs on language 0 too")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--steps", type=int, nargs="*", default=[64])
    parser.add_argument("--counting", action="store_true")
    parser.add_argument("--script", type=Path, default=layout.record_dirs("nano-2cpu")[-1] / "train_gpt.py")
    options = parser.parse_args()
    print("\n".join(spread(measure(options))))


if __name__ == "__main__":
    main()
