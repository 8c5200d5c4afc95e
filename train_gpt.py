"""Train a small language model to a target validation loss as fast as possible.

The reigning submission; the whole experiment is this file. One model and one optimizer serve two
presets: `GPT2_SMALL` (CUDA, meant for Hopper GPUs) and `NANO` (two CPU cores). The referee calls `train(run)`
on every rank and, in another process, `load(weights, device)`.

What makes it fast (docs/train_gpt.md has the price of each, in seconds of the recorded history)
    Muon           matrices move along the orthogonalised momentum (Jordan 2024); Polar Express iteration
                   (Amsel et al. 2025), row-wise second moment (NorMuon, Li et al. 2025), cautious decay
    attention      rotary on half of each head, QK-norm, short and long windows that grow (YaRN rescales),
                   none across documents; torch's varlen kernel on CUDA, plain batched matmul on CPU
    shortcuts      gated value embeddings, skips, the embedding in every layer, hashed n-grams, smear, backout
    head           soft-capped logits (Gemma 2), FP8 matmul on Hopper, multi-token prediction early on,
                   tied to the embedding for two thirds of the run
    schedules      batch size, document length, windows, learning rate, momentum: pure functions of the step
    sharding       every parameter has an fp32 master on one rank only: reduce-scatter, update, all-gather
    data           rows start where documents start; a thread packs them ahead of the device

Shape suffixes: B rows, T tokens, D width, H heads, K head width, V vocabulary, N = B*T, P predicted tokens.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

ON_CUDA = torch.cuda.is_available()
EVAL_TOKENS, EVAL_BATCH = (65_536, 1) if ON_CUDA else (512, 32)

# ------------------------------------------------------------------------------------------ hyperparameters


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSpec:
    """The configuration of one layer."""

    window: Literal["short", "long"] = "short"
    key_offset: bool = False  # the half of each key without rotary is the previous token's
    attention: bool = True
    value_embed: int | None = None  # which value embedding is added to this layer's values
    skip_from: int | None = None  # an earlier layer, not the one before, whose output is added to the input


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training."""

    until: float  # fraction of all steps at which it ends
    rows: int  # batch size: sequences per step, all ranks together
    short: int  # window sizes of attention, tokens
    long: int
    lr: float  # factor on every learning rate
    max_doc_len: int = 0  # longer documents are truncated; 0: rows of plain text, cut anywhere
    mtp: tuple[tuple[float, float], ...] = ((1.0, 1.0),)  # loss weights (start, end) of each token predicted


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamGroup:
    """Parameters that are updated alike, and how."""

    names: tuple[str, ...]
    kind: Literal["muon", "adam"]
    lr: float
    beta1: float = 0.8  # adam only; Muon's momentum has a schedule
    beta2: float = 0.95
    eps: float = 1e-10
    weight_decay: float = 0.0  # cautious
    every: int = 1  # steps whose gradients are accumulated for one update


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameters:
    width: int
    heads: int
    layers: tuple[LayerSpec, ...]
    num_value_embeds: int
    ngram_vocab_sizes: tuple[int, ...]  # of the hashed embeddings of the last 2, 3, ... tokens
    vocab_multiple: int  # the vocabulary is padded to a multiple of it, for the tensor cores
    softcap: tuple[float, float, float]  # of the logits: height, shift and slope of a sigmoid
    attention_scale: float  # on top of QK-norm
    yarn: bool  # whether rotary and scale follow the long window as it grows
    gate_inputs: int  # the gates of attention and smear read the first so many channels; 0: no gates
    backout: int | None  # the layer whose output is subtracted before the head
    tied_until: float  # fraction of all steps during which embedding and head are tied
    dtype: torch.dtype  # of activations and weights; the optimizer keeps fp32 masters
    length: int  # tokens per training sequence
    max_docs: int  # documents per sequence, truncated ones included
    micro_batches: int  # per step, all ranks together; a rank runs its share of them one by one
    steps: int
    stages: tuple[Stage, ...]
    lr_cooldown: float  # last fraction of the steps, over which the learning rate falls linearly
    lr_floor: float  # to this fraction
    momentum: tuple[float, float]  # Muon: from, to
    momentum_warmup: int  # steps
    momentum_cooldown: int  # steps at the end, back to the first value
    param_groups: tuple[ParamGroup, ...]
    eval_windows: tuple[int, int]  # short and long, after training
    log_every: int  # steps


GPT2_SMALL = Hyperparameters(
    width=768,
    heads=6,
    layers=(
        LayerSpec(value_embed=1),
        LayerSpec(value_embed=2),
        LayerSpec(),
        LayerSpec(window="long", key_offset=True),
        LayerSpec(),
        LayerSpec(),
        LayerSpec(skip_from=3, attention=False),
        LayerSpec(),
        LayerSpec(value_embed=0),
        LayerSpec(value_embed=1),
        LayerSpec(value_embed=2, window="long", key_offset=True),
    ),
    num_value_embeds=3,
    ngram_vocab_sizes=(131_072,),
    vocab_multiple=128,
    softcap=(23.0, 5.0, 7.5),
    attention_scale=0.1,
    yarn=True,
    gate_inputs=12,
    backout=7,
    tied_until=0.653,
    dtype=torch.bfloat16,
    length=16_384,
    max_docs=64,
    micro_batches=8,
    steps=1_920,
    stages=(
        Stage(0.326, rows=8, short=128, long=384, lr=1, max_doc_len=896, mtp=((1, 1), (0.5, 0.5), (0.25, 0))),
        Stage(0.653, rows=16, short=384, long=896, lr=1.52, max_doc_len=2048, mtp=((1, 1), (0.5, 0))),
        Stage(0.979, rows=24, short=640, long=1408, lr=1.73, max_doc_len=2048),
        Stage(1.0, rows=24, short=768, long=1664, lr=1.73, max_doc_len=2048),
    ),
    lr_cooldown=0.55,
    lr_floor=0.1,
    momentum=(0.85, 0.95),
    momentum_warmup=300,
    momentum_cooldown=50,
    param_groups=(
        ParamGroup(names=("attention", "mlp"), kind="muon", lr=0.023, weight_decay=0.025),
        ParamGroup(names=("head", "embed"), kind="adam", lr=0.008, beta1=0.5, weight_decay=0.006, every=2),
        ParamGroup(names=("value_embeds",), kind="adam", lr=0.6, beta1=0.75, weight_decay=0.015, every=2),
        ParamGroup(names=("ngram2",), kind="adam", lr=0.06, beta1=0.75, weight_decay=0.15, every=2),
        ParamGroup(names=("gates",), kind="adam", lr=0.008, beta1=0.9, beta2=0.99, every=2),
        ParamGroup(names=("smear",), kind="adam", lr=0.00008, beta1=0.9, beta2=0.99, every=2),
        ParamGroup(names=("lambdas", "scalars"), kind="adam", lr=0.04, beta1=0.9, beta2=0.99, every=2),
    ),
    eval_windows=(768, 2560),
    log_every=10,
)

NANO = Hyperparameters(
    width=128,
    heads=1,
    layers=(
        LayerSpec(window="long", value_embed=0),
        LayerSpec(window="long", value_embed=0),
    ),
    num_value_embeds=1,
    ngram_vocab_sizes=(8_192,),
    vocab_multiple=16,
    softcap=(30.0, 0.0, 7.5),
    attention_scale=0.12,
    yarn=False,
    gate_inputs=0,
    backout=None,
    tied_until=0.0,
    # elsewhere products in bf16 are emulated, sixty times slower than in fp32
    dtype=torch.bfloat16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else torch.float32,
    length=128,
    max_docs=0,
    micro_batches=1,
    steps=76,
    stages=(Stage(1.0, rows=16, short=64, long=128, lr=1.0),),
    lr_cooldown=1.0,
    lr_floor=0.05,
    momentum=(0.8, 0.9),
    momentum_warmup=30,
    momentum_cooldown=0,
    param_groups=(
        ParamGroup(names=("attention", "mlp"), kind="muon", lr=0.03, weight_decay=0.02),
        ParamGroup(names=("head",), kind="adam", lr=0.04),
        ParamGroup(names=("embed", "value_embeds"), kind="adam", lr=0.8),
        ParamGroup(names=("ngram2",), kind="adam", lr=0.4),
        ParamGroup(names=("lambdas",), kind="adam", lr=0.12),
    ),
    eval_windows=(64, 256),
    log_every=10,
)

# ------------------------------------------------------------------------------------------------ schedules


def stage_at(step: int, hp: Hyperparameters) -> Stage:
    """The stage that `step` (counted from 0) belongs to."""
    return next(stage for stage in hp.stages if step < stage.until * hp.steps)


def mtp_weights(step: int, hp: Hyperparameters) -> list[float]:
    """Loss weights of multi-token prediction (next token, the one after it, ...): linear within the stage."""
    stage, done = stage_at(step, hp), step / hp.steps
    start = max([0.0, *(other.until for other in hp.stages if other.until <= done)])
    return [a + (b - a) * (done - start) / (stage.until - start) for a, b in stage.mtp]


def lr_factor(step: int, hp: Hyperparameters) -> float:
    """Factor on every learning rate: the stage's, then linear to the floor over the last `lr_cooldown`."""
    remaining = min(1.0, (hp.steps - step) / (hp.lr_cooldown * hp.steps))
    return stage_at(step, hp).lr * remaining + hp.lr_floor * (1.0 - remaining)


def muon_momentum(step: int, hp: Hyperparameters) -> float:
    """Rises linearly over the first steps and goes back over the last."""
    low, high = hp.momentum
    up = min(1.0, step / max(1, hp.momentum_warmup))
    down = min(1.0, (hp.steps - step) / max(1, hp.momentum_cooldown))
    return low + (high - low) * min(up, down)


class Windows(NamedTuple):
    """Window sizes of attention at one step, tokens."""

    short: int
    long: int
    history: tuple[int, ...]  # the long windows of the stages up to this one, which YaRN follows
    max_doc_len: int  # 0: unknown


def windows_at(step: int, hp: Hyperparameters) -> Windows:
    """After the last step, those of the evaluation."""
    if step == hp.steps:
        return Windows(*hp.eval_windows, (*(stage.long for stage in hp.stages), hp.eval_windows[1]), 0)
    stage = stage_at(step, hp)
    history = tuple(other.long for other in hp.stages if other.until <= stage.until)
    return Windows(stage.short, stage.long, history, stage.max_doc_len)


# ----------------------------------------------------------------------------------------------- FP8 matmul
#
# Hopper multiplies 8-bit floats at twice the bf16 rate. e4m3 (max 448, 3 bits of mantissa) holds activations
# and weights, e5m2 (max 57344, 2 bits) gradients, whose range is wide. A tensor is divided by a constant
# before the cast; the constants fit this head: its input is normalised, its gradient a softmax minus a one.
# The hardware wants its left operand row-major and its right one column-major.

FP8_SCALES = (100 / 448, 1.6 / 448, 0.75 / 448)  # input, weight, gradient


def to_fp8(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """`x / scale`, saturated (a plain cast would overflow to NaN), as 8-bit float."""
    limit = torch.finfo(dtype).max
    return (x.float() / scale).clamp(-limit, limit).to(dtype)


def scaled_mm(a: Tensor, b: Tensor, scale_a: float, scale_b: float, out: torch.dtype, fast: bool) -> Tensor:
    """`a @ b` of two FP8 matrices times both scales; `a` row-major, `b` column-major."""
    scales = [torch.full((), scale, dtype=torch.float32, device=a.device) for scale in (scale_a, scale_b)]
    return torch._scaled_mm(a, b, *scales, out_dtype=out, use_fast_accum=fast)


class Fp8Linear(torch.autograd.Function):
    """`x @ weight.T`: x [N, D] and weight [V, D] in bf16, result [N, V] in bf16, all three matmuls in FP8."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x_scale, w_scale, _ = FP8_SCALES
        x8 = to_fp8(x, x_scale, torch.float8_e4m3fn)
        w8 = to_fp8(weight, w_scale, torch.float8_e4m3fn)
        ctx.save_for_backward(x8, w8)
        return scaled_mm(x8, w8.T, x_scale, w_scale, torch.bfloat16, True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x_scale, w_scale, g_scale = FP8_SCALES
        x8, w8 = ctx.saved_tensors
        g8 = to_fp8(grad, g_scale, torch.float8_e5m2)
        grad_x = scaled_mm(g8, w8.T.contiguous().T, g_scale, w_scale, torch.bfloat16, False)
        grad_w = scaled_mm(g8.T.contiguous(), x8.T.contiguous().T, g_scale, x_scale, torch.float32, False)
        return grad_x, grad_w.to(torch.bfloat16)


# ----------------------------------------------------------------------------------------------------- loss


def soft_cap(z: Tensor, cap: Sequence[float]) -> Tensor:
    """height * sigmoid((z + shift) / slope), fp32: bounded logits."""
    height, shift, slope = cap
    return height * torch.sigmoid((z.float() + shift) / slope)


class SoftCappedCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of soft-capped z [N, V] on targets int64 [N, P] (-1: none), weighted by fp32 [P].

    The gradient is made in the forward pass, where the probabilities are at hand, and kept instead of them.
    """

    @staticmethod
    def forward(ctx: Any, z_NV: Tensor, targets_NP: Tensor, weights_P: Tensor, cap: Any) -> Tensor:
        logits, weights_NP = soft_cap(z_NV, cap), weights_P * (targets_NP >= 0)
        logp, index = torch.log_softmax(logits, dim=-1), torch.arange(z_NV.size(1), device=z_NV.device)
        grad = weights_NP.sum(1, keepdim=True) * logp.exp()
        for target, weight in zip(targets_NP.split(1, dim=1), weights_NP.split(1, dim=1), strict=True):
            grad = grad - (target == index) * weight
        slope = logits * (1 - logits / cap[0]) / cap[2]  # of the sigmoid
        ctx.save_for_backward((grad * slope).to(z_NV.dtype))
        return -(logp.gather(1, targets_NP.clamp_min(0)) * weights_NP).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * grad.to(ctx.saved_tensors[0].dtype), None, None, None


# -------------------------------------------------------------------------------------------- Muon and Adam

# Polar Express (arXiv 2505.16932): best odd quintics for singular values in [1e-3, 1], 5 rounds, safety 1.02.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


State = dict[str, Tensor]  # the optimizer state of one parameter


def orthogonalize(g: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrix to each of g [n, rows, columns]: singular values become about 1.

    Each round is X <- a X + (b A + c A A) X with A = X X^T, in the dtype of `g`.
    """
    tall = g.size(-2) > g.size(-1)
    x = g.mT if tall else g
    x = x / (1.02 * torch.linalg.matrix_norm(x.float(), keepdim=True) + 1e-6).to(x.dtype)
    for a, b, c in POLAR_EXPRESS:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def normuon(grad: Tensor, state: State, momentum: float, group: ParamGroup, dtype: torch.dtype) -> Tensor:
    """Orthogonalised Nesterov momentum of grad [n, rows, columns], its rows normalised, its norm kept."""
    state["momentum"].lerp_(grad, 1 - momentum)
    update = orthogonalize(grad.lerp(state["momentum"], momentum).to(dtype)).float()
    norm = torch.linalg.matrix_norm(update, keepdim=True)
    state["exp_avg_sq"].lerp_(update.square().mean(-1, keepdim=True), 1 - group.beta2)
    update = update * state["exp_avg_sq"].clamp_min(1e-10).rsqrt()
    update = update * (norm / torch.linalg.matrix_norm(update, keepdim=True).clamp_min(1e-10))
    return update * max(1.0, grad.size(-2) / grad.size(-1)) ** 0.5


def cautious_decay(weight: Tensor, direction: Tensor, amount: float) -> None:
    """Cautious weight decay (arXiv 2411.16085): only where the step shrinks the weight anyway."""
    weight.addcmul_(weight, (direction * weight > 0).to(weight.dtype), value=-amount)


def adam_update(weight: Tensor, grad: Tensor, state: State, step: int, lr: float, group: ParamGroup) -> None:
    """`step` counts from 0."""
    exp_avg = state["exp_avg"].lerp_(grad, 1 - group.beta1)
    exp_avg_sq = state["exp_avg_sq"].mul_(group.beta2).addcmul_(grad, grad, value=1 - group.beta2)
    denom = exp_avg_sq.sqrt().mul_((1 - group.beta2 ** (step + 1)) ** -0.5).add_(group.eps)
    if group.weight_decay:
        cautious_decay(weight, exp_avg, lr * group.weight_decay)
    weight.addcdiv_(exp_avg, denom, value=-lr / (1 - group.beta1 ** (step + 1)))


# Both have new names since torch 2.13.
reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process in the process group."""

    rank: int
    world_size: int


class Shard:
    """One parameter: this rank's fp32 slice along dim 0, its optimizer state, the collectives."""

    def __init__(self, name: str, parameter: nn.Parameter, group: ParamGroup, ranks: Ranks) -> None:
        self.name, self.parameter, self.group, self.ranks = name, parameter, group, ranks
        self.rows = -(-parameter.size(0) // ranks.world_size)
        padded = (self.rows * ranks.world_size, *parameter.shape[1:])
        self.whole = torch.zeros(padded, dtype=parameter.dtype, device=parameter.device)
        self.whole[: parameter.size(0)].copy_(parameter.detach())
        self.part = torch.empty_like(self.whole[: self.rows])
        self.master = self.whole[ranks.rank * self.rows :][: self.rows].to(torch.float32, copy=True)
        first, second = ("momentum", "exp_avg_sq") if group.kind == "muon" else ("exp_avg", "exp_avg_sq")
        second_like = self.master[..., :1] if group.kind == "muon" else self.master
        self.state = {first: torch.zeros_like(self.master), second: torch.zeros_like(second_like)}
        self.pending: Any = None

    def reduce(self) -> None:
        """Start the reduce-scatter of the gradient."""
        grad = self.parameter.grad
        assert grad is not None, f"{self.name} has no gradient"
        if self.ranks.world_size == 1:
            self.part = grad
            return
        if grad.shape != self.whole.shape:
            self.whole[: grad.size(0)].copy_(grad)
            grad = self.whole
        self.pending = reduce_scatter(self.part, grad, async_op=True)

    def update(self, step: int, lr: float, momentum: float, tokens: int) -> None:
        """Update this rank's slice; `tokens` turns the gradient of the summed loss into that of the mean."""
        self.wait()
        grad, lr = self.part.float() / tokens, lr * self.group.lr
        if self.group.kind == "muon":
            direction = normuon(grad, self.state, momentum, self.group, self.parameter.dtype)
            cautious_decay(self.master, direction, lr * self.group.weight_decay)
            self.master.add_(direction, alpha=-lr)
        else:
            adam_update(self.master, grad, self.state, step // self.group.every, lr, self.group)

    def gather(self) -> None:
        """Start the all-gather of the updated slices."""
        if self.ranks.world_size == 1:
            self.whole.copy_(self.master)
            return
        self.part.copy_(self.master)
        self.pending = all_gather(self.whole, self.part, async_op=True)

    def finish(self) -> None:
        """Write the new values to the parameter and clear the gradient."""
        self.wait()
        self.parameter.detach().copy_(self.whole[: self.parameter.size(0)])
        self.parameter.grad = None

    def tensors(self) -> list[Tensor]:
        return [self.parameter.detach(), self.master, *self.state.values()]

    def copy_from(self, other: "Shard") -> None:
        """Copy another one's values and optimizer state."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)
        self.parameter.grad = None

    def wait(self) -> None:
        if self.pending is not None:
            self.pending.wait()
            self.pending = None


class ShardedOptimizer:
    """All parameters in the order of their groups: matrices first, so that Muon hides communication."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], param_groups: Sequence[ParamGroup], ranks: Ranks
    ) -> None:
        named = [(name, group) for group in param_groups for name in group.names]
        names = sorted(name for name, _ in named)
        assert names == sorted(parameters), "every parameter needs exactly one group"
        self.shards = [Shard(name, parameters[name], group, ranks) for name, group in named]

    @torch.no_grad()
    def step(self, step: int, hp: Hyperparameters, tokens: int) -> None:
        """Apply the gradients of `tokens` tokens. Parameters that are not due keep accumulating."""
        lr, momentum = lr_factor(step, hp), muon_momentum(step, hp)
        due = [shard for shard in self.shards if (step + 1) % shard.group.every == 0]
        tied = [shard for shard in due if shard.name in ("embed", "head") and step < hp.tied_until * hp.steps]
        if tied:
            head, embed = sorted(tied, key=lambda shard: shard.name == "embed")
            head.parameter.grad.add_(embed.parameter.grad)
            due.remove(embed)
        for shard in due:
            shard.reduce()
        for shard in due:
            shard.update(step, lr, momentum, tokens * shard.group.every)
            shard.gather()
        for shard in due:
            shard.finish()
        if tied:
            embed.copy_from(head)

    def tensors(self) -> list[Tensor]:
        """Weights and optimizer state, to be saved and restored around the warm-up."""
        return [tensor for shard in self.shards for tensor in shard.tensors()]


# ------------------------------------------------------------------------------------------------ attention
#
# A token attends to itself and to earlier tokens of its document, less than `window` away. On CPU that is a
# dense mask; on CUDA the varlen kernel gets the documents' offsets and skips what is masked.


def dense_mask(doc_ids_BT: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """0 where a token may attend, -inf elsewhere: document ids [B, T] -> [B, 1, T, T]."""
    position = torch.arange(doc_ids_BT.size(1), device=doc_ids_BT.device)
    distance = position[:, None] - position[None, :]
    visible = (distance >= 0) & (distance < window) & (doc_ids_BT[:, :, None] == doc_ids_BT[:, None, :])
    return torch.zeros((), dtype=dtype).masked_fill(~visible, float("-inf"))[:, None]


def cumulative_seqlens(starts_BT: Tensor, max_docs: int | None) -> Tensor:
    """Offsets of the documents in the flattened batch, then its end, padded to `max_docs` + 1: int32."""
    starts_N, end = starts_BT.flatten(), starts_BT.numel()
    index = starts_N.nonzero() if max_docs is None else starts_N.nonzero_static(size=max_docs, fill_value=end)
    return F.pad(index[:, 0], (0, 1), value=end).int()


def attend(q_BTHK: Tensor, k_BTHK: Tensor, v_BTHK: Tensor, mask: Any) -> Tensor:
    """softmax(q k^T + mask) v, the mask dense or (cu_seq, max_len, window) for the varlen kernel.

    A dense one means plain matmuls: on CPU nothing is faster here.
    """
    if isinstance(mask, tuple):
        from torch.nn.attention.varlen import varlen_attn  # imports torch._dynamo, a second of PREPARE

        q, k, v = (x.flatten(0, 1) for x in (q_BTHK, k_BTHK, v_BTHK))
        cu_seq, max_len, window = mask
        y = varlen_attn(q, k, v, cu_seq, cu_seq, max_len, max_len, scale=1.0, window_size=(window - 1, 0))
        return y.view_as(q_BTHK)
    q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTHK, v_BTHK))
    return (torch.softmax(q @ k.mT + mask, dim=-1) @ v).transpose(1, 2)


# ---------------------------------------------------------------------------------------------------- model


class RmsNorm(torch.autograd.Function):
    """gain * x / rms(x) over the last dim. Written out: on CPU the composite one takes twice as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = (gain * x.size(-1) ** 0.5 / norm.clamp_min(1e-6)).to(x.dtype)
        y = x * scale
        ctx.save_for_backward(y, scale)
        ctx.gain = gain
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        projection = (grad * y).mean(-1, keepdim=True) / ctx.gain**2
        return torch.addcmul(grad, y, projection, value=-1) * scale, None


def norm(x: Tensor, gain: float = 1.0) -> Tensor:
    return RmsNorm.apply(x, gain)


class SquaredRelu(torch.autograd.Function):
    """relu(x)^2, in as few passes as possible."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=grad.dtype, device=grad.device)
        return torch.addcmul(zero, grad, ctx.saved_tensors[0], value=2)  # one pass, not two


class AttnArgs(NamedTuple):
    """What attention needs beside the residual stream."""

    cos: Tensor  # [T, 1, K/4]
    sin: Tensor
    gain: float  # of queries and keys after QK-norm
    masks: Mapping[str, Any]  # of short and long windows


def rotary_tables(length: int, head_width: int, history: Sequence[int], device: torch.device) -> list[Tensor]:
    """Cosine and sine [T, 1, K/4] of frequencies from 1 down to 1/1024 radians per token, for half of a head.

    YaRN (arXiv 2309.00071): when a window grows, frequencies with few rotations in it are interpolated.
    """
    frequencies = (1 / 1024) ** torch.linspace(0, 1, head_width // 4, device=device)
    for old, new in pairwise(history):
        keep = ((old * frequencies / (2 * math.pi) - 1) / (32 - 1)).clamp(0, 1)
        frequencies = frequencies * (old / new + keep * (1 - old / new))
    angles = torch.arange(length, device=device)[:, None, None] * frequencies
    return [angles.cos(), angles.sin()]


def attention_gain(scale: float, history: Sequence[int]) -> float:
    """Square root of the scale on q k, which YaRN raises whenever the window grows."""
    return math.prod([scale, *(1 + 0.2 * math.log(new / old) for old, new in pairwise(history))]) ** 0.5


class Rotary(torch.autograd.Function):
    """Rotary embedding on the first half of each head; the second half stays static."""

    @staticmethod
    def forward(ctx: Any, x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x_BTHK, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(grad, cos, -sin), None, None


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs from the first and second quarter of each head; the inverse is the negative angle."""
    quarter = x_BTHK.size(-1) // 4
    a, b, static = x_BTHK.split((quarter, quarter, 2 * quarter), dim=-1)
    return torch.cat((torch.addcmul(a * cos, b, sin), torch.addcmul(b * cos, a, -sin), static), dim=-1)


class Blend(torch.autograd.Function):
    """weights[0] * x + weights[1] * y: learned fp32 weights [2], streams [B, T, D], in few passes."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(weights, x, y)
        a, b = weights.to(x.dtype).unbind(0)
        return torch.addcmul(x * a, y, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, x, y = ctx.saved_tensors
        grad_weights = torch.stack([(grad * stream).sum(dtype=torch.float32) for stream in (x, y)])
        a, b = weights.to(grad.dtype).unbind(0)
        return grad_weights, grad * a, grad * b


def ngram_hash(tokens_BT: Tensor, order: int, rows: int) -> Tensor:
    """Hash the last `order` tokens into `rows` buckets; token 0 pads the row's start."""
    index = tokens_BT
    for back in range(1, order):
        index = (index * 36_313) ^ (F.pad(tokens_BT[:, :-back], (back, 0)) * 27_191)
    return index % rows


def shift_right(x_BT: Tensor) -> Tensor:
    """Each position gets the previous token's value, the first one zero: [B, T, ...]."""
    return F.pad(x_BT[:, :-1], (0, 0) * (x_BT.dim() - 2) + (1, 0))


class GPT(nn.Module):
    """The model. Matrices of one shape live in one bank [n, rows, columns]: one update moves them all."""

    def __init__(self, hp: Hyperparameters, vocab_size: int, document_token: int) -> None:
        super().__init__()
        D, num_attn = hp.width, sum(spec.attention for spec in hp.layers)
        self.hp, self.document_token, self.fp8 = hp, document_token, False
        self.window_kinds = sorted({spec.window for spec in hp.layers if spec.attention})
        self.embed = nn.Parameter(torch.empty(vocab_size, D, dtype=hp.dtype))
        self.value_embeds = nn.Parameter(torch.empty(vocab_size, hp.num_value_embeds, D, dtype=hp.dtype))
        for order, rows in enumerate(hp.ngram_vocab_sizes, start=2):
            self.register_parameter(f"ngram{order}", nn.Parameter(torch.empty(rows, D, dtype=hp.dtype)))
        self.attention = nn.Parameter(torch.empty(num_attn * 4, D, D, dtype=hp.dtype))  # q, k, v, out
        self.mlp = nn.Parameter(torch.empty(len(hp.layers) * 2, 4 * D, D, dtype=hp.dtype))  # up, down
        self.lambdas = nn.Parameter(torch.empty(len(hp.layers), 5))  # value; x, x0; x, skip
        self.head = nn.Parameter(torch.empty(vocab_size, D, dtype=hp.dtype))
        if hp.gate_inputs:  # gates of value embeddings and outputs per head; lambdas of smear and backout
            self.gates = nn.Parameter(torch.empty(num_attn * 2 * hp.heads, hp.gate_inputs, dtype=hp.dtype))
            self.smear = nn.Parameter(torch.empty(1, hp.gate_inputs, dtype=hp.dtype))
            self.scalars = nn.Parameter(torch.empty(2))

    def embedding(self, tokens_BT: Tensor) -> Tensor:
        """Token and n-gram embeddings, normalised: [B, T, D]."""
        x = F.embedding(tokens_BT, self.embed)
        if inputs := self.hp.gate_inputs:
            gate = torch.sigmoid(F.linear(x[..., :inputs], self.smear))
            x = norm(x + self.scalars[0].to(x.dtype) * gate * shift_right(x))
        for order, rows in enumerate(self.hp.ngram_vocab_sizes, start=2):
            x = x + F.embedding(ngram_hash(tokens_BT, order, rows), self.get_parameter(f"ngram{order}"))
        return norm(x)

    def make_attn_args(self, tokens_BT: Tensor, windows: Windows) -> AttnArgs:
        """Masks and rotary tables for these tokens."""
        hp, (B, T), device = self.hp, tokens_BT.shape, tokens_BT.device
        history = windows.history if hp.yarn else ()
        cos, sin = (x.to(hp.dtype) for x in rotary_tables(T, hp.width // hp.heads, history, device))
        doc_starts = F.pad(tokens_BT[:, 1:] == self.document_token, (1, 0), value=True)  # as does a row
        if device.type == "cpu":
            doc_ids = doc_starts.cumsum(1, dtype=torch.int32)
            masks = {w: dense_mask(doc_ids, getattr(windows, w), hp.dtype) for w in self.window_kinds}
        else:
            cu_seq = cumulative_seqlens(doc_starts, B * hp.max_docs if windows.max_doc_len else None)
            masks = {w: (cu_seq, windows.max_doc_len or T, getattr(windows, w)) for w in self.window_kinds}
        return AttnArgs(cos, sin, attention_gain(hp.attention_scale, history), masks)

    def layer_weights(self) -> Iterator[tuple[LayerSpec, tuple[Tensor, Any] | None, Tensor, Tensor]]:
        """Each layer's spec, attention [4, D, D] with gates or None, mlp [2, 4D, D], lambdas [5]."""
        matrices = self.attention.unflatten(0, (-1, 4)).unbind(0)
        gates = self.gates.unflatten(0, (len(matrices), -1)).unbind(0) if self.hp.gate_inputs else matrices
        attention = iter(zip(matrices, gates, strict=True))
        mlps = self.mlp.unflatten(0, (-1, 2)).unbind(0)
        for spec, mlp, lambdas in zip(self.hp.layers, mlps, self.lambdas.unbind(0), strict=True):
            yield spec, next(attention) if spec.attention else None, mlp, lambdas

    def attention_layer(
        self, x_BTD: Tensor, spec: LayerSpec, weights: Tensor, gates: Tensor, ve: Any, attn_args: AttnArgs
    ) -> Tensor:
        (B, T, D), H, inputs = x_BTD.shape, self.hp.heads, self.hp.gate_inputs
        qkv, out = weights.split((3, 1))
        qk, v = F.linear(x_BTD, qkv.flatten(0, 1)).view(B, T, 3 * H, D // H).split((2 * H, H), dim=2)
        q, k = Rotary.apply(norm(qk, attn_args.gain), attn_args.cos, attn_args.sin).split(H, dim=2)
        if spec.key_offset:
            rotated, static = k.chunk(2, dim=-1)
            k = torch.cat((rotated, shift_right(static)), dim=-1)
        if inputs:
            gate = 2 * torch.sigmoid(F.linear(x_BTD[..., :inputs], gates))
            value_gate, out_gate = gate[..., None].chunk(2, dim=2)
        if ve is not None:
            ve = ve.view(v.shape)
            v = v + (ve * value_gate if inputs else ve)
        y_BTHK = attend(q, k, v, attn_args.masks[spec.window])
        if inputs:
            y_BTHK = y_BTHK * out_gate
        return F.linear(y_BTHK.reshape(B, T, D), out[0])

    def forward(self, tokens_BT: Tensor, windows: Windows) -> Tensor:
        """tokens int64 [B, T] -> normalised output [B, T, D]."""
        hp, dtype, attn_args = self.hp, self.hp.dtype, self.make_attn_args(tokens_BT, windows)
        ves = F.embedding(tokens_BT, self.value_embeds.flatten(1)).unflatten(2, (-1, hp.width)).unbind(2)
        x = x0 = self.embedding(tokens_BT)
        outputs: list[Tensor] = []
        for spec, attention, (up, down), lambdas in self.layer_weights():
            value_lambda, resid_mix, skip_mix = lambdas.split((1, 2, 2))
            if outputs:
                x = Blend.apply(resid_mix, x, x0)
            if spec.skip_from is not None:
                x = Blend.apply(skip_mix, x, outputs[spec.skip_from])
            if attention is not None:
                ve = None if spec.value_embed is None else value_lambda.to(dtype) * ves[spec.value_embed]
                x = x + self.attention_layer(norm(x), spec, *attention, ve, attn_args)
            x = x + SquaredRelu.apply(F.linear(norm(x), up)) @ down
            outputs.append(x)
        if hp.backout is not None:
            x = x - self.scalars[1].to(dtype) * outputs[hp.backout]
        return norm(x)

    def loss(self, rows: Tensor, weights_P: Tensor, windows: Windows) -> Tensor:
        """rows int [B, T+1] -> summed loss, fp32; every token but the first is a target."""
        tokens, targets = rows[:, :-1].long(), rows[:, 1:].long()
        targets_ahead = [F.pad(targets[:, p:], (0, p), value=-1).flatten() for p in range(len(weights_P))]
        x = self(tokens, windows).flatten(0, 1)
        z = Fp8Linear.apply(x, self.head) if self.fp8 else F.linear(x, self.head)
        return SoftCappedCrossEntropy.apply(z, torch.stack(targets_ahead, dim=1), weights_P, self.hp.softcap)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Soft-capped logits [B, T, V] with the windows of evaluation; on CUDA fp16: half the bytes."""
        dtype = torch.float16 if tokens_BT.is_cuda else torch.float32
        x_BTD = self(tokens_BT, windows_at(self.hp.steps, self.hp))
        pieces = (F.linear(piece, self.head) for piece in x_BTD.split(4096, dim=1))  # all at once: tens of GB
        return torch.cat([soft_cap(z, self.hp.softcap).to(dtype) for z in pieces], dim=1)


@torch.no_grad()
def initialize(model: GPT, seed: int) -> None:
    """Set every tensor. Output projections, gates, n-gram embeddings and an untied head start at zero."""
    generator = torch.Generator(device=model.embed.device).manual_seed(seed)
    bound = 3**0.5 * 0.5 * model.hp.width**-0.5  # uniform with half the usual standard deviation
    for name, p in model.named_parameters():
        match name:
            case "embed" | "value_embeds":
                p.normal_(generator=generator)
            case "attention":
                p.uniform_(-bound, bound, generator=generator)
                p[3::4].zero_()
            case "mlp":
                p.uniform_(-bound, bound, generator=generator)
                p[1::2].zero_()
            case "lambdas":
                p.copy_(torch.tensor([0.5, 1.0, 0.1, 1.0, 0.2]).expand_as(p))
            case "scalars":
                p.copy_(torch.tensor([0.0, 0.5]))
            case "head" if model.hp.tied_until:
                p.normal_(std=0.005, generator=generator)
                model.embed.copy_(p)
            case "head" | "ngram2" | "ngram3" | "gates" | "smear":
                p.zero_()
            case _:
                raise ValueError(f"initialize knows no tensor called {name}")


# ----------------------------------------------------------------------------------------------------- data
#
# A shard is 256 little-endian int32 (magic, version, number of tokens) and then uint16 tokens.

SHARD_MAGIC, SHARD_VERSION, HEADER_BYTES = 20240520, 1, 1024
SCAN = 2**22  # tokens searched for documents at once: a few milliseconds


def open_shard(path: str) -> np.ndarray:
    """Map a shard's tokens, uint16."""
    header = np.fromfile(path, dtype="<i4", count=3)
    assert header[0] == SHARD_MAGIC and header[1] == SHARD_VERSION, f"{path} is not a token shard"
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(int(header[2]),))


Span = tuple[int, int]  # a first token of the stream, and how many


class Stream:
    """All shards as one endless stream, cut into rows of `length` + 1 tokens."""

    def __init__(self, paths: Sequence[str], length: int, document_token: int) -> None:
        self.shards = [open_shard(str(path)) for path in paths]
        self.starts = np.cumsum([0, *map(len, self.shards)])
        self.length, self.position, self.documents = length, 0, self.find_documents(document_token)

    def find_documents(self, token: int) -> Iterator[Span]:
        """One document after the other, endlessly, found in parts of `SCAN` tokens, which cut one in two."""
        while True:
            for shard, base in zip(self.shards, self.starts.tolist(), strict=False):
                for first in range(0, len(shard), SCAN):
                    part = shard[first : first + SCAN]
                    begins = np.flatnonzero(part == token)
                    yield from zip(begins + base + first, np.diff(begins, append=len(part)), strict=True)

    def plan_row(self, max_doc_len: int, max_docs: int) -> list[Span]:
        """The next row: documents from their beginning, each truncated to `max_doc_len` tokens.

        If that is 0, rows are plain text and overlap by one token. A document so short that `max_docs`
        documents could no longer fill the row is left out.
        """
        missing, row = self.length + 1, list[Span]()
        if max_doc_len == 0:
            self.position += self.length
            return [(self.position - self.length, missing)]
        while missing:
            start, count = next(self.documents)
            count = min(int(count), max_doc_len, missing)
            if missing - count <= (max_docs - len(row) - 1) * max_doc_len:
                row.append((int(start), count))
                missing -= count
        return row

    def read(self, row: Sequence[Span]) -> np.ndarray:
        """uint16 [length + 1]; the stream wraps around."""
        pieces: list[np.ndarray] = []
        for start, missing in row:
            while missing:
                start %= int(self.starts[-1])
                shard = int(np.searchsorted(self.starts, start, side="right")) - 1
                offset = start - int(self.starts[shard])
                pieces.append(self.shards[shard][offset : offset + missing])
                start, missing = start + len(pieces[-1]), missing - len(pieces[-1])
        return np.concatenate(pieces)


def batches(stream: Stream, steps: Iterable[int], hp: Hyperparameters, ranks: Ranks) -> Iterator[Any]:
    """For each step this rank's micro-batches, int32 [rows, length + 1]; all ranks plan all rows alike."""
    for step in steps:
        stage = stage_at(step, hp)
        rows = [stream.plan_row(stage.max_doc_len, hp.max_docs) for _ in range(stage.rows)]
        mine = [[stream.read(rows[i]) for i in indices] for indices in micro_batches(stage.rows, hp, ranks)]
        yield [torch.from_numpy(np.stack(batch).astype(np.int32)) for batch in mine]


def prefetch(items: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    """The same items, up to `depth` of them prepared ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        futures = deque(thread.submit(next, items, None) for _ in range(depth))
        while (item := futures.popleft().result()) is not None:
            futures.append(thread.submit(next, items, None))
            yield item


def micro_batches(rows: int, hp: Hyperparameters, ranks: Ranks) -> list[range]:
    """Row indices of this rank's micro-batches; together those of all ranks never depend on their number."""
    pieces = max(hp.micro_batches, ranks.world_size)
    assert rows % pieces == 0 and pieces % ranks.world_size == 0, "rows must divide evenly among the ranks"
    size = rows // pieces
    return [range(i * size, (i + 1) * size) for i in range(ranks.rank, pieces, ranks.world_size)]


# ---------------------------------------------------------------------------------------------------- train


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainer:
    """What a step needs."""

    hp: Hyperparameters
    ranks: Ranks
    device: torch.device
    model: GPT
    optimizer: ShardedOptimizer
    loss: Callable[..., Tensor]

    def step(self, step: int, batches: Sequence[Tensor]) -> Tensor:
        """One update. Returns this rank's summed loss without synchronising."""
        windows, tokens = windows_at(step, self.hp), stage_at(step, self.hp).rows * self.hp.length
        weights = torch.stack([torch.full((), w, device=self.device) for w in mtp_weights(step, self.hp)])
        total = torch.zeros((), device=self.device)
        for rows in batches:
            if self.device.type == "cuda":  # copied while the device computes
                rows = rows.pin_memory().to(self.device, non_blocking=True)
            loss = self.loss(rows, weights, windows)
            loss.backward()
            total += loss.detach()
        self.optimizer.step(step, self.hp, tokens)
        return total


def init_distributed(run: Any) -> Ranks:
    """Join the process group."""
    if run.device.type == "cuda":
        torch.cuda.set_device(run.device)
    if run.world_size > 1:
        dist.init_process_group("nccl" if run.device.type == "cuda" else "gloo")
    return Ranks(rank=run.rank, world_size=run.world_size)


def build(hp: Hyperparameters, ranks: Ranks, run: Any) -> Trainer:
    """Model, optimizer and the (compiled) loss."""
    vocab_size = -(-run.vocab_size // hp.vocab_multiple) * hp.vocab_multiple
    document_token = -1 if run.document_token is None else run.document_token
    model = GPT(hp, vocab_size, document_token).to(run.device)
    initialize(model, run.seed)
    on_cuda = run.device.type == "cuda"  # FP8 matrix units came with compute capability 8.9
    model.fp8 = on_cuda and torch.cuda.get_device_capability(run.device) >= (8, 9)
    if run.rank == 0:
        count = sum(parameter.numel() for parameter in model.parameters())
        print(f"{count:,} parameters; head in {'FP8' if model.fp8 else hp.dtype}")
    loss = torch.compile(model.loss, dynamic=False, fullgraph=True) if on_cuda else model.loss
    optimizer = ShardedOptimizer(dict(model.named_parameters()), hp.param_groups, ranks)
    return Trainer(hp=hp, ranks=ranks, device=run.device, model=model, optimizer=optimizer, loss=loss)


def warm_up(trainer: Trainer, stream: Stream) -> None:
    """Run every shape and kind of step once (kernels compile, memory is allocated), then undo it exactly."""
    tensors, hp = trainer.optimizer.tensors(), trainer.hp
    saved = [tensor.clone() for tensor in tensors]
    starts = [0, *(math.ceil(stage.until * hp.steps) for stage in hp.stages[:-1])]
    steps_per_stage = max(2, *(group.every for group in hp.param_groups))
    steps = [step for start in starts for step in range(start, min(start + steps_per_stage, hp.steps))]
    for step, batch in zip(steps, batches(stream, steps, hp, trainer.ranks), strict=True):
        trainer.step(step, batch)
    for shard in trainer.optimizer.shards:
        shard.parameter.grad = None
    for tensor, value in zip(tensors, saved, strict=True):
        tensor.copy_(value)


def shard_weights(model: GPT, vocab_size: int, ranks: Ranks) -> dict[str, Tensor]:
    """This rank's share of the weights: whole tensors, dealt out by size; the vocabulary is not padded."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    weights |= {name: weights[name][:vocab_size] for name in ("embed", "value_embeds", "head")}
    weights["document_token"] = torch.tensor(model.document_token)
    order = sorted(weights, key=lambda name: (-weights[name].numel(), name))
    return {name: weights[name] for name in order[ranks.rank :: ranks.world_size]}


def train(run: Any) -> None:
    """Called by the referee on every rank."""
    hp = GPT2_SMALL if run.device.type == "cuda" else NANO
    ranks = init_distributed(run)
    trainer = build(hp, ranks, run)
    warm_up(trainer, Stream(run.warmup_shards, hp.length, trainer.model.document_token))
    run.reserve(shard_weights(trainer.model, run.vocab_size, ranks))

    stream = Stream(run.go(), hp.length, trainer.model.document_token)
    train_steps(trainer, stream, run)
    run.stop(shard_weights(trainer.model, run.vocab_size, ranks))


def train_steps(trainer: Trainer, stream: Stream, run: Any) -> None:
    """The loop. The mean loss is logged one interval late, so that no step waits for the device."""
    hp, tokens_seen, to_log = trainer.hp, 0, list[tuple[int, int, Tensor]]()
    for step, batch in enumerate(prefetch(batches(stream, range(hp.steps), hp, trainer.ranks)), start=1):
        loss, tokens = trainer.step(step - 1, batch), stage_at(step - 1, hp).rows * hp.length
        tokens_seen += tokens
        if run.practice and step % (hp.steps // 8) == 0:
            run.snapshot(shard_weights(trainer.model, run.vocab_size, trainer.ranks), step=step)
        if step % hp.log_every == 0 or step == hp.steps:
            to_log.append((step, tokens_seen, loss * (run.world_size / tokens)))
        while len(to_log) > (step < hp.steps):
            logged_step, count, mean = to_log.pop(0)
            run.log(step=logged_step, steps=hp.steps, train_loss=mean.item(), tokens=count)


# ----------------------------------------------------------------------------------------------------- load


def load(weights: Mapping[str, Tensor], device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Called by the evaluator: the model as a function from int64 tokens [B, T] to logits [B, T, V]."""
    device = torch.device(device)
    vocab_size, width = weights["embed"].shape
    hp = next(preset for preset in (GPT2_SMALL, NANO) if preset.width == width)
    model = GPT(hp, vocab_size, int(weights["document_token"]))
    model.load_state_dict({name: weights[name] for name, _ in model.named_parameters()}, assign=True)
    return torch.no_grad()(model.to(device).logits)
