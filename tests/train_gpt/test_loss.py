"""Loss, FP8 matmul and written-out gradients of the flagship against references."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.train_gpt.flagship import gpt, random_model, random_tokens, small, tiny


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
    rotary = gpt.rotary_tables(3, 8, (), torch.device("cpu"))
    assert_same_gradients(gpt.norm(x, 0.7), 0.7 * F.rms_norm(x, (8,)), x)
    assert_same_gradients(gpt.SquaredRelu.apply(x), x.relu().square(), x)
    assert_same_gradients(gpt.Rotary.apply(x, *rotary), gpt.rotate(x, *rotary), x)
    assert_same_gradients(gpt.Blend.apply(weights, x, y), weights[0] * x + weights[1] * y, weights, x, y)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.5, 0.125]])
def test_soft_capped_cross_entropy_value_and_gradient(weights: list[float]) -> None:
    """Against float64 autograd of the definition; a target of -1 counts for nothing."""
    generator, cap = torch.Generator().manual_seed(3), (23.0, 5.0, 7.5)
    z = (10 * torch.randn(6, 11, generator=generator)).requires_grad_()
    targets = torch.randint(11, (6, len(weights)), generator=generator)
    targets[4:, 1:] = -1
    exact = z.detach().double().requires_grad_()
    logits = 23 * torch.sigmoid((exact + 5) / 7.5)
    expected = sum(
        w * F.cross_entropy(logits, targets[:, p], reduction="sum", ignore_index=-1) for p, w in enumerate(weights)
    )
    assert isinstance(expected, torch.Tensor)
    (expected_grad,) = torch.autograd.grad(3 * expected, exact)
    loss = gpt.SoftCappedCrossEntropy.apply(z, targets, torch.tensor(weights), cap)
    (grad,) = torch.autograd.grad(3 * loss, z)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad.double(), expected_grad, rtol=1e-4, atol=1e-5)


def test_the_cap_of_the_small_preset_is_a_tanh_up_to_a_constant() -> None:
    z = torch.linspace(-60, 60, 101)
    torch.testing.assert_close(gpt.soft_cap(z, gpt.NANO.softcap) - 15, 15 * torch.tanh(z / 15), rtol=1e-4, atol=1e-4)


def test_tokens_ahead_are_the_stream_s_next_ones() -> None:
    hp = small()
    model, rows = random_model(hp), random_tokens(2, 65)
    weights, windows = torch.tensor([1.0, 0.5, 0.25]), gpt.windows_at(0, hp)
    with torch.no_grad():
        x = model(rows[:, :-1], windows)
        logp = torch.log_softmax(gpt.soft_cap(F.linear(x, model.head), hp.softcap).double(), dim=-1)
        expected = 0.0
        for p, weight in enumerate(weights.tolist()):
            wanted = logp[:, : 64 - p].gather(2, rows[:, 1 + p :, None])
            expected -= weight * float(wanted.sum())
        assert float(model.loss(rows.int(), weights, windows)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("preset", [tiny, small])
def test_training_loss_is_the_loss_of_the_logits(preset: Any) -> None:
    hp = preset()
    model, rows = random_model(hp), random_tokens(3, 33)
    with torch.no_grad():
        loss = model.loss(rows.int(), torch.ones(1), gpt.windows_at(hp.steps, hp))
        expected = F.cross_entropy(model.logits(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(loss, expected)


def rounding(x: torch.Tensor, scale: float, mantissa_bits: int, smallest: float) -> torch.Tensor:
    """Largest error of a cast to a float format: half a unit in the last place, or half the smallest subnormal."""
    return torch.maximum(x.abs() * 2.0 ** -(mantissa_bits + 1), torch.tensor(scale * smallest / 2))


def assert_within_rounding(found: torch.Tensor, a: Any, b: Any, error_a: Any, error_b: Any) -> None:
    """|found - a b| element by element, whose bound follows from those of the factors; in float64."""
    a, b, error_a, error_b = (x.detach().double() for x in (a, b, error_a, error_b))
    bound = error_a @ b.abs() + a.abs() @ error_b + error_a @ error_b
    exact = a @ b
    bound += 2**-8 * (exact.abs() + bound) + 1e-6  # the result is bf16
    error = (found.detach().double() - exact).abs()
    assert bool((error <= bound).all()), float((error / bound).max())
    assert bool((error > 0).any())


def test_fp8_linear_is_within_the_rounding_of_its_formats() -> None:
    """e4m3 has 3 bits of mantissa and subnormals from 2**-9, e5m2 2 bits and 2**-16."""
    generator, (x_scale, w_scale, g_scale) = torch.Generator().manual_seed(4), gpt.FP8_SCALES
    x = torch.randn(64, 48, generator=generator).bfloat16().requires_grad_()
    weight = (0.1 * torch.randn(32, 48, generator=generator)).bfloat16().requires_grad_()
    grad = (0.05 * torch.randn(64, 32, generator=generator)).bfloat16()
    out = gpt.Fp8Linear.apply(x, weight)
    out.backward(grad)
    assert out.dtype == x.grad.dtype == weight.grad.dtype == torch.bfloat16
    error_x, error_w = rounding(x, x_scale, 3, 2**-9), rounding(weight, w_scale, 3, 2**-9)
    error_g = rounding(grad, g_scale, 2, 2**-16)
    assert_within_rounding(out, x, weight.T, error_x, error_w.T)
    assert_within_rounding(x.grad, grad, weight, error_g, error_w)
    assert_within_rounding(weight.grad, grad.T, x, error_g.T, error_x)


def test_fp8_cast_saturates() -> None:
    big = gpt.to_fp8(torch.tensor([1e6, -1e6]), 1.0, torch.float8_e4m3fn)
    assert big.float().tolist() == [448.0, -448.0]


def test_the_whole_model_trains_with_its_head_in_fp8() -> None:
    """The switch the GPU throws, thrown on the CPU: loss within a per cent, head's gradient in the same direction."""
    model, rows = random_model(small(dtype=torch.bfloat16), vocab=64), random_tokens(2, 65)
    windows, losses, grads = gpt.windows_at(0, model.hp), [], []
    for model.fp8 in (False, True):
        loss = model.loss(rows.int(), torch.ones(1), windows)
        losses.append(loss.item())
        grads.append(torch.autograd.grad(loss, model.head)[0].float().flatten())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert torch.cosine_similarity(*grads, dim=0) > 0.99
