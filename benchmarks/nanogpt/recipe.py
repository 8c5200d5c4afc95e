"""nanoGPT's documented CPU recipe: a copy of a checkout under another seed, and the times in its log.

Nothing of it is changed but one number: its train.py takes no seed, so the copy's `torch.manual_seed(1337 + ...)` is
given another. Its data are the same tokens as ours, from the dataset whose digests the referee verifies.
"""

import math
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from data import datasets
from data.shards import read_shard
from harness.errors import UserError
from harness.selftimed.grammars import BY_NAME
from harness.selftimed.logs import file_chunks, read_log
from harness.selftimed.workcopy import ScriptCheckout, find_checkout, find_sources

SEED = 1337  # its own
SEED_LINE = f"torch.manual_seed({SEED} + seed_offset)"
DATASET = "tinyshakespeare"
SOURCE_SHA256 = "8fb65f674f2f20d3cdb01f65c38680c04055d6667354cc90cefb84ad2ccc77d2"  # 3adf61e154c3, November 2025
CHECKPOINT = "out-shakespeare-char/ckpt.pt"
ARGUMENTS = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1",
    "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--max_iters=2000",
    "--lr_decay_iters=2000", "--dropout=0.0",
)  # fmt: skip

_SAVED = re.compile(rb"^step ([0-9]{1,9}): [^\n]*\nsaving checkpoint to ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a log says of the time that training took."""

    iterations: int  # updates behind the last checkpoint
    own_s: float  # everything it prints: the sum of all its iterations, evaluations and checkpoints included
    median_ms: float  # of an iteration without an evaluation; far below the mean if the machine was disturbed
    training_s: float  # those iterations alone; one that evaluates counts as the median of those that do not


def find_nanogpt(root: Path) -> ScriptCheckout:
    """The checkout, as its authors left it. Raises UserError where it is not one, or has no seed to change."""
    script = root / "train.py"
    if not (script.is_file() and (root / "configurator.py").is_file()):
        raise UserError(f"expected a checkout of nanoGPT, found no train.py beside a configurator.py at {root}")
    count = script.read_text(errors="replace").count(SEED_LINE)
    if count != 1:
        raise UserError(f"expected the line {SEED_LINE} once in {script}, found it {count} times; use another commit")
    return find_checkout(script, root)


def is_documented(checkout: ScriptCheckout) -> bool:
    """Whether the checkout's own README.md gives exactly this command."""
    readme = checkout.root / "README.md"
    return readme.is_file() and f"train.py {' '.join(ARGUMENTS)}\n" in readme.read_text(errors="replace")


def shortened(iterations: int | None) -> tuple[str, ...]:
    """The arguments; with fewer iterations, for trying this out, one evaluation at the end."""
    if iterations is None:
        return ARGUMENTS
    return (*ARGUMENTS, *(f"--{key}={iterations}" for key in ("max_iters", "lr_decay_iters", "eval_interval")))


def take_seeded_copy(checkout: ScriptCheckout, target: Path, seed: int, data_root: Path) -> Path:
    """Its Python files in an empty folder with `seed` in place of 1337, and its data. Returns its train.py."""
    for source in find_sources(checkout.root):
        place = target / source.relative_to(checkout.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    script = target / "train.py"
    script.write_text(script.read_text().replace(SEED_LINE, SEED_LINE.replace(str(SEED), str(seed))))
    _write_data(target / "data" / "shakespeare_char", data_root)
    return script


def _write_data(folder: Path, data_root: Path) -> None:
    """The files its prepare.py makes: the same tokens, without a header. Raises DataError for other bytes."""
    dataset = datasets.load_dataset(DATASET)
    datasets.verify(dataset, data_root)
    folder.mkdir(parents=True, exist_ok=True)
    train = np.concatenate([read_shard(path) for path in datasets.train_paths(dataset, data_root)])
    train.tofile(folder / "train.bin")
    np.asarray(read_shard(datasets.val_path(dataset, data_root))).tofile(folder / "val.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": dataset.vocab_size}))


def read_times(log: Path) -> Times:
    """The times of one run up to its last checkpoint, which is what the judge scores. Raises UserError."""
    runs = read_log(file_chunks(log), (BY_NAME["nanogpt"],)).runs
    if len(runs) != 1:
        raise UserError(f"expected the log of one run of nanoGPT in {log}, found {len(runs)}")
    times_ms = [line.step_ms for line in runs[0].training if line.step_ms is not None]
    if [line.step for line in runs[0].training] != list(range(len(times_ms))):
        raise UserError(f"expected every iteration from 0 on in {log}, found gaps; run it again")
    if not all(0 < time_ms < math.inf for time_ms in times_ms):
        raise UserError(f"expected a positive time of every iteration in {log}, found others")
    saved = _SAVED.findall(b"".join(file_chunks(log)))
    if not saved or not 0 < int(saved[-1]) <= len(times_ms):
        raise UserError(f"expected a checkpoint after so many iterations in {log}, found none")
    iterations, evaluating = int(saved[-1]), {line.step for line in runs[0].validations}
    plain_ms = [time_ms for step, time_ms in enumerate(times_ms[:iterations]) if step not in evaluating]
    if not plain_ms:
        raise UserError(f"expected iterations without an evaluation in {log}, found none")
    median_ms = median(plain_ms)
    training_ms = math.fsum(plain_ms) + (iterations - len(plain_ms)) * median_ms
    return Times(
        iterations=iterations,
        own_s=math.fsum(times_ms) / 1000,
        median_ms=median_ms,
        training_s=training_ms / 1000,
    )
