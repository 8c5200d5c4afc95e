"""The flagship submission, piece by piece and whole, on the CPU."""

import ast
import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

FILE = Path(__file__).resolve().parent.parent / "train_gpt.py"
VOCAB, DOCUMENT = 61, 0


def import_submission() -> ModuleType:
    name = "flagship_under_test"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FILE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


gpt = import_submission()


def tiny(**changes: Any) -> Any:
    """The nano preset cut down to a second's work, in fp32."""
    layers = (
        gpt.LayerSpec(value_table=0),
        gpt.LayerSpec(attention=False),
        gpt.LayerSpec(window="long", value_table=0, skip_from=0),
    )
    rules = (
        gpt.Rule(names=("attention", "mlp"), kind="muon", lr=0.03, weight_decay=0.02),
        gpt.Rule(names=("embed", "values", "ngram2", "head", "mix"), kind="adam", lr=0.02),
    )
    stages = (
        gpt.Stage(until=0.5, rows=4, short=8, long=16, lr=1.0),
        gpt.Stage(until=1.0, rows=8, short=16, long=32, lr=1.5),
    )
    settings: dict[str, Any] = {
        "width": 32,
        "heads": 2,
        "layers": layers,
        "value_tables": 1,
        "ngram_rows": (101,),
        "dtype": torch.float32,
        "length": 32,
        "steps": 20,
        "lr_cooldown": 0.6,
        "momentum": (0.85, 0.95),
        "stages": stages,
        "rules": rules,
        "eval_windows": (16, 32),
    }
    return dataclasses.replace(gpt.NANO, **(settings | changes))


def fake_run(rank: int = 0, world: int = 1, seed: int = 5) -> Any:
    return SimpleNamespace(
        seed=seed,
        rank=rank,
        world_size=world,
        device=torch.device("cpu"),
        vocab_size=VOCAB,
        document_token=DOCUMENT,
        practice=False,
    )


def write_tokens(path: Path, count: int, vocab: int = VOCAB) -> str:
    """A shard of documents of about ten tokens in which every token leans on the one before."""
    generator = np.random.default_rng(3)
    tokens = np.cumsum(generator.integers(1, 4, size=count)) % (vocab - 1) + 1
    tokens[generator.random(count) < 0.1] = DOCUMENT
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, count
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return str(path)


def random_model(hp: Any, seed: int = 0, vocab: int = VOCAB) -> Any:
    """A model none of whose tensors is zero."""
    model = gpt.GPT(hp, vocab, DOCUMENT)
    gpt.initialize(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.05)
    return model


def random_tokens(rows: int, length: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


# -------------------------------------------------------------------------------------------- Muon and Adam


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 64, 16), (2, 16, 64)])
def test_orthogonalize_keeps_singular_vectors_and_evens_out_singular_values(shape: tuple[int, ...]) -> None:
    g = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    core = u.mT @ gpt.orthogonalize(g) @ vh.mT
    values = core.diagonal(dim1=-2, dim2=-1)
    assert (values - 1).abs().max() < 0.15
    assert (core - torch.diag_embed(values)).abs().max() < 1e-6


def test_orthogonalize_does_not_care_about_scale() -> None:
    g = torch.randn(2, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(gpt.orthogonalize(g * 1000), gpt.orthogonalize(g), rtol=1e-4, atol=1e-4)


def reference_muon(weight: Any, grads: list[Any], lr: float, momentum: float, rule: Any) -> Any:
    """NorMuon in float64 with numpy, one matrix, written from the papers."""
    buffer, second = np.zeros_like(weight), np.zeros((weight.shape[0], 1))
    for grad in grads:
        buffer = momentum * buffer + (1 - momentum) * grad
        x = momentum * buffer + (1 - momentum) * grad
        x = x / (1.02 * np.linalg.norm(x) + 1e-6)
        for a, b, c in gpt.POLAR_EXPRESS:
            inner = x.T @ x
            x = a * x + x @ (b * inner + c * inner @ inner)
        second = rule.beta2 * second + (1 - rule.beta2) * (x**2).mean(axis=1, keepdims=True)
        even = x / np.sqrt(second)
        step = even * np.linalg.norm(x) / np.linalg.norm(even) * max(1, x.shape[0] / x.shape[1]) ** 0.5
        agrees = (step * weight > 0).astype(float)
        weight = weight - lr * (step + rule.weight_decay * agrees * weight)
    return weight


@pytest.mark.parametrize("shape", [(2, 12, 12), (2, 24, 6)])
def test_muon_steps_match_the_reference(shape: tuple[int, ...]) -> None:
    rule = gpt.Rule(names=("w",), kind="muon", lr=0.1, weight_decay=0.3)
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(shape, generator=generator)
    grads = [torch.randn(shape, generator=generator) for _ in range(3)]
    parameter = torch.nn.Parameter(start.clone())
    shard = gpt.Shard("w", parameter, rule, gpt.Ranks(rank=0, world=1))
    for step, grad in enumerate(grads):
        parameter.grad = grad * 7
        with torch.no_grad():
            shard.reduce()
            shard.update(step, lr=0.5, momentum=0.9, tokens=7)
            shard.gather()
            shard.finish()
    for index in range(shape[0]):
        matrices = [grad[index].double().numpy() for grad in grads]
        expected = reference_muon(start[index].double().numpy(), matrices, 0.05, 0.9, rule)
        np.testing.assert_allclose(parameter[index].detach().numpy(), expected, atol=2e-4)


def test_adam_steps_match_the_reference() -> None:
    rule = gpt.Rule(names=("w",), kind="adam", lr=0.1, beta1=0.8, beta2=0.9, eps=1e-8)
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(5, 3, generator=generator)
    state = {"first": torch.zeros(5, 3), "second": torch.zeros(5, 3)}
    expected = weight.double()
    first = second = torch.zeros(5, 3, dtype=torch.float64)
    for step in range(4):
        grad = torch.randn(5, 3, generator=generator)
        gpt.adam_update(weight, grad, state, step, 0.1, rule)
        first = 0.8 * first + 0.2 * grad.double()
        second = 0.9 * second + 0.1 * grad.double() ** 2
        corrected = (second / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8
        expected = expected - 0.1 * first / (1 - 0.8 ** (step + 1)) / corrected
    torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_every_parameter_needs_exactly_one_rule() -> None:
    for hp in (gpt.NANO, tiny()):
        model = gpt.GPT(hp, VOCAB, DOCUMENT)
        gpt.ShardedOptimizer(dict(model.named_parameters()), hp.rules, gpt.Ranks(rank=0, world=1))
    parameters = dict(gpt.GPT(tiny(), VOCAB, DOCUMENT).named_parameters())
    missing, twice = tiny().rules[:1], (*tiny().rules, tiny().rules[0])
    for rules in (missing, twice):
        with pytest.raises(AssertionError, match="exactly one rule"):
            gpt.ShardedOptimizer(parameters, rules, gpt.Ranks(rank=0, world=1))


def test_the_large_preset_has_a_rule_for_every_parameter() -> None:
    with torch.device("meta"):
        model = gpt.GPT(gpt.GPT2_SMALL, 50_304, 50_256)
    names = sorted(name for rule in gpt.GPT2_SMALL.rules for name in rule.names)
    assert names == sorted(name for name, _ in model.named_parameters())
    # a skip from the layer before would hand the same tensor twice to one op, which torch.compile refuses
    layers = enumerate(gpt.GPT2_SMALL.layers)
    assert all(layer.skip_from is None or layer.skip_from < i - 1 for i, layer in layers)


# ----------------------------------------------------------------------------------------- attention, model


def brute_force_mask(tokens: torch.Tensor, window: int) -> torch.Tensor:
    B, T = tokens.shape
    visible = torch.zeros(B, T, T, dtype=torch.bool)
    for b in range(B):
        for q in range(T):
            for k in range(max(0, q - window + 1), q + 1):
                visible[b, q, k] = not bool((tokens[b, k + 1 : q + 1] == DOCUMENT).any())
    return visible


@pytest.mark.parametrize("window", [1, 7, 40])
def test_dense_mask_equals_brute_force(window: int) -> None:
    tokens = random_tokens(3, 40, vocab=9)
    mask = gpt.dense_mask(gpt.document_ids(tokens, DOCUMENT), window, torch.float32)
    assert torch.equal(mask[:, 0] == 0, brute_force_mask(tokens, window))
    assert torch.equal(mask[:, 0] == float("-inf"), ~brute_force_mask(tokens, window))


@pytest.mark.parametrize("window", [1, 100, 128, 129, 300, 640])
def test_block_mask_covers_exactly_what_the_dense_mask_shows(window: int) -> None:
    tokens = random_tokens(2, 640, vocab=150)
    docs = gpt.document_ids(tokens, DOCUMENT)
    dense = gpt.dense_mask(docs, window, torch.float32)[:, 0] == 0
    mask = gpt.block_mask(docs, torch.tensor(window))
    blocks = dense.unflatten(1, (5, 128)).unflatten(3, (5, 128))
    assert torch.equal(mask.to_dense()[:, 0].bool(), blocks.any(4).any(2))
    for b in range(2):
        for q in range(5):
            whole = mask.full_kv_indices[b, 0, q, : mask.full_kv_num_blocks[b, 0, q]].tolist()
            assert whole == [k for k in range(5) if blocks[b, q, :, k].all()]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_agrees_with_plain_matmuls() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    tokens = random_tokens(2, 256, vocab=60)
    docs = gpt.document_ids(tokens, DOCUMENT)
    mask = gpt.block_mask(docs, torch.tensor(100))
    dense = gpt.dense_mask(docs, 100, torch.float32)
    q, k, v = torch.randn(3, 2, 2, 256, 16, generator=torch.Generator().manual_seed(1))
    plain = gpt.attend(q, k, v, dense)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=dense, scale=1.0)
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-5)
    flexible = flex_attention(q, k, v, block_mask=mask, scale=1.0)
    torch.testing.assert_close(flexible, expected, rtol=1e-4, atol=1e-5)


def test_rotary_scores_depend_on_distance_alone() -> None:
    cos, sin = gpt.rotary_tables(50, 32, torch.device("cpu"), torch.float32)
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(32, generator=generator).expand(1, 50, 1, 32) for _ in range(2))
    q, k = gpt.Rotary.apply(q, cos, sin)[0, :, 0], gpt.Rotary.apply(k, cos, sin)[0, :, 0]
    scores = q @ k.T
    for distance in (0, 1, 20):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)
    assert (scores[20, 0] - scores[0, 0]).abs() > 1e-2
    torch.testing.assert_close(q.norm(dim=1), q[:1].norm(dim=1).expand(50))
    assert torch.equal(q[:, 16:], q[:1, 16:].expand(50, 16))


def assert_same_gradients(found: Any, expected: Any, *inputs: torch.Tensor) -> None:
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(found, expected)
    found_grads = torch.autograd.grad((found * weight).sum(), inputs)
    expected_grads = torch.autograd.grad((expected * weight).sum(), inputs)
    torch.testing.assert_close(found_grads, expected_grads, rtol=1e-4, atol=1e-5)


def test_written_out_gradients_are_those_of_autograd() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(2, 3, 2, 8, generator=generator, requires_grad=True) for _ in range(2))
    weights = torch.tensor([0.5, -2.0], requires_grad=True)
    rotary = gpt.rotary_tables(3, 8, torch.device("cpu"), torch.float32)
    assert_same_gradients(gpt.norm(x, 0.7), 0.7 * F.rms_norm(x, (8,)), x)
    assert_same_gradients(gpt.SquaredRelu.apply(x), x.relu().square(), x)
    assert_same_gradients(gpt.Rotary.apply(x, *rotary), gpt.rotate(x, *rotary), x)
    assert_same_gradients(gpt.Blend.apply(weights, x, y), weights[0] * x + weights[1] * y, weights, x, y)


def test_soft_capped_cross_entropy_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    z = (10 * torch.randn(6, 11, generator=generator)).requires_grad_()
    targets = torch.randint(11, (6,), generator=generator)
    expected = F.cross_entropy(5.0 * torch.tanh(z / 5.0), targets, reduction="sum")
    (expected_grad,) = torch.autograd.grad(expected, z)
    loss = gpt.SoftCappedCrossEntropy.apply(z, targets, 5.0)
    (grad,) = torch.autograd.grad(3 * loss, z)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, 3 * expected_grad, rtol=1e-4, atol=1e-6)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach().float() - expected).norm() / expected.norm())


def test_fp8_linear_is_within_the_rounding_of_its_formats() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(64, 48, generator=generator).bfloat16().requires_grad_()
    weight = (0.1 * torch.randn(32, 48, generator=generator)).bfloat16().requires_grad_()
    grad = (0.05 * torch.randn(64, 32, generator=generator)).bfloat16()
    out = gpt.Fp8Linear.apply(x, weight)
    out.backward(grad)
    assert out.dtype == x.grad.dtype == weight.grad.dtype == torch.bfloat16
    # one operand rounded to 3 bits of mantissa has a relative error of at most 2**-4, one of 2 bits 2**-3
    assert relative_error(out, x.detach().float() @ weight.detach().float().T) < 2 * 2**-4
    assert relative_error(x.grad, grad.float() @ weight.detach().float()) < 2**-3 + 2**-4
    assert relative_error(weight.grad, grad.float().T @ x.detach().float()) < 2**-3 + 2**-4


def test_fp8_cast_saturates() -> None:
    big = gpt.to_fp8(torch.tensor([1e6, -1e6]), 1.0, torch.float8_e4m3fn)
    assert big.float().tolist() == [448.0, -448.0]


def test_initialize_refuses_unknown_tensors() -> None:
    model = gpt.GPT(tiny(), VOCAB, DOCUMENT)
    model.stranger = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match="stranger"):
        gpt.initialize(model, seed=1)


def test_initialize_sets_everything() -> None:
    model = gpt.GPT(tiny(), VOCAB, DOCUMENT)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    gpt.initialize(model, seed=1)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not model.head.any()


# ------------------------------------------------------------------------------------------ schedules, data


def test_schedules_are_these_numbers() -> None:
    hp = tiny(steps=100, lr_cooldown=0.5, lr_floor=0.1, momentum_warmup=10, momentum_cooldown=20)
    table = {
        step: (gpt.stage_at(step, hp).rows, gpt.lr_factor(step, hp), gpt.muon_momentum(step, hp))
        for step in (0, 5, 10, 49, 50, 75, 99)
    }
    expected = {
        0: (4, 1.0, 0.85),
        5: (4, 1.0, 0.90),
        10: (4, 1.0, 0.95),
        49: (4, 1.0, 0.95),
        50: (8, 1.5, 0.95),
        75: (8, 1.5 * 0.5 + 0.1 * 0.5, 0.95),
        99: (8, 1.5 * 0.02 + 0.1 * 0.98, 0.855),
    }
    assert table == {step: pytest.approx(row) for step, row in expected.items()}
    assert [gpt.first_row(step, hp) for step in (0, 1, 50, 52)] == [0, 4, 200, 216]


def test_stream_joins_shards_and_starts_over(tmp_path: Path) -> None:
    paths = [write_tokens(tmp_path / f"{i}.bin", count) for i, count in enumerate((70, 45))]
    whole = np.concatenate([gpt.open_shard(path) for path in paths])
    stream = gpt.Stream(paths, 32)
    for index in range(12):
        expected = whole[(np.arange(33) + index * 32) % 115]
        assert np.array_equal(stream.row(index), expected)
    assert np.array_equal(stream.rows(range(2), torch.device("cpu"))[1].numpy(), whole[32:65])


@pytest.mark.parametrize("pieces", [1, 8])
def test_any_number_of_ranks_takes_the_same_rows(pieces: int) -> None:
    stages = (gpt.Stage(until=1.0, rows=16, short=8, long=8, lr=1.0),)
    hp = tiny(stages=stages, micro_batches=pieces)
    for world in (1, 2, 4, 8):
        parts = [gpt.micro_batches(3, hp, gpt.Ranks(rank=rank, world=world)) for rank in range(world)]
        assert sorted(row for part in parts for batch in part for row in batch) == list(range(48, 64))
        assert len({len(batch) for part in parts for batch in part}) == 1


# ------------------------------------------------------------------------------------- training and loading


def trained_losses(rank: int, world: int, shard: str, hp: Any) -> tuple[list[float], Any]:
    trainer = gpt.build(hp, gpt.Ranks(rank=rank, world=world), fake_run(rank, world))
    stream = gpt.Stream([shard], hp.length)
    losses = torch.stack([trainer.step(step, stream) for step in range(hp.steps)])
    if world > 1:
        dist.all_reduce(losses)
    return losses.tolist(), trainer


def one_update(rank: int, world: int) -> dict[str, torch.Tensor]:
    """The weights after one step along random gradients of which every rank holds an equal part."""
    model = random_model(tiny())
    optimizer = gpt.ShardedOptimizer(dict(model.named_parameters()), tiny().rules, gpt.Ranks(rank=rank, world=world))
    generator = torch.Generator().manual_seed(8)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) / world
    optimizer.step(3, tiny(), tokens=10)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def train_as_rank(rank: int, world: int, shard: str, folder: str) -> None:
    """What one of the processes of `ranks` does."""
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    losses, trainer = trained_losses(rank, world, shard, tiny())
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    torch.save((losses, weights, one_update(rank, world)), os.path.join(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def ranks(world: int, shard: str, folder: Path) -> None:
    """train_as_rank in so many processes of their own, to their end."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_train_gpt as it; "
    started = [
        subprocess.Popen([sys.executable, "-c", f"{code}it.train_as_rank({rank}, {world}, {shard!r}, {str(folder)!r})"])
        for rank in range(world)
    ]
    assert [process.wait(timeout=300) for process in started] == [0] * world


def test_two_ranks_train_the_same_model_as_one(tmp_path: Path) -> None:
    shard = write_tokens(tmp_path / "train.bin", 8192)
    alone, _ = trained_losses(0, 1, shard, tiny())
    again, _ = trained_losses(0, 1, shard, tiny())
    assert alone == again
    assert alone[-1] / 256 < alone[0] / 128 - 0.5
    ranks(2, shard, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for losses, weights, updated in results:
        torch.testing.assert_close(updated, one_update(0, 1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weights, results[0][1], rtol=0, atol=0)
        assert losses[:2] == pytest.approx(alone[:2], rel=1e-5)
        # Muon lifts directions of no gradient, which hold nothing but rounding, a thousandfold
        assert losses == pytest.approx(alone, rel=2e-2)


def test_warm_up_puts_everything_back(tmp_path: Path) -> None:
    shard = write_tokens(tmp_path / "warm.bin", 500)
    trainer = gpt.build(tiny(), gpt.Ranks(rank=0, world=1), fake_run())
    before = [tensor.clone() for tensor in trainer.optimizer.tensors()]
    gpt.warm_up(trainer, [shard])
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.optimizer.tensors(), strict=True))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


class RecordingRun(SimpleNamespace):
    """The referee's side of the contract, in memory."""

    def reserve(self, weights: dict[str, torch.Tensor]) -> None:
        self.reserved = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}

    def go(self) -> list[str]:
        return self.shards

    def stop(self, weights: dict[str, torch.Tensor]) -> None:
        self.handed = {name: tensor.clone() for name, tensor in weights.items()}

    def log(self, **numbers: float) -> None:
        self.logged.append(numbers)

    def snapshot(self, weights: dict[str, torch.Tensor], step: int) -> None:
        self.snapshots.append(step)


def test_train_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_tokens(tmp_path / "train.bin", 8192)
    monkeypatch.setattr(gpt, "NANO", tiny(log_every=1))
    run = RecordingRun(**vars(fake_run()), shards=[shard], warmup_shards=(shard,), logged=[], snapshots=[])
    run.practice = True
    gpt.train(run)
    assert run.reserved == {name: (tensor.shape, tensor.dtype) for name, tensor in run.handed.items()}
    assert run.handed["head"].shape == run.handed["embed"].shape == (VOCAB, 32)
    assert [entry["step"] for entry in run.logged] == list(range(1, 21))
    assert run.logged[-1]["tokens"] == (10 * 4 + 10 * 8) * 32
    assert run.snapshots == list(range(2, 21, 2))
    assert gpt.load(run.handed, "cpu")(random_tokens(2, 32)).shape == (2, 32, VOCAB)


def test_ranks_hand_over_disjoint_shares() -> None:
    model = random_model(tiny(), vocab=64)
    whole = gpt.hand_over(model, VOCAB, gpt.Ranks(rank=0, world=1))
    shares = [gpt.hand_over(model, VOCAB, gpt.Ranks(rank=rank, world=4)) for rank in range(4)]
    assert sorted(name for share in shares for name in share) == sorted(whole)


def test_loaded_model_gives_the_logits_of_the_trained_one() -> None:
    model = random_model(gpt.NANO, vocab=64)
    tokens = random_tokens(2, 100)
    loaded = gpt.load(gpt.hand_over(model, VOCAB, gpt.Ranks(rank=0, world=1)), torch.device("cpu"))
    with torch.no_grad():
        expected = model.logits(tokens)[..., :VOCAB]
    assert loaded(tokens).dtype == torch.float32
    torch.testing.assert_close(loaded(tokens), expected, rtol=0, atol=0)


def test_training_loss_is_the_loss_of_the_logits() -> None:
    model = random_model(tiny(), vocab=VOCAB)
    rows = random_tokens(3, 33)
    with torch.no_grad():
        loss = model.loss(rows.int(), *tiny().eval_windows, False)
        expected = F.cross_entropy(model.logits(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(loss, expected)


def test_logits_are_causal_and_rows_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt, "NANO", tiny())
    model = random_model(tiny())
    logits_fn = gpt.load(gpt.hand_over(model, VOCAB, gpt.Ranks(rank=0, world=1)), "cpu")
    tokens = random_tokens(3, 64)
    logits = logits_fn(tokens)
    for cut in (1, 13, 63):
        changed = tokens.clone()
        changed[:, cut:] = random_tokens(3, 64, seed=9)[:, cut:]
        torch.testing.assert_close(logits_fn(changed)[:, :cut], logits[:, :cut], rtol=1e-5, atol=1e-5)
    for row in range(3):
        torch.testing.assert_close(logits_fn(tokens[row : row + 1])[0], logits[row], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits_fn(tokens), logits, rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------- the page


def test_the_page_stays_a_page() -> None:
    lines = FILE.read_text().splitlines()
    assert len(lines) <= 1000
    assert max(map(len, lines)) <= 110


def test_the_page_imports_nothing_of_ours_and_only_defines() -> None:
    tree = ast.parse(FILE.read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert names <= set(sys.stdlib_module_names) | {"torch", "numpy"}
    definitions = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
    docstring, *others = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, definitions) for node in others)
