"""The flagship's way through CUDA: at the record's shapes without data (meta tensors), and on a GPU, if any."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.train_gpt.flagship import (
    DOCUMENT,
    VOCAB,
    fake_run,
    gpt,
    one_rank,
    planned_rows,
    random_model,
    small,
    write_tokens,
)  # fmt: skip

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
    weights = torch.ones(len(gpt.mtp_weights(step, hp)), device="meta")
    rows = torch.zeros(gpt.stage_at(step, hp).rows // 8, hp.length + 1, dtype=torch.int32, device="meta")
    loss = model.loss(rows, weights, gpt.windows_at(step, hp))
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.shape, parameter.dtype)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo does
def test_the_packed_step_is_one_graph() -> None:
    """What torch.compile(fullgraph=True) demands, with the kernels of CUDA."""
    model, hp = large_model(), gpt.GPT2_SMALL
    compiled = torch.compile(model.loss, dynamic=False, fullgraph=True, backend="aot_eager")
    rows = torch.zeros(1, hp.length + 1, dtype=torch.int32, device="meta")
    loss = compiled(rows, torch.ones(3, device="meta"), gpt.windows_at(0, hp))
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def compiled_preset() -> Any:
    """Every mechanism of the large preset in sizes that its kernels take (heads of 128, FP8's multiples of 16)."""
    return small(width=128, heads=1, length=128, dtype=torch.bfloat16, vocab_multiple=16)


def mean_losses(device: torch.device, shard: str) -> list[float]:
    """Nats per token of every step of the compiled preset."""
    hp, run = compiled_preset(), fake_run()
    if device.type == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        hp = replace(hp, dtype=torch.float32)  # others emulate bf16, and take ten minutes
    run.device = device
    trainer = gpt.build(hp, one_rank(), run)
    batches = gpt.batches(gpt.Stream([shard], hp.length, DOCUMENT), range(hp.steps), hp, one_rank())
    losses = [trainer.step(step, batch) for step, batch in enumerate(batches)]
    return [float(loss) / (gpt.stage_at(i, hp).rows * hp.length) for i, loss in enumerate(losses)]


def test_the_preset_for_the_gpu_can_be_filled_with_documents(tmp_path: Path) -> None:
    """The loader would seek forever where the documents of a row, all of the greatest length, do not fill it."""
    for preset in (compiled_preset(), gpt.GPT2_SMALL):
        assert min(stage.max_doc_len for stage in preset.stages) * preset.max_docs > preset.length
    hp, shard = compiled_preset(), write_tokens(tmp_path / "a.bin", 200_000)
    for step in range(0, hp.steps, 4):
        rows = planned_rows(hp, shard, step)
        assert rows.shape == (gpt.stage_at(step, hp).rows, hp.length + 1)
        assert rows.max() < VOCAB


@pytest.mark.slow
def test_the_preset_for_the_gpu_learns_on_the_cpu(tmp_path: Path) -> None:
    losses = mean_losses(torch.device("cpu"), write_tokens(tmp_path / "a.bin", 200_000))
    assert losses[-1] < losses[-5] < losses[0] - 1


@pytest.mark.slow
@pytest.mark.timeout(1800)  # inductor calls a C++ compiler
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo does
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # inductor does
@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.exhaustive), 8])
def test_what_inductor_makes_of_the_loss_is_the_loss(step: int, tmp_path: Path) -> None:
    """torch.compile as the page calls it, on the CPU: value and every gradient."""
    hp = small()
    rows = planned_rows(hp, write_tokens(tmp_path / "a.bin", 20_000), step)[:2]
    weights, windows = torch.tensor(gpt.mtp_weights(step, hp)), gpt.windows_at(step, hp)
    results = []
    for compiled in (False, True):
        model = random_model(hp)
        loss = torch.compile(model.loss, dynamic=False, fullgraph=True) if compiled else model.loss
        value = loss(rows, weights, windows)
        value.backward()
        results.append({"loss": value.detach()} | {name: p.grad for name, p in model.named_parameters()})
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("window", [1, 128, 700])
@pytest.mark.parametrize("mark", [pytest.param(None, marks=on_a_gpu)])
def test_the_kernel_sees_what_the_dense_mask_shows(window: int, mark: None) -> None:
    """The kernel in bf16 against matmuls in fp32: scores of bf16 would be off by more than the kernel is."""
    generator = torch.Generator(device="cuda").manual_seed(1)
    tokens = torch.randint(300, (2, 1024), device="cuda", generator=generator)
    doc_starts = F.pad(tokens[:, 1:] == DOCUMENT, (1, 0), value=True)
    inputs = (0.5 * torch.randn(3, 2, 1024, 6, 128, device="cuda", generator=generator)).bfloat16().requires_grad_()
    dense = gpt.dense_mask(
        doc_starts.cpu().cumsum(1), window, torch.float32
    ).cuda()  # the page makes these on the CPU only
    found = gpt.attend(*inputs, (gpt.cumulative_seqlens(doc_starts, 64), 1024, window))
    expected = gpt.attend(*inputs.float(), dense)
    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)
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
    """Compiled, in bf16, through the packed kernel, with FP8 head where there is any: the loss falls as on the CPU."""
    shard = write_tokens(tmp_path / "a.bin", 200_000)
    cpu, cuda = (mean_losses(torch.device(*device), shard) for device in (("cpu",), ("cuda", 0)))
    assert cuda[-1] < cuda[-5]
    assert cuda == pytest.approx(cpu, rel=0.1)
