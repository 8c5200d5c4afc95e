"""Our own racing scripts: the same mathematics on one rank and on two, their optimizers against references."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from data.shards import write_shard

ROOT = Path(__file__).resolve().parent.parent
RECORDS = sorted(ROOT.glob("records/shakespeare-2cpu/*/train_gpt.py"))
SCRIPTS = [*RECORDS, *sorted(ROOT.glob("benchmarks/nanogpt/[np][gl]*.py"))]
WITH_MUON = [path for path in SCRIPTS if "def orthogonalize(" in path.read_text()]
VOCAB, TOKENS = 65, 8_000


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


every_script = pytest.mark.parametrize("script", SCRIPTS, ids=name)
# Training costs seconds a script: one record's in `make test`; the others, as frozen as it is, in the longer tests.
one_script_here = pytest.mark.parametrize(
    "script",
    [pytest.param(path, marks=[] if path == RECORDS[-1] else [pytest.mark.slow]) for path in SCRIPTS],
    ids=name,
)


def import_script(path: Path) -> Any:
    sys.dont_write_bytecode = True  # a record has no files but those of its manifest
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}".replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_tokens(path: Path) -> Path:
    """Characters that lean on the one before."""
    tokens = np.cumsum(np.random.default_rng(3).integers(1, 4, size=TOKENS)) % VOCAB
    write_shard(path, tokens)
    return path


class Run(SimpleNamespace):
    """What a script sees of the referee; it keeps what the script hands over."""

    def reserve(self, weights: dict[str, torch.Tensor]) -> None:
        self.reserved = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}

    def go(self) -> list[str]:
        shards: list[str] = self.warmup_shards
        return shards

    def log(self, train_loss: float, **_: Any) -> None:
        self.losses.append(train_loss)

    def stop(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}


def train(script: Any, shard: Path, rank: int = 0, world: int = 1, seed: int = 5) -> Run:
    """20 steps in fp32, every one logged."""
    script.STEPS, script.LOG_EVERY, script.BATCH, script.DTYPE = 20, 1, 4, torch.float32
    run = Run(
        seed=seed, rank=rank, world_size=world, device=torch.device("cpu"), vocab_size=VOCAB, document_token=None,
        practice=False, warmup_shards=[str(shard)], losses=[],
    )  # fmt: skip
    script.train(run)
    return run


def train_as_rank(path: str, folder: str, rank: int) -> None:
    """What each of two processes does; the rendezvous is a file."""
    torch.set_num_threads(1)
    script = import_script(Path(path))
    store = dist.FileStore(f"{folder}/store", 2)
    meet: Callable[..., None] = dist.init_process_group
    script.dist.init_process_group = lambda backend: meet(backend, store=store, rank=rank, world_size=2)
    run = train(script, Path(folder) / "train.bin", rank, 2)
    torch.save((run.losses, run.weights), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def two_ranks(script: Path, folder: Path) -> list[Any]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.test_scripts as it; "
    code += f"it.train_as_rank({str(script)!r}, {str(folder)!r}, int(sys.argv[1]))"
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1"}
    deadline = time.monotonic() + 800
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", code, str(rank)], env=environment))
            for rank in (0, 1)
        ]
        stack.callback(lambda: [process.kill() for process in started])
        assert [process.wait(deadline - time.monotonic()) for process in started] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow  # of train_gpt.py, tests/train_gpt/test_training.py asks the same in `make test`
@every_script
def test_one_rank_and_two_train_the_same_model(script: Path, tmp_path: Path, eager: None) -> None:
    shard, module = write_tokens(tmp_path / "train.bin"), import_script(script)
    alone, again = train(module, shard), train(module, shard)
    assert alone.losses == again.losses
    assert train(module, shard, seed=6).losses != alone.losses
    assert alone.losses[-1] < alone.losses[0] - 0.5
    (first, weights), (second, nothing) = two_ranks(script, tmp_path)
    together = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert together[:3] == pytest.approx(alone.losses[:3], rel=1e-4)
    # Muon lifts directions of no gradient, which hold nothing but rounding, a thousandfold
    assert together == pytest.approx(alone.losses, rel=2e-2)
    assert not nothing, "one rank hands everything over"
    assert weights.keys() == alone.weights.keys()


@one_script_here
def test_what_is_handed_over_is_what_was_reserved_and_what_load_reads(
    script: Path, tmp_path: Path, eager: None
) -> None:
    module = import_script(script)
    run = train(module, write_tokens(tmp_path / "train.bin"))
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in run.weights.items()} == run.reserved
    logits = module.load(run.weights, torch.device("cpu"))
    tokens = torch.randint(VOCAB, (2, 300), generator=torch.Generator().manual_seed(0))
    found = logits(tokens)
    assert found.shape == (2, 300, VOCAB)
    changed = tokens.clone()
    changed[:, 200:] = (changed[:, 200:] + 1) % VOCAB
    torch.testing.assert_close(logits(changed)[:, :200], found[:, :200])
    assert not torch.allclose(logits(changed)[:, 200:], found[:, 200:])
    again = module.load(run.weights, torch.device("cpu"))  # several times in one process, and windows by themselves
    torch.testing.assert_close(torch.cat([again(window[None]) for window in tokens]), found)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled: 20 steps are not worth it."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.mark.parametrize("script", WITH_MUON, ids=name)
def test_a_step_of_its_optimizers_is_the_formulas_in_float64(script: Path) -> None:
    module = import_script(script)
    module.DTYPE = torch.float32
    grads = torch.randn(2, 3, 24, 16, generator=torch.Generator().manual_seed(1))
    stack = torch.zeros(3, 24, 16)
    muon = module.Muon([stack])
    expected = np.zeros((3, 24, 16))
    buffer, second = np.zeros_like(expected), np.zeros((3, 24, 1))
    for grad in grads:
        stack.grad = grad
        muon.step(0.1)
        exact = grad.double().numpy()
        buffer = module.MOMENTUM * buffer + (1 - module.MOMENTUM) * exact
        step = polar(module, module.MOMENTUM * buffer + (1 - module.MOMENTUM) * exact)
        second = 0.95 * second + 0.05 * (step**2).mean(-1, keepdims=True)
        even = step / np.sqrt(second)
        even *= np.linalg.norm(step, axis=(1, 2), keepdims=True) / np.linalg.norm(even, axis=(1, 2), keepdims=True)
        expected -= 0.1 * even * (24 / 16) ** 0.5
    np.testing.assert_allclose(stack.numpy(), expected, atol=1e-5)


def polar(module: Any, g: np.ndarray) -> np.ndarray:
    """Polar Express on the right-hand side, where the script works on the left."""
    x = g / (1.02 * np.linalg.norm(g, axis=(1, 2), keepdims=True) + 1e-6)
    for a, b, c in module.POLAR_EXPRESS:
        gram = np.swapaxes(x, 1, 2) @ x
        x = a * x + x @ (b * gram + c * gram @ gram)
    return x


@pytest.mark.parametrize("script", WITH_MUON, ids=name)
@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 64, 16), (2, 16, 64)])
def test_orthogonalize_against_the_singular_vectors_and_the_library_s_muon(
    script: Path, shape: tuple[int, ...]
) -> None:
    module = import_script(script)
    g = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    update = module.orthogonalize(g)
    core = u.mT @ update @ vh.mT
    values = core.diagonal(dim1=-2, dim2=-1)
    assert (values - 1).abs().max() < 0.15
    assert (core - torch.diag_embed(values)).abs().max() < 1e-6
    for matrix, ours in zip(g.float(), update, strict=True):
        parameter = torch.nn.Parameter(torch.zeros_like(matrix))
        parameter.grad = matrix
        torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
        theirs = -parameter.detach().double() / max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5
        # its five Newton-Schulz rounds in bf16 leave singular values between 0.7 and 1.2: the same direction
        assert torch.cosine_similarity(theirs.flatten(), ours.flatten(), dim=0) > 0.97


@every_script
def test_what_has_no_muon_is_moved_by_the_library(script: Path) -> None:
    assert script in WITH_MUON or "torch.optim.AdamW" in script.read_text()


@every_script
def test_the_page_is_readable_and_its_own(script: Path) -> None:
    text = script.read_text()
    assert max(map(len, text.splitlines())) <= 110
    assert len(text.splitlines()) <= 400
    assert "import harness" not in text
    assert "from harness" not in text
