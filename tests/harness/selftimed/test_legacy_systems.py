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
from harness.campaigns.bundle import Bundle, read_bundle
from harness.selftimed.record import SelfTimedRecord

ROOT = Path(__file__).resolve().parents[3]
TEXT = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
VOCABULARY = TEXT.parent / "tiktoken"
TRAINED_ON = 1_003_854  # characters: nanoGPT's nine tenths
VAL_TOKENS = 111_539
UNIFORM = float(np.log(65))
NANOGPT_SETTINGS = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=1", "--eval_interval=2",
    "--log_interval=1", "--lr_decay_iters=4", "--block_size=32", "--batch_size=4", "--n_layer=1", "--n_head=2",
    "--n_embd=16", "--dropout=0.0",
)  # fmt: skip
CHARGPT = Path("projects", "chargpt", "chargpt.py")
MINGPT_SETTINGS = (
    "--model.model_type=None", "--model.n_layer=1", "--model.n_head=2", "--model.n_embd=16", "--trainer.batch_size=4",
    "--trainer.num_workers=0", "--data.block_size=32",
)  # fmt: skip


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


def nanogpt(tmp_path: Path, text: str) -> Path:
    """nanoGPT with its character data set, as its own prepare.py makes it."""
    theirs = checkout("NANOGPT", tmp_path)
    folder, characters = theirs / "data" / "shakespeare_char", sorted(set(text))
    ids = np.unique(np.array([ord(c) for c in text]), return_inverse=True)[1].astype(np.uint16)
    ids[:TRAINED_ON].tofile(folder / "train.bin")
    ids[TRAINED_ON:].tofile(folder / "val.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": len(characters)}))
    return theirs


def mingpt(tmp_path: Path, text: str) -> Path:
    """minGPT with the text that its character model reads."""
    theirs = checkout("MINGPT", tmp_path)
    (theirs / CHARGPT).with_name("input.txt").write_text(text[:TRAINED_ON])
    return theirs


def race(speedrun: Any, command: str, *words: str | Path) -> tuple[Bundle, dict[str, Any]]:
    """A whole campaign of two runs of each arm, and what the console command said of it."""
    process = speedrun.start(
        sys.executable, "-m", "harness", command, "--track", "shakespeare-2cpu", "--runs", "2", "--json", *words
    )
    stdout, stderr = process.communicate(timeout=1800)
    assert process.returncode in (0, 1), stdout + stderr
    bundle = read_bundle(next(speedrun.runs.glob("*/ledger.jsonl")).parent)
    assert bundle.closed, stdout + stderr
    assert [f for f in bundle.findings if f.severity == "error"] == []
    return bundle, json.loads(stdout)


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
    theirs = nanogpt(tmp_path, text)
    import_files([TEXT], None, "tinyshakespeare", speedrun.data)
    record, _ = run(
        speedrun, theirs / "train.py", "--track", "shakespeare-2cpu", "--checkpoint", "out-shakespeare-char/ckpt.pt",
        "--", *NANOGPT_SETTINGS, "--max_iters=4",
    )  # fmt: skip
    claim, measured = record["claim"], record["measured"]
    assert (claim["grammar"], claim["step"], claim["training_lines"]) == ("nanogpt", 4, 5)
    assert (measured["adapter"], measured["score"]["count"]) == ("nanogpt", VAL_TOKENS)
    assert abs(measured["score"]["val_loss"] - UNIFORM) < 0.5  # five iterations teach nothing
    assert measured["score"]["windows"]["tokens"] == 32
    assert all(point["arrived_ns"] is not None for point in record["points"])


def test_mingpt_has_no_validation_split_and_is_measured_all_the_same(speedrun: Any, tmp_path: Path, text: str) -> None:
    theirs = mingpt(tmp_path, text)
    import_files([TEXT], None, "tinyshakespeare", speedrun.data)
    record, _ = run(
        speedrun, theirs / CHARGPT, "--checkout", theirs, "--track", "shakespeare-2cpu",
        "--checkpoint", "projects/chargpt/out/chargpt/model.pt", "--", *MINGPT_SETTINGS, "--trainer.max_iters=12",
    )  # fmt: skip
    assert (record["claim"]["grammar"], record["claim"]["validations"]) == ("mingpt", 0)
    assert "no_validation" in [finding["id"] for finding in record["findings"]]
    assert (record["measured"]["adapter"], record["measured"]["score"]["count"]) == ("mingpt", VAL_TOKENS)
    assert abs(record["measured"]["score"]["val_loss"] - UNIFORM) < 0.5


@pytest.mark.slow
def test_nanogpt_races_itself_under_two_settings(speedrun: Any, tmp_path: Path, text: str) -> None:
    theirs = nanogpt(tmp_path, text)
    bundle, told = race(
        speedrun, "compare", "--legacy", theirs / "train.py", "--arg=--max_iters=4", "--baseline-arg=--max_iters=8",
        "--", *NANOGPT_SETTINGS,
    )  # fmt: skip
    assert [attempt.slot.arm for attempt in bundle.stated] == ["candidate", "baseline", "baseline", "candidate"]
    for arm, steps in (("candidate", 4), ("baseline", 8)):
        for found in bundle.counted(arm):
            assert isinstance(found, SelfTimedRecord)
            assert found.claim is not None
            assert (found.claim.grammar, found.claim.step) == ("nanogpt", steps)
            assert found.script.arguments[-1] == f"--max_iters={steps}"
    assert (told["tier"], told["closed"]) == ("reported", True)
    assert told["evidence"]["candidate"]["n"] == 2
    out = tmp_path / "review"
    exported = speedrun.start(sys.executable, "-m", "harness", "export", "upstream", bundle.folder, out)
    assert exported.communicate(timeout=600) is not None
    assert exported.returncode == 0
    assert (out / "this_pr" / "train.py").read_bytes() == (theirs / "train.py").read_bytes()


@pytest.mark.slow
def test_mingpt_states_no_val_loss_and_its_campaign_says_so(speedrun: Any, tmp_path: Path, text: str) -> None:
    theirs = mingpt(tmp_path, text)
    bundle, told = race(
        speedrun, "run", "--legacy", theirs / CHARGPT, "--checkout", theirs, "--", *MINGPT_SETTINGS,
        "--trainer.max_iters=12",
    )  # fmt: skip
    assert [attempt.run.claim.grammar for attempt in bundle.stated if attempt.run.claim] == ["mingpt", "mingpt"]
    assert {"no_result", "no_validation"} <= {finding.id for finding in bundle.findings}
    assert (told["tier"], told["evidence"]["candidate"]["valid"]) == ("reported", False)


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
