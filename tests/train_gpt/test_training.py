"""The flagship whole: training on one and several ranks, the referee's contract, loading, the page itself."""

import ast
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from harness.formats.track import load_track
from harness.rules.source_rules import check
from tests.train_gpt.flagship import (
    DOCUMENT,
    FILE,
    VOCAB,
    fake_run,
    gpt,
    one_rank,
    planned_rows,
    random_model,
    random_tokens,
    small,
    tiny,
    write_tokens,
)  # fmt: skip
from tests.train_gpt.test_attention import varlen_by_hand

ROOT = FILE.parent


def trained_losses(rank: int, world: int, shard: str, hp: Any) -> tuple[list[float], Any]:
    ranks = gpt.Ranks(rank=rank, world_size=world)
    trainer = gpt.build(hp, ranks, fake_run(rank, world))
    stream = gpt.Stream([shard], hp.length, DOCUMENT)
    steps = enumerate(gpt.batches(stream, range(hp.steps), hp, ranks))
    losses = torch.stack([trainer.step(step, batches) for step, batches in steps])
    if world > 1:
        dist.all_reduce(losses)
    return losses.tolist(), trainer


def one_update(rank: int, world: int, hp: Any) -> dict[str, torch.Tensor]:
    """The weights after one step along random gradients of which every rank holds an equal part."""
    model = random_model(hp)
    optimizer = gpt.ShardedOptimizer(
        dict(model.named_parameters()), hp.param_groups, gpt.Ranks(rank=rank, world_size=world)
    )
    generator = torch.Generator().manual_seed(8)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) / world
    optimizer.step(3, hp, tokens=10)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def train_as_rank(rank: int, world: int, shard: str, folder: str, preset: str) -> None:
    """What one of the processes of `ranks` does."""
    torch.set_num_threads(1)
    hp = {"tiny": tiny, "small": small}[preset]()
    store = dist.FileStore(os.path.join(folder, "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    updated = one_update(rank, world, hp)
    losses, trainer = trained_losses(rank, world, shard, hp)
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    torch.save((losses, weights, updated), os.path.join(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def ranks(world: int, shard: str, folder: Path, preset: str) -> list[Any]:
    """train_as_rank in so many processes of their own, to their end; what they found."""
    call = f"it.train_as_rank(int(sys.argv[1]), {world}, {shard!r}, {str(folder)!r}, {preset!r})"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.train_gpt.test_training as it; {call}"
    deadline = time.monotonic() + 200 * world
    with ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen([sys.executable, "-c", code, str(n)])) for n in range(world)]
        stack.callback(lambda: [process.kill() for process in started])  # one that failed would leave the rest waiting
        assert [process.wait(deadline - time.monotonic()) for process in started] == [0] * world
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def check_ranks(world: int, preset: str, folder: Path) -> None:
    """All of them together do what one does alone, with every mechanism of the preset."""
    hp = {"tiny": tiny, "small": small}[preset]()
    shard = write_tokens(folder / "train.bin", 30_000)
    alone, _ = trained_losses(0, 1, shard, hp)
    results = ranks(world, shard, folder, preset)
    for losses, weights, updated in results:
        torch.testing.assert_close(updated, one_update(0, 1, hp), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weights, results[0][1], rtol=0, atol=0)
        assert losses[:2] == pytest.approx(alone[:2], rel=1e-5)
        # Muon lifts directions of no gradient, which hold nothing but rounding, a thousandfold
        assert losses == pytest.approx(alone, rel=2e-2)


@pytest.mark.parametrize("preset", [pytest.param("tiny", marks=pytest.mark.slow), "small"])
def test_two_ranks_train_the_same_model_as_one(preset: str, tmp_path: Path) -> None:
    check_ranks(2, preset, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # eight processes may have to share two busy cores
@pytest.mark.parametrize("world", [pytest.param(4, marks=pytest.mark.exhaustive), 8])
def test_four_and_eight_ranks_train_the_same_model_as_one(world: int, tmp_path: Path) -> None:
    check_ranks(world, "small", tmp_path)


def test_training_repeats_itself_and_learns(tmp_path: Path) -> None:
    shard = write_tokens(tmp_path / "train.bin", 30_000)
    alone, _ = trained_losses(0, 1, shard, tiny())
    again, _ = trained_losses(0, 1, shard, tiny())
    assert alone == again
    assert alone[-1] / 256 < alone[0] / 128 - 0.5


def test_the_packed_kernel_s_model_is_the_dense_one_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients of rows from the loader, with documents as CUDA sees them and as the CPU does."""
    hp = small()
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_by_hand)
    model, rows = random_model(hp), planned_rows(hp, write_tokens(tmp_path / "a.bin", 30_000), 0)[:3]
    windows, weights = gpt.windows_at(0, hp), torch.tensor(gpt.mtp_weights(0, hp))
    tokens = rows[:, :-1].long()
    dense = model.make_attn_args(tokens, windows)
    doc_starts = F.pad(tokens[:, 1:] == DOCUMENT, (1, 0), value=True)
    cu_seq = gpt.cumulative_seqlens(doc_starts, 3 * hp.max_docs)
    packed = dense._replace(masks={k: (cu_seq, windows.max_doc_len, getattr(windows, k)) for k in ("short", "long")})
    found = []
    for attn_args in (dense, packed):
        monkeypatch.setattr(model, "make_attn_args", lambda *_, attn_args=attn_args: attn_args)
        loss = model.loss(rows, weights, windows)
        found.append((loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("preset", [tiny, small])
def test_warm_up_puts_everything_back(preset: Any, tmp_path: Path) -> None:
    hp, shard = preset(), write_tokens(tmp_path / "warm.bin", 5000)
    trainer = gpt.build(hp, one_rank(), fake_run())
    before = [tensor.clone() for tensor in trainer.optimizer.tensors()]
    gpt.warm_up(trainer, gpt.Stream([shard], hp.length, DOCUMENT))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.optimizer.tensors(), strict=True))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


class RecordingRun(SimpleNamespace):
    """The referee's side of the contract, in memory."""

    def reserve(self, weights: dict[str, torch.Tensor]) -> None:
        self.reserved = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}

    def go(self) -> list[str]:
        return list(self.shards)

    def stop(self, weights: dict[str, torch.Tensor]) -> None:
        self.handed = {name: tensor.clone() for name, tensor in weights.items()}

    def log(self, **numbers: float) -> None:
        self.logged.append(numbers)

    def snapshot(self, weights: dict[str, torch.Tensor], step: int) -> None:
        self.snapshots.append(step)


@pytest.mark.parametrize(("preset", "width"), [(tiny, 32), pytest.param(small, 48, marks=pytest.mark.slow)])
def test_train_keeps_the_contract(preset: Any, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, hp = write_tokens(tmp_path / "train.bin", 30_000), preset(log_every=1)
    monkeypatch.setattr(gpt, "NANO", hp)
    run = RecordingRun(**vars(fake_run()), shards=[shard], warmup_shards=(shard,), logged=[], snapshots=[])
    run.practice = True
    gpt.train(run)
    assert run.reserved == {name: (tensor.shape, tensor.dtype) for name, tensor in run.handed.items()}
    assert run.handed["head"].shape == run.handed["embed"].shape == (VOCAB, width)
    assert [entry["step"] for entry in run.logged] == list(range(1, hp.steps + 1))
    assert run.logged[-1]["tokens"] == sum(gpt.stage_at(step, hp).rows for step in range(hp.steps)) * hp.length
    assert run.snapshots == list(range(hp.steps // 8, hp.steps + 1, hp.steps // 8))
    assert gpt.load(run.handed, "cpu")(random_tokens(2, 32)).shape == (2, 32, VOCAB)


def test_ranks_get_disjoint_shares() -> None:
    model = random_model(tiny(), vocab=64)
    whole = gpt.shard_weights(model, VOCAB, one_rank())
    shares = [gpt.shard_weights(model, VOCAB, gpt.Ranks(rank=rank, world_size=4)) for rank in range(4)]
    assert sorted(name for share in shares for name in share) == sorted(whole)


def test_loaded_model_gives_the_logits_of_the_trained_one() -> None:
    model = random_model(gpt.NANO, vocab=64)
    tokens = random_tokens(2, 100)
    loaded = gpt.load(gpt.shard_weights(model, VOCAB, one_rank()), torch.device("cpu"))
    with torch.no_grad():
        expected = model.logits(tokens)[..., :VOCAB]
    assert loaded(tokens).dtype == torch.float32
    torch.testing.assert_close(loaded(tokens), expected, rtol=0, atol=0)


@pytest.mark.parametrize("preset", [tiny, small])
def test_logits_are_causal_and_rows_independent(preset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt, "NANO", preset())
    logits_fn = gpt.load(gpt.shard_weights(random_model(preset()), VOCAB, one_rank()), "cpu")
    tokens = random_tokens(3, 64)
    logits = logits_fn(tokens)
    for cut in (1, 13, 63):
        changed = tokens.clone()
        changed[:, cut:] = random_tokens(3, 64, seed=9)[:, cut:]
        torch.testing.assert_close(logits_fn(changed)[:, :cut], logits[:, :cut], rtol=1e-5, atol=1e-5)
    for row in range(3):
        torch.testing.assert_close(logits_fn(tokens[row : row + 1])[0], logits[row], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits_fn(tokens), logits, rtol=0, atol=0)


def test_the_page_stays_a_page() -> None:
    lines = FILE.read_text().splitlines()
    assert len(lines) <= 1000
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("track", ["nano-2cpu", "gpt2-small-8xh100", "gpt2-small-1gpu"])
def test_our_own_rules_find_nothing_in_it(track: str) -> None:
    assert check(ROOT, [FILE.name], load_track(track)) == ()


def test_the_page_imports_nothing_of_ours_and_only_defines() -> None:
    tree = ast.parse(FILE.read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert names <= set(sys.stdlib_module_names) | {"torch", "numpy"}
    definitions = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
    docstring, *others = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, definitions) for node in others)
