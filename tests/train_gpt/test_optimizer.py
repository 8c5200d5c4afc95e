"""Orthogonalisation, NorMuon, Adam, tying and sharding of the flagship against references."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.train_gpt.flagship import DOCUMENT, VOCAB, gpt, one_rank, random_model, small, tiny


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


def reference_muon(weight: Any, grads: list[Any], lr: float, momentum: float, group: Any) -> Any:
    """NorMuon in float64 with numpy, one matrix, written from the papers."""
    buffer, second = np.zeros_like(weight), np.zeros((weight.shape[0], 1))
    for grad in grads:
        buffer = momentum * buffer + (1 - momentum) * grad
        x = momentum * buffer + (1 - momentum) * grad
        x = x / (1.02 * np.linalg.norm(x) + 1e-6)
        for a, b, c in gpt.POLAR_EXPRESS:
            inner = x.T @ x
            x = a * x + x @ (b * inner + c * inner @ inner)
        second = group.beta2 * second + (1 - group.beta2) * (x**2).mean(axis=1, keepdims=True)
        even = x / np.sqrt(second)
        step = even * np.linalg.norm(x) / np.linalg.norm(even) * max(1, x.shape[0] / x.shape[1]) ** 0.5
        agrees = (step * weight > 0).astype(float)
        weight = weight - lr * (step + group.weight_decay * agrees * weight)
    return weight


@pytest.mark.parametrize("shape", [(2, 12, 12), (2, 24, 6)])
def test_muon_steps_match_the_reference(shape: tuple[int, ...]) -> None:
    group = gpt.ParamGroup(names=("w",), kind="muon", lr=0.1, weight_decay=0.3)
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(shape, generator=generator)
    grads = [torch.randn(shape, generator=generator) for _ in range(3)]
    parameter = torch.nn.Parameter(start.clone())
    shard = gpt.Shard("w", parameter, group, one_rank())
    for step, grad in enumerate(grads):
        parameter.grad = grad * 7
        with torch.no_grad():
            shard.reduce()
            shard.update(step, lr=0.5, momentum=0.9, tokens=7)
            shard.gather()
            shard.finish()
    for index in range(shape[0]):
        matrices = [grad[index].double().numpy() for grad in grads]
        expected = reference_muon(start[index].double().numpy(), matrices, 0.05, 0.9, group)
        np.testing.assert_allclose(parameter[index].detach().numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam_steps_match_the_reference(weight_decay: float) -> None:
    group = gpt.ParamGroup(names=("w",), kind="adam", lr=0.1, beta1=0.8, beta2=0.9, eps=1e-8, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(5, 3, generator=generator)
    state = {"exp_avg": torch.zeros(5, 3), "exp_avg_sq": torch.zeros(5, 3)}
    expected = weight.double()
    first = second = torch.zeros(5, 3, dtype=torch.float64)
    for step in range(4):
        grad = torch.randn(5, 3, generator=generator)
        gpt.adam_update(weight, grad, state, step, 0.1, group)
        first = 0.8 * first + 0.2 * grad.double()
        second = 0.9 * second + 0.1 * grad.double() ** 2
        corrected = (second / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8
        expected = expected * (1 - 0.1 * weight_decay * (first * expected > 0))
        expected = expected - 0.1 * first / (1 - 0.8 ** (step + 1)) / corrected
    torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)


def random_gradients(model: Any, generator: torch.Generator) -> None:
    """What a backward pass would add."""
    for parameter in model.parameters():
        grad = torch.randn(parameter.shape, generator=generator)
        parameter.grad = grad if parameter.grad is None else parameter.grad + grad


def test_parameters_move_when_their_group_says_so() -> None:
    model = random_model(small())
    optimizer = gpt.ShardedOptimizer(dict(model.named_parameters()), model.hp.param_groups, one_rank())
    generator, late = torch.Generator().manual_seed(8), {"embed", "value_embeds", "ngram2", "head"}
    for step in range(4):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        random_gradients(model, generator)
        optimizer.step(step, model.hp, tokens=10)
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert ("attention" in moved) and ("mlp" in moved)
        assert late <= moved if step % 2 else not late & moved
        waiting = {name for name, p in model.named_parameters() if p.grad is not None}
        assert waiting == (set() if step % 2 else set(before) - {"attention", "mlp"})


def test_two_steps_gradients_are_summed_for_one_update() -> None:
    """Of Adam's parameters, with half the gradient each, as if one step had had it all."""
    results = []
    for parts in (1, 2):
        model = random_model(small(tied_until=0.0))
        optimizer = gpt.ShardedOptimizer(dict(model.named_parameters()), model.hp.param_groups, one_rank())
        for step in range(2):
            generator = torch.Generator().manual_seed(8)
            for parameter in model.parameters():
                grad = torch.randn(parameter.shape, generator=generator)
                share = grad / 2 if parts == 2 else grad * step
                parameter.grad = share if parameter.grad is None else parameter.grad + share
            optimizer.step(step, model.hp, tokens=10)
        results.append({name: p.detach() for name, p in model.named_parameters() if name not in ("attention", "mlp")})
    torch.testing.assert_close(*results)


def test_the_embedding_is_the_head_s_copy_until_it_is_untied() -> None:
    hp = small(steps=12, tied_until=0.5)
    model = gpt.GPT(hp, VOCAB, DOCUMENT)
    gpt.initialize(model, seed=1)
    assert torch.equal(model.embed, model.head)
    assert model.head.detach().std().item() == pytest.approx(0.005, rel=0.1)
    optimizer = gpt.ShardedOptimizer(dict(model.named_parameters()), hp.param_groups, one_rank())
    shards = {shard.name: shard for shard in optimizer.shards}
    generator, group = torch.Generator().manual_seed(8), shards["head"].group
    alone = model.head.detach().clone()
    state = {name: torch.zeros_like(model.head) for name in ("exp_avg", "exp_avg_sq")}
    for step in range(8):
        random_gradients(model, generator)
        both = model.embed.grad + model.head.grad
        optimizer.step(step, hp, tokens=10)
        if step < 6 and step % 2:
            lr = gpt.lr_factor(step, hp) * group.lr
            gpt.adam_update(alone, both / 20, state, step // 2, lr, group)
            torch.testing.assert_close(model.head.detach(), alone, rtol=1e-5, atol=1e-6)
        assert torch.equal(model.embed, model.head) == (step < 7)
        if step < 6:
            pairs = zip(shards["embed"].tensors(), shards["head"].tensors(), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_every_parameter_needs_exactly_one_group() -> None:
    for hp in (gpt.NANO, tiny(), small()):
        model = gpt.GPT(hp, VOCAB, DOCUMENT)
        gpt.ShardedOptimizer(dict(model.named_parameters()), hp.param_groups, one_rank())
    parameters = dict(gpt.GPT(tiny(), VOCAB, DOCUMENT).named_parameters())
    missing, twice = tiny().param_groups[:1], (*tiny().param_groups, tiny().param_groups[0])
    for groups in (missing, twice):
        with pytest.raises(AssertionError, match="exactly one group"):
            gpt.ShardedOptimizer(parameters, groups, one_rank())


def test_the_large_preset_has_a_group_for_every_parameter() -> None:
    with torch.device("meta"):
        model = gpt.GPT(gpt.GPT2_SMALL, 50_304, 50_256)
    names = sorted(name for group in gpt.GPT2_SMALL.param_groups for name in group.names)
    assert names == sorted(name for name, _ in model.named_parameters())
    # a skip from the layer before would hand the same tensor twice to one op, which torch.compile refuses
    layers = enumerate(gpt.GPT2_SMALL.layers)
    assert all(layer.skip_from is None or layer.skip_from < i - 1 for i, layer in layers)


def test_initialize_refuses_unknown_tensors() -> None:
    model = gpt.GPT(tiny(), VOCAB, DOCUMENT)
    model.stranger = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match="stranger"):
        gpt.initialize(model, seed=1)


@pytest.mark.parametrize("preset", [tiny, small])
def test_initialize_sets_everything(preset: Any) -> None:
    model = gpt.GPT(preset(), VOCAB, DOCUMENT)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    gpt.initialize(model, seed=1)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert bool(model.head.any()) == bool(model.hp.tied_until)
