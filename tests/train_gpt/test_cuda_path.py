"""The flagship's way through CUDA: at the record's shapes without data (meta tensors), and on a GPU, if any."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.train_gpt.flagship import DOCUMENT, VOCAB, fake_run, gpt, one_rank, planned_rows, small, write_tokens

on_a_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def large_model() -> torch.nn.Module:
    with torch.device("meta"):
        model: torch.nn.Module = gpt.GPT(gpt.GPT2_SMALL, 50_304, 50_256)
    return model


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("step", [0, 626, 1254, 1880])
def test_every_stage_of_the_large_preset_fits_together(step: int, fp8: bool) -> None:
    """Shapes and dtypes, forward and backward, through torch's varlen kernel and FP8 matmul as they declare them."""
    model, hp = large_model(), gpt.GPT2_SMALL
    model.fp8 = fp8
    weights = torch.ones(len(gpt.loss_weights(step, hp)), device="meta")
    rows = torch.zeros(gpt.stage_at(step, hp).rows // 8, hp.length + 1, dtype=torch.int32, device="meta")
    loss = model.loss(rows, weights, gpt.sight_at(step, hp))
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.shape, parameter.dtype)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo does
def test_the_packed_step_is_one_graph() -> None:
    """What torch.compile(fullgraph=True) demands, with the kernels of CUDA."""
    model, hp = large_model(), gpt.GPT2_SMALL
    compiled = torch.compile(model.loss, dynamic=False, fullgraph=True, backend="aot_eager")
    rows = torch.zeros(1, hp.length + 1, dtype=torch.int32, device="meta")
    loss = compiled(rows, torch.ones(3, device="meta"), gpt.sight_at(0, hp))
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("window", [1, 128, 700])
@pytest.mark.parametrize("mark", [pytest.param(None, marks=on_a_gpu)])
def test_the_kernel_sees_what_the_dense_mask_shows(window: int, mark: None) -> None:
    generator = torch.Generator(device="cuda").manual_seed(1)
    tokens = torch.randint(300, (2, 1024), device="cuda", generator=generator)
    begins = F.pad(tokens[:, 1:] == DOCUMENT, (1, 0), value=True)
    inputs = torch.randn(3, 2, 1024, 6, 128, device="cuda", generator=generator).bfloat16().requires_grad_()
    dense = gpt.dense_mask(begins.cumsum(1), window, torch.bfloat16)
    found = gpt.attend(*inputs, (gpt.offsets(begins, 64), 1024, window))
    expected = gpt.attend(*inputs, dense)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    weight = torch.randn(found.shape, device="cuda", generator=generator)
    grads = [torch.autograd.grad((y * weight).sum(), inputs)[0] for y in (found, expected)]
    assert torch.cosine_similarity(*(grad.float().flatten() for grad in grads), dim=0) > 0.999


@pytest.mark.parametrize("mark", [pytest.param(None, marks=on_a_gpu)])
def test_fp8_on_the_gpu_is_fp8_on_the_cpu(mark: None) -> None:
    generator = torch.Generator().manual_seed(2)
    x, weight = torch.randn(256, 768, generator=generator), 0.05 * torch.randn(512, 768, generator=generator)
    grad, results = (0.05 * torch.randn(256, 512, generator=generator)).bfloat16(), []
    for device in ("cpu", "cuda"):
        a, b = (y.bfloat16().to(device).requires_grad_() for y in (x, weight))
        out = gpt.Fp8Linear.apply(a, b)
        out.backward(grad.to(device))
        results.append([y.float().cpu() for y in (out.detach(), a.grad, b.grad)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert (on_gpu - on_cpu).norm() / on_cpu.norm() < 1e-2


@pytest.mark.parametrize("mark", [pytest.param(None, marks=on_a_gpu)])
def test_the_compiled_step_learns_on_the_gpu(mark: None, tmp_path: Path) -> None:
    """The scaled-down preset, compiled, in bf16, with FP8 head where there is any: the loss falls as on the CPU."""
    hp = small(width=768, heads=6, length=512, dtype=torch.bfloat16, vocab_multiple=16)
    shard, means = write_tokens(tmp_path / "a.bin", 200_000), {}
    for device in ("cpu", "cuda"):
        run = fake_run()
        run.device = torch.device(device)
        trainer = gpt.build(hp, one_rank(), run)
        batches = gpt.batches(gpt.Stream([shard], hp.length, DOCUMENT), range(hp.steps), hp, one_rank())
        losses = [trainer.step(step, batch) for step, batch in enumerate(batches)]
        means[device] = [float(loss) / (gpt.stage_at(i, hp).rows * hp.length) for i, loss in enumerate(losses)]
    assert means["cuda"][-1] < means["cuda"][-5]
    assert means["cuda"] == pytest.approx(means["cpu"], rel=0.1)
    assert planned_rows(hp, shard, 0).shape == (8, 513)
    assert max(planned_rows(hp, shard, 0).flatten().tolist()) < VOCAB
