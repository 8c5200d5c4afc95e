"""The losses: cross-entropy as float64 has it, every number of the shared memory read once, in bounded memory."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from harness.scoring.losses import PIECE_ELEMENTS, LossReader

CPU = torch.device("cpu")


def in_float64(logits: torch.Tensor, targets: np.ndarray) -> np.ndarray:
    """Nats [rows], the long way round."""
    x = logits.double().numpy()
    shifted = x - x.max(1, keepdims=True)
    losses: np.ndarray = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(x)), targets]
    return losses


class Rival(TorchDispatchMode):
    """Overwrites the whole shared memory after every operation that has read some of it, and counts what was read."""

    def __init__(self, shared: torch.Tensor) -> None:
        super().__init__()
        self.shared, self.elements_read, self.operations = shared, 0, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, place = func(*args, **(kwargs or {})), self.shared.untyped_storage().data_ptr()
        found = [x for x in args if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() == place]
        if found and not func.is_view:
            self.operations.add(func.name())
            self.elements_read += sum(x.numel() for x in found)
            rows = len(found[0])
            self.shared[: self.elements_read // self.shared.shape[1]][-rows:] = 1000.0
        return result


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40), vocab=st.integers(1, 300), piece=st.sampled_from([1, 64, 2**18]),
    spread=st.sampled_from([1e-3, 3.0, 1e4]), shift=st.sampled_from([0.0, -80.0, 3e4]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]), seed=st.integers(0, 999),
)  # fmt: skip
def test_a_loss_is_what_float64_makes_of_the_same_logits(
    rows: int, vocab: int, piece: int, spread: float, shift: float, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    finite = torch.finfo(dtype).max  # shifted and spread, a few would be beyond float16
    logits = (torch.randn(rows, vocab, generator=generator) * spread + shift).clamp(-finite, finite).to(dtype)
    targets = torch.randint(vocab, (rows,), generator=generator).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PIECE_ELEMENTS, "cpu", piece)
        found = LossReader(vocab, CPU).read(logits, targets)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_float64(logits, targets), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_are_read_once_and_may_change_from_then_on(dtype: torch.dtype) -> None:
    """A rival who writes between any two operations has no say in softmax or target."""
    vocab, generator = 30_000, torch.Generator().manual_seed(1)
    logits = torch.randn(21, vocab, generator=generator).to(dtype)  # three pieces
    targets = np.arange(21) * 1000
    expected, reader = in_float64(logits, targets), LossReader(vocab, CPU)
    with Rival(logits) as rival:
        found = reader.read(logits, targets)
    assert rival.operations == {"aten::copy_"}
    assert rival.elements_read == logits.numel()
    assert (logits == 1000).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("vocab", "elements"), [(7, 2**18 // 7 * 7), (50_257, 5 * 50_257), (2**20, 2**20)])
def test_the_private_copy_is_no_larger_for_more_logits(vocab: int, elements: int) -> None:
    reader = LossReader(vocab, CPU)
    for rows in (1, 12):
        reader.read(torch.zeros(rows, vocab), np.zeros(rows, np.int64))
        assert reader._private.numel() == elements


@pytest.mark.parametrize(("value", "expected"), [
    (float("nan"), np.nan), (float("inf"), np.nan), (-float("inf"), np.log(4)),
])  # fmt: skip
def test_a_row_without_a_finite_loss_says_so_and_its_neighbours_do_not(value: float, expected: float) -> None:
    logits = torch.zeros(3, 5)
    logits[1, 3] = value
    found = LossReader(5, CPU).read(logits, np.array([0, 0, 0]))
    np.testing.assert_allclose(found, [np.log(5), expected, np.log(5)], rtol=1e-6)


def test_a_target_without_probability_has_an_infinite_loss() -> None:
    logits = torch.tensor([[0.0, -float("inf")]])
    assert LossReader(2, CPU).read(logits, np.array([1])).tolist() == [np.inf]
    assert np.isnan(LossReader(2, CPU).read(torch.full((1, 2), -float("inf")), np.array([1]))).all()
