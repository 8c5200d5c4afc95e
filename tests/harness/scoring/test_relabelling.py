"""Relabelling: a permutation of every token everywhere, and what it does to who brought knowledge along."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.shards import read_header, read_shard, write_shard
from harness.referee.data_gate import DataGate
from harness.scoring import relabelling

FIRST_FIVE = [164, 131, 6, 228, 48]
DIGEST = "598eedd967760a1e3a27d1b3d3564db05bb390b3e789e9f6464c225697a6a18d"
BIGRAM = Path(__file__).resolve().parents[2] / "submissions" / "bigram.py"


@given(vocab_size=st.integers(1, 70_000 % 2**16), key=st.binary(min_size=32, max_size=32))
@settings(max_examples=30)
def test_it_is_a_permutation_of_the_vocabulary_and_of_nothing_else(vocab_size: int, key: bytes) -> None:
    drawn = relabelling.draw(vocab_size, key)
    assert sorted(drawn.table[:vocab_size].tolist()) == list(range(vocab_size))
    assert drawn.table[vocab_size:].tolist() == list(range(vocab_size, 2**16))
    assert relabelling.draw(vocab_size, key).sha256 == drawn.sha256


def test_the_largest_vocabulary_is_permuted_too() -> None:
    assert len(set(relabelling.draw(2**16).table.tolist())) == 2**16


def test_a_key_gives_the_same_permutation_on_every_machine() -> None:
    drawn = relabelling.draw(325, bytes(32))
    assert drawn.table[:5].tolist() == FIRST_FIVE
    assert drawn.token(0) == FIRST_FIVE[0]
    assert drawn.token(None) is None
    assert drawn.sha256 == DIGEST


def test_no_two_draws_are_alike_and_a_key_is_not_shown() -> None:
    first, second = relabelling.draw(325), relabelling.draw(325)
    assert first.sha256 != second.sha256
    assert str(first.key) not in repr(first)


def test_every_place_is_as_likely() -> None:
    """Where token 0 goes in 4000 permutations of 8: chi-squared with 7 degrees of freedom."""
    rng = np.random.default_rng(0)
    counts = np.bincount([relabelling.draw(8, rng.bytes(32)).token(0) or 0 for _ in range(4000)], minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # p = 0.001


@settings(max_examples=30)
@given(count=st.integers(0, 300), chunk=st.sampled_from([2, 6, 64, 2**22]), seed=st.integers(0, 99))
def test_a_shard_is_copied_token_by_token(tmp_path: Path, monkeypatch: Any, count: int, chunk: int, seed: int) -> None:
    monkeypatch.setattr(relabelling, "CHUNK_BYTES", chunk)
    tokens = np.random.default_rng(seed).integers(0, 50, count)
    write_shard(tmp_path / "a.bin", tokens)
    drawn = relabelling.draw(40)  # tokens beyond the vocabulary stay what they are
    drawn.copy_shard(tmp_path / "a.bin", tmp_path / "b.bin")
    assert read_header(tmp_path / "b.bin") == count
    assert np.array_equal(read_shard(tmp_path / "b.bin"), drawn.tokens(tokens.astype(np.uint16)))
    assert (tmp_path / "b.bin").read_bytes()[:1024] == (tmp_path / "a.bin").read_bytes()[:1024]


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match="magic"):
        relabelling.draw(9).copy_shard(tmp_path / "a.bin", tmp_path / "b.bin")


def test_the_stage_shows_other_tokens_and_the_shards_stay_what_they_are(tmp_path: Path) -> None:
    shard = tmp_path / "train_000001.bin"
    write_shard(shard, np.arange(100) % 20)
    before, drawn = shard.read_bytes(), relabelling.draw(20)
    stage = DataGate([shard], tmp_path, tmp_path, drawn)
    try:
        assert stage.method == "copies"
        (warm, _) = stage.write_warmup(20, drawn.token(0))
        assert read_shard(Path(warm))[0] == drawn.token(0)
        assert not Path(stage.shards[0]).exists()
        stage.reveal()
        assert np.array_equal(read_shard(Path(stage.shards[0])), drawn.tokens(np.arange(100, dtype=np.uint16) % 20))
    finally:
        stage.close()
    assert shard.read_bytes() == before


# through the whole command: who learns reaches the target either way, who remembers does not


def embed(folder: Path, data: Path) -> Path:
    """A submission that trains nothing: a table of the real corpus lies beside it."""
    tokens = np.asarray(read_shard(next((data / "tales").glob("*train_000001.bin")))).astype(np.int64)
    table = np.log(np.bincount(tokens[:-1] * 325 + tokens[1:], minlength=325**2).reshape(325, 325) + 0.05)
    folder.mkdir()
    (folder / "table.bin").write_bytes(np.clip(table * 20, -128, 127).astype(np.int8).tobytes())
    (folder / "train_gpt.py").write_text(EMBEDDED)
    return folder


EMBEDDED = """
from pathlib import Path
import torch
EVAL_TOKENS, EVAL_BATCH = 128, 16
def train(run):
    table = torch.frombuffer(bytearray(Path(__file__).with_name("table.bin").read_bytes()), dtype=torch.int8)
    weights = {} if run.rank else {"table": table.reshape(run.vocab_size, run.vocab_size)}
    run.reserve(weights)
    run.go()
    run.stop(weights)
def load(weights, device):
    table = weights["table"].float() / 20
    return lambda tokens: table[tokens]
"""


def loss_of(outcome: Any) -> float:
    assert outcome.record["status"] == "complete", outcome.stdout
    loss: float = outcome.record["score"]["val_loss"]
    return loss


def bigram_loss(data: Path) -> float:
    """Nats per token of the honest submission, by hand: its counts of the first shard, on the scored tokens."""
    train, val = (np.asarray(read_shard(next((data / "tales").glob(f"*{part}*.bin")))).astype(np.int64)
                  for part in ("train_000001", "val"))  # fmt: skip
    pairs = train[:99_999] * 325 + train[1:100_000]
    table = np.log(np.bincount(pairs, minlength=325**2).reshape(325, 325) + 0.05)
    table -= np.log(np.exp(table).sum(1, keepdims=True))
    return float(-table[val[:20_000], val[1:20_001]].mean())


@pytest.mark.slow
def test_what_was_brought_along_is_worth_nothing_under_other_labels(
    speedrun: Any, tmp_path: Path, write_track: Any
) -> None:
    target = 2.6
    track = write_track(tmp_path, target_val_loss=target, source_bytes=200_000, dataset='"tales"')
    remembers = embed(tmp_path / "remembers", speedrun.data)
    plain, relabelled = (speedrun.run(remembers, "--nproc", "1", *more, track=track) for more in ((), ("--relabel",)))
    assert loss_of(plain) < target < np.log(325) - 1 < loss_of(relabelled)
    honest = speedrun.run(BIGRAM, "--nproc", "1", "--relabel", track=track)
    assert loss_of(honest) == pytest.approx(bigram_loss(speedrun.data), abs=1e-5)
    check_record(honest)


def check_record(outcome: Any) -> None:
    """It says that it was relabelled and how, not under which key; and it is never a place on a board."""
    from harness.formats.run import read_run

    record = read_run(outcome.folder)
    assert (record.relabelled, record.reached_target, record.is_valid, outcome.code) == (True, True, False, 0)
    assert record.relabelling_sha256 is not None
    assert record.data_at_go == "copies"
    assert "key" not in json.loads((outcome.folder / "run.json").read_bytes())


def test_a_rank_sees_one_relabelling_everywhere(
    speedrun: Any, tmp_path: Path, write_submission: Any, standing_track: Path
) -> None:
    """Document token, warm-up shard and training shard agree; and the text is the real one in other words."""
    look = """
import numpy as np
def first(path, count): return np.fromfile(path, dtype="<u2", offset=1024, count=count).tolist()
print("SEEN", run.document_token, *first(run.warmup_shards[0], 1), *first(shards[0], 200), "SEEN")
"""
    outcome = speedrun.run(write_submission(tmp_path, train=look), "--nproc", "1", "--relabel", track=standing_track)
    told, warm, *seen = (int(number) for number in outcome.log.split("SEEN")[1].split())
    real = read_shard(next((speedrun.data / "tales").glob("*train_000001.bin")))[:200].tolist()
    assert told == warm == seen[0]
    assert seen != real
    assert len(set(zip(real, seen, strict=True))) == len(set(real)) == len(set(seen))
