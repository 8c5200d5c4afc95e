"""The systems this stands on, unmodified, a few iterations each: nanoGPT, minGPT and llm.c.

Each test wants a checkout: the environment variables NANOGPT, MINGPT and LLMC name work trees.
"""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.shards import write_shard
from data.tokenize.importing import import_files

ROOT = Path(__file__).resolve().parents[3]
TEXT = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
VOCABULARY = TEXT.parent / "tiktoken"
TRAINED_ON = 1_003_854  # characters: nanoGPT's nine tenths
VAL_TOKENS = 111_539
UNIFORM = float(np.log(65))


def checkout(variable: str, tmp_path: Path) -> Path:
    """A copy of somebody's work tree; skips where there is none."""
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"needs a checkout that {variable} names")
    return Path(shutil.copytree(given, tmp_path / variable.lower(), ignore=shutil.ignore_patterns(".git")))


@pytest.fixture
def text() -> str:
    if not TEXT.is_file():
        pytest.skip(f"tiny Shakespeare's text is not at {TEXT}")
    return TEXT.read_text()


def run(speedrun: Any, *words: str | Path) -> tuple[dict[str, Any], str]:
    """The record of one self-timed run, and its log."""
    process = speedrun.start(sys.executable, "-m", "harness", "run", "--legacy", *words)
    _, stderr = process.communicate(timeout=500)
    folder = max(path.parent for path in speedrun.runs.glob("*/legacy.json"))
    record, log = json.loads((folder / "legacy.json").read_bytes()), (folder / "log.txt").read_text()
    assert record["status"] == "complete", f"{record['sentence']}\n{log[-2000:]}\n{stderr}"
    assert record["tier"] == "reported"
    return record, log


def test_nanogpt_and_its_checkpoint_on_the_whole_split(speedrun: Any, tmp_path: Path, text: str) -> None:
    theirs = checkout("NANOGPT", tmp_path)
    folder, characters = theirs / "data" / "shakespeare_char", sorted(set(text))
    ids = np.unique(np.array([ord(c) for c in text]), return_inverse=True)[1].astype(np.uint16)
    ids[:TRAINED_ON].tofile(folder / "train.bin")
    ids[TRAINED_ON:].tofile(folder / "val.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": len(characters)}))
    import_files([TEXT], None, "tinyshakespeare", speedrun.data)
    sizes = ["--block_size=32", "--batch_size=4", "--n_layer=1", "--n_head=2", "--n_embd=16", "--dropout=0.0"]
    record, _ = run(
        speedrun, theirs / "train.py", "--track", "shakespeare-2cpu", "--checkpoint", "out-shakespeare-char/ckpt.pt",
        "--", "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=1",
        "--eval_interval=2", "--log_interval=1", "--max_iters=4", "--lr_decay_iters=4", *sizes,
    )  # fmt: skip
    claim, measured = record["claim"], record["measured"]
    assert (claim["grammar"], claim["step"], claim["training_lines"]) == ("nanogpt", 4, 5)
    assert (measured["adapter"], measured["score"]["count"]) == ("nanogpt", VAL_TOKENS)
    assert abs(measured["score"]["val_loss"] - UNIFORM) < 0.5  # five iterations teach nothing
    assert measured["score"]["windows"]["tokens"] == 32
    assert all(point["arrived_ns"] is not None for point in record["points"])


def test_mingpt_has_no_validation_split_and_is_measured_all_the_same(speedrun: Any, tmp_path: Path, text: str) -> None:
    theirs = checkout("MINGPT", tmp_path)
    (theirs / "projects" / "chargpt" / "input.txt").write_text(text[:TRAINED_ON])
    import_files([TEXT], None, "tinyshakespeare", speedrun.data)
    sizes = ["--model.model_type=None", "--model.n_layer=1", "--model.n_head=2", "--model.n_embd=16"]
    record, _ = run(
        speedrun, theirs / "projects" / "chargpt" / "chargpt.py", "--checkout", theirs, "--track", "shakespeare-2cpu",
        "--checkpoint", "projects/chargpt/out/chargpt/model.pt", "--", "--trainer.max_iters=12",
        "--trainer.batch_size=4", "--trainer.num_workers=0", "--data.block_size=32", *sizes,
    )  # fmt: skip
    assert (record["claim"]["grammar"], record["claim"]["validations"]) == ("mingpt", 0)
    assert "no_validation" in [finding["id"] for finding in record["findings"]]
    assert (record["measured"]["adapter"], record["measured"]["score"]["count"]) == ("mingpt", VAL_TOKENS)
    assert abs(record["measured"]["score"]["val_loss"] - UNIFORM) < 0.5


def test_llmc_python_trainer(speedrun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = checkout("LLMC", tmp_path)
    if not VOCABULARY.is_dir():
        pytest.skip(f"GPT-2's vocabulary, which it loads at its start, is not at {VOCABULARY}")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(VOCABULARY))
    folder = theirs / "dev" / "data" / "tinyshakespeare"
    folder.mkdir(parents=True)
    tokens = np.random.default_rng(0).integers(0, 50257, 4096).astype(np.uint16)
    write_shard(folder / "tiny_shakespeare_val.bin", tokens)
    record, log = run(
        speedrun, theirs / "train_gpt2.py", "--", "--model", "d12", "--device", "cpu", "--batch_size", "1",
        "--sequence_length", "16", "--total_batch_size", "16", "--num_iterations", "2", "--overfit_single_batch", "0",
        "--write_tensors", "0", "--val_loss_every", "2", "--val_max_steps", "1",
        "--input_val_bin", "dev/data/tinyshakespeare/tiny_shakespeare_val.bin",
    )  # fmt: skip
    claim = record["claim"]
    assert claim["grammar"] == "llmc-python", log[-2000:]
    assert (claim["training_lines"], claim["total"]) == (2, 2)
    assert 9 < claim["train_loss"] < 13
    assert claim["train_time_ns"] <= record["observed"]["wall_ns"]


def test_a_skip_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NANOGPT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a checkout that NANOGPT names"):
        checkout("NANOGPT", tmp_path)
