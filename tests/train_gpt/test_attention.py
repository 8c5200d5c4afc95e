"""Masks, windows, rotary positions and gates of the flagship against references."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.train_gpt.flagship import DOCUMENT, gpt, random_model, random_tokens, small


def numbered(tokens: torch.Tensor) -> torch.Tensor:
    return (tokens == DOCUMENT).cumsum(1)


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
    mask = gpt.dense_mask(numbered(tokens), window, torch.float32)
    assert torch.equal(mask[:, 0] == 0, brute_force_mask(tokens, window))
    assert torch.equal(mask[:, 0] == float("-inf"), ~brute_force_mask(tokens, window))


def varlen_by_hand(q: Any, k: Any, v: Any, cu_seq: Any, _: Any, max_len: int, __: int, **options: Any) -> torch.Tensor:
    """torch's varlen_attn, one sequence after the other. Refuses what the kernel would silently leave out."""
    left, right = options["window_size"]
    assert right == 0
    assert cu_seq.dtype == torch.int32
    assert cu_seq[0] == 0
    assert cu_seq[-1] == len(q)
    pieces = []
    for start, end in zip(cu_seq.tolist(), cu_seq.tolist()[1:], strict=False):
        assert 0 <= end - start <= max_len
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        mask = (distance >= 0) & (distance <= left)
        one = (x[start:end].transpose(0, 1) for x in (q, k, v))
        pieces.append(F.scaled_dot_product_attention(*one, attn_mask=mask, scale=options["scale"]).transpose(0, 1))
    return torch.cat(pieces)


@pytest.mark.parametrize("window", [1, 9, 64])
@pytest.mark.parametrize("max_docs", [None, 64])
def test_the_packed_mask_shows_what_the_dense_one_shows(
    window: int, max_docs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_by_hand)
    tokens = random_tokens(2, 64, vocab=11)
    doc_starts = F.pad(tokens[:, 1:] == DOCUMENT, (1, 0), value=True)
    dense = gpt.dense_mask(doc_starts.cumsum(1), window, torch.float32)
    cu_seq = gpt.cumulative_seqlens(doc_starts, max_docs)
    assert len(cu_seq) == (int(doc_starts.sum()) if max_docs is None else max_docs) + 1
    inputs = torch.randn(3, 2, 64, 3, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    plain, packed = gpt.attend(*inputs, dense), gpt.attend(*inputs, (cu_seq, 64, window))
    by_torch = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in inputs), attn_mask=dense, scale=1.0)
    torch.testing.assert_close(plain, by_torch.transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)
    weight = torch.randn(plain.shape, generator=torch.Generator().manual_seed(2))
    grads = [torch.autograd.grad((found * weight).sum(), inputs)[0] for found in (plain, packed)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_rotary_scores_depend_on_distance_alone() -> None:
    cos, sin = gpt.rotary_tables(50, 32, (), torch.device("cpu"))
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


def test_yarn_slows_slow_frequencies_and_leaves_fast_ones() -> None:
    def frequencies(history: tuple[int, ...]) -> torch.Tensor:
        cos, sin = gpt.rotary_tables(2, 128, history, torch.device("cpu"))
        return torch.atan2(sin[1, 0], cos[1, 0])

    before, once, twice = (frequencies(history) for history in [(384,), (384, 896), (384, 896, 1408)])
    expected = []
    for w in before.tolist():
        for old, new in ((384, 896), (896, 1408)):
            share = min(1.0, max(0.0, (old * w / (2 * math.pi) - 1) / 31))
            w *= old / new + share * (1 - old / new)
        expected.append(w)
    torch.testing.assert_close(twice, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    assert once[0] == before[0]
    assert once[-1] == pytest.approx(float(before[-1]) * 384 / 896, rel=1e-3)
    gain = gpt.attention_gain(0.1, (384, 896, 1408)) ** 2
    assert gain == pytest.approx(0.1 * (1 + 0.2 * math.log(896 / 384)) * (1 + 0.2 * math.log(1408 / 896)))
    assert gpt.attention_gain(0.12, ()) ** 2 == pytest.approx(0.12)


def test_key_offset_takes_half_a_key_from_the_token_before() -> None:
    x = random_tokens(2, 5).float()
    assert torch.equal(gpt.shift_right(x)[:, 1:], x[:, :-1])
    assert not gpt.shift_right(x)[:, 0].any()
    assert torch.equal(gpt.shift_right(x[:, :, None, None].expand(2, 5, 3, 4))[:, 3, 1, 2], x[:, 2])


def test_gates_open_to_one_and_weigh_heads() -> None:
    """With gates at zero the layer is the plain one; a gate that closes a head takes its output away."""
    model = random_model(small())
    tokens = random_tokens(1, 64)
    with torch.no_grad():
        attn_args = model.make_attn_args(tokens, gpt.windows_at(0, model.hp))
        x = model.embedding(tokens)
        spec, attention, _, _ = next(model.layer_weights())
        assert attention is not None
        weights, gates = attention
        ve = torch.randn(1, 64, 48, generator=torch.Generator().manual_seed(4))
        H, K = 3, 16
        q, k, v = F.linear(x, weights[:3].flatten(0, 1)).view(1, 64, 3, H, K).unbind(2)
        q, k = (gpt.rotate(F.rms_norm(y, (K,)) * attn_args.gain, attn_args.cos, attn_args.sin) for y in (q, k))
        gate = 2 * torch.sigmoid(x[..., :12] @ gates.T)
        for used_gate in (torch.ones_like(gate), gate):
            y = gpt.attend(q, k, v + ve.view(1, 64, H, K) * used_gate[..., :H, None], attn_args.masks[spec.window])
            expected = F.linear((y * used_gate[..., H:, None]).flatten(2), weights[3])
            used = gates if used_gate is gate else torch.zeros_like(gates)
            found = model.attention_layer(x, spec, weights, used, ve, attn_args)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
