"""Train a small language model to a target validation loss as fast as possible.

The reigning submission; the whole experiment is this page. One model and one optimizer serve two
presets: `GPT2_SMALL` (CUDA, meant for Hopper GPUs) and `NANO` (two CPU cores). The referee calls `train(run)`
on every rank and, in another process, `load(weights, device)`.

What makes it fast
    Muon           matrices move along the orthogonalised momentum (Jordan 2024); Polar Express iteration
                   (Amsel et al. 2025), row-wise second moment (NorMuon, Li et al. 2025), cautious decay
    attention      rotary on half of each head, QK-norm, windows that grow, no look across documents;
                   FlexAttention on CUDA, plain batched matmul on CPU
    shortcuts      value embeddings, U-net skips, the embedding mixed back into every layer, hashed n-grams
    head           untied, zero-initialised, soft-capped logits (Gemma 2), FP8 matmul on Hopper
    schedules      batch, window, learning rate and momentum are pure functions of the step, in one table
    sharding       every parameter has an fp32 master on one rank only: reduce-scatter, update, all-gather

Where to find it
    hyperparameters - schedules - FP8 matmul - loss - Muon and Adam - attention - model - data - train - load

Shape suffixes: B rows, T tokens, D width, H heads, K head width, V vocabulary, N = B*T.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

ON_CUDA = torch.cuda.is_available()
EVAL_TOKENS, EVAL_BATCH = (16_384, 2) if ON_CUDA else (512, 32)

# ------------------------------------------------------------------------------------------ hyperparameters


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSpec:
    """One layer, described."""

    window: Literal["short", "long"] = "short"
    attention: bool = True
    value_table: int | None = None  # which value embedding is added to this layer's values
    skip_from: int | None = None  # an earlier layer, not the one before, whose output comes in here


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stretch of training."""

    until: float  # fraction of all steps at which it ends
    rows: int  # sequences per step, all ranks together
    short: int  # attention windows, tokens
    long: int
    lr: float  # factor on every learning rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How one group of parameters is updated."""

    names: tuple[str, ...]
    kind: Literal["muon", "adam"]
    lr: float
    beta1: float = 0.8  # adam only; Muon's momentum has a schedule
    beta2: float = 0.95
    eps: float = 1e-10
    weight_decay: float = 0.0  # muon only


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameters:
    width: int
    heads: int
    layers: tuple[LayerSpec, ...]
    value_tables: int
    ngram_rows: tuple[int, ...]  # rows of the hashed embeddings of the last 2, 3, ... tokens
    vocab_multiple: int  # the tables are padded to it, for the matrix units' sake
    softcap: float
    attention_scale: float  # on top of QK-norm
    dtype: torch.dtype  # of activations and weights; the optimizer keeps fp32 masters
    length: int  # tokens per training sequence
    micro_batches: int  # a step's rows are cut into this many; a rank takes its share of them one by one
    steps: int
    stages: tuple[Stage, ...]
    lr_cooldown: float  # last fraction of the steps, over which the rate falls linearly
    lr_floor: float  # to this fraction
    momentum: tuple[float, float]  # Muon: from, to
    momentum_warmup: int  # steps
    momentum_cooldown: int  # steps at the end that go back
    rules: tuple[Rule, ...]
    eval_windows: tuple[int, int]  # short and long, after training
    fp8: bool
    log_every: int  # steps

    @property
    def head_width(self) -> int:
        return self.width // self.heads


GPT2_SMALL = Hyperparameters(
    width=768,
    heads=6,
    layers=(
        LayerSpec(window="long", value_table=0),
        LayerSpec(value_table=1),
        LayerSpec(value_table=2),
        LayerSpec(),
        LayerSpec(window="long"),
        LayerSpec(),
        LayerSpec(),
        LayerSpec(skip_from=4, attention=False),
        LayerSpec(skip_from=3),
        LayerSpec(skip_from=2, value_table=0),
        LayerSpec(skip_from=1, value_table=1),
        LayerSpec(skip_from=0, value_table=2, window="long"),
    ),
    value_tables=3,
    ngram_rows=(131_072,),
    vocab_multiple=128,
    softcap=15.0,
    attention_scale=0.12,
    dtype=torch.bfloat16,
    length=16_384,
    micro_batches=8,
    steps=2_200,
    stages=(
        Stage(until=1 / 3, rows=8, short=128, long=384, lr=1.0),
        Stage(until=2 / 3, rows=16, short=384, long=896, lr=1.52),
        Stage(until=1.0, rows=24, short=640, long=1408, lr=1.73),
    ),
    lr_cooldown=0.55,
    lr_floor=0.1,
    momentum=(0.85, 0.95),
    momentum_warmup=300,
    momentum_cooldown=50,
    rules=(
        Rule(names=("attention", "mlp"), kind="muon", lr=0.023, weight_decay=0.025),
        Rule(names=("head",), kind="adam", lr=0.008, beta1=0.65),
        Rule(names=("embed", "values"), kind="adam", lr=0.6, beta1=0.65),
        Rule(names=("ngram2",), kind="adam", lr=0.06, beta1=0.65),
        Rule(names=("mix",), kind="adam", lr=0.04),
    ),
    eval_windows=(768, 1664),
    fp8=True,
    log_every=10,
)

NANO = Hyperparameters(
    width=128,
    heads=1,
    layers=(
        LayerSpec(window="long", value_table=0),
        LayerSpec(window="long", value_table=0),
    ),
    value_tables=1,
    ngram_rows=(8_192,),
    vocab_multiple=16,
    softcap=15.0,
    attention_scale=0.12,
    dtype=torch.bfloat16,
    length=128,
    micro_batches=1,
    steps=64,
    stages=(Stage(until=1.0, rows=16, short=64, long=128, lr=1.0),),
    lr_cooldown=1.0,
    lr_floor=0.05,
    momentum=(0.8, 0.9),
    momentum_warmup=30,
    momentum_cooldown=0,
    rules=(
        Rule(names=("attention", "mlp"), kind="muon", lr=0.03, weight_decay=0.02),
        Rule(names=("head",), kind="adam", lr=0.04),
        Rule(names=("embed", "values"), kind="adam", lr=0.8),
        Rule(names=("ngram2",), kind="adam", lr=0.4),
        Rule(names=("mix",), kind="adam", lr=0.12),
    ),
    eval_windows=(64, 256),
    fp8=False,
    log_every=10,
)

# ------------------------------------------------------------------------------------------------ schedules


def stage_at(step: int, hp: Hyperparameters) -> Stage:
    """The stretch of training that `step` (counted from 0) belongs to."""
    return next(stage for stage in hp.stages if step < stage.until * hp.steps)


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


def first_row(step: int, hp: Hyperparameters) -> int:
    """How many rows the steps before `step` have consumed."""
    total = start = 0
    for stage in hp.stages:
        end = min(step, math.ceil(stage.until * hp.steps))
        total += stage.rows * (end - start)
        start = end
    return total


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
        grad_w = scaled_mm(g8.T.contiguous(), x8.T.contiguous().T, g_scale, x_scale, torch.float32, False).to(
            torch.bfloat16
        )
        return grad_x, grad_w


def fp8_works(device: torch.device) -> bool:
    """FP8 matrix units came with compute capability 8.9."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


# ----------------------------------------------------------------------------------------------------- loss


class SoftCappedCrossEntropy(torch.autograd.Function):
    """Sum over N of the cross-entropy of `cap * tanh(z / cap)`: z [N, V], targets int64 [N] -> fp32 scalar.

    The gradient is made in the forward pass, where the probabilities are at hand, and kept instead of them.
    """

    @staticmethod
    def forward(ctx: Any, z_NV: Tensor, targets_N: Tensor, cap: float) -> Tensor:
        tanh = torch.tanh(z_NV.float() / cap)
        logp = torch.log_softmax(cap * tanh, dim=-1)
        hit = targets_N[:, None] == torch.arange(z_NV.size(1), device=z_NV.device)
        ctx.save_for_backward(((logp.exp() - hit.float()) * (1 - tanh * tanh)).to(z_NV.dtype))
        return -logp.gather(1, targets_N[:, None]).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * grad.to(ctx.saved_tensors[0].dtype), None, None


# -------------------------------------------------------------------------------------------- Muon and Adam

# Polar Express (arXiv 2505.16932): best odd quintics for singular values in [1e-3, 1], 5 rounds, safety 1.02.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


State = dict[str, Tensor]  # an optimizer's memory of one parameter


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


def muon_direction(grad: Tensor, state: State, momentum: float, rule: Rule, dtype: torch.dtype) -> Tensor:
    """NorMuon: orthogonalised Nesterov momentum of grad [n, rows, columns], rows evened out, norm kept."""
    state["momentum"].lerp_(grad, 1 - momentum)
    update = orthogonalize(grad.lerp(state["momentum"], momentum).to(dtype)).float()
    norm = torch.linalg.matrix_norm(update, keepdim=True)
    state["second"].lerp_(update.square().mean(-1, keepdim=True), 1 - rule.beta2)
    update = update * state["second"].clamp_min(1e-10).rsqrt()
    update = update * (norm / torch.linalg.matrix_norm(update, keepdim=True).clamp_min(1e-10))
    return update * max(1.0, grad.size(-2) / grad.size(-1)) ** 0.5


def muon_update(weight: Tensor, direction: Tensor, lr: float, weight_decay: float) -> None:
    """One step, with cautious decay (arXiv 2411.16085): only where the step shrinks the weight anyway."""
    weight.addcmul_(weight, (direction * weight > 0).to(weight.dtype), value=-lr * weight_decay)
    weight.add_(direction, alpha=-lr)


def adam_update(weight: Tensor, grad: Tensor, state: State, step: int, lr: float, rule: Rule) -> None:
    """Adam without weight decay; `step` counts from 0."""
    first = state["first"].lerp_(grad, 1 - rule.beta1)
    second = state["second"].mul_(rule.beta2).addcmul_(grad, grad, value=1 - rule.beta2)
    deviation = second.sqrt().mul_((1 - rule.beta2 ** (step + 1)) ** -0.5).add_(rule.eps)
    weight.addcdiv_(first, deviation, value=-lr / (1 - rule.beta1 ** (step + 1)))


# Both have new names since torch 2.13.
reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among all of them."""

    rank: int
    world: int


class Shard:
    """One parameter: this rank's fp32 slice along dim 0, its optimizer state, the way to the others."""

    def __init__(self, name: str, parameter: nn.Parameter, rule: Rule, ranks: Ranks) -> None:
        self.name, self.parameter, self.rule, self.ranks = name, parameter, rule, ranks
        self.rows = -(-parameter.size(0) // ranks.world)
        padded = (self.rows * ranks.world, *parameter.shape[1:])
        self.whole = torch.zeros(padded, dtype=parameter.dtype, device=parameter.device)
        self.whole[: parameter.size(0)].copy_(parameter.detach())
        self.part = torch.empty_like(self.whole[: self.rows])
        self.master = self.whole[ranks.rank * self.rows :][: self.rows].to(torch.float32, copy=True)
        first, second = ("momentum", "second") if rule.kind == "muon" else ("first", "second")
        second_like = self.master[..., :1] if rule.kind == "muon" else self.master
        self.state = {first: torch.zeros_like(self.master), second: torch.zeros_like(second_like)}
        self.pending: Any = None

    def reduce(self) -> None:
        """Start summing the gradient over the ranks; each gets its slice."""
        grad = self.parameter.grad
        assert grad is not None, f"{self.name} has no gradient"
        if self.ranks.world == 1:
            self.part = grad
            return
        if grad.shape != self.whole.shape:
            self.whole[: grad.size(0)].copy_(grad)
            grad = self.whole
        self.pending = reduce_scatter(self.part, grad, async_op=True)

    def update(self, step: int, lr: float, momentum: float, tokens: int) -> None:
        """Move this rank's slice; `tokens` turns the gradient of the summed loss into that of the mean."""
        self.wait()
        grad, lr = self.part.float() / tokens, lr * self.rule.lr
        if self.rule.kind == "muon":
            direction = muon_direction(grad, self.state, momentum, self.rule, self.parameter.dtype)
            muon_update(self.master, direction, lr, self.rule.weight_decay)
        else:
            adam_update(self.master, grad, self.state, step, lr, self.rule)

    def gather(self) -> None:
        """Start collecting everybody's new slice."""
        if self.ranks.world == 1:
            self.whole.copy_(self.master)
            return
        self.part.copy_(self.master)
        self.pending = all_gather(self.whole, self.part, async_op=True)

    def finish(self) -> None:
        """Put the new values into the parameter and forget the gradient."""
        self.wait()
        self.parameter.detach().copy_(self.whole[: self.parameter.size(0)])
        self.parameter.grad = None

    def tensors(self) -> list[Tensor]:
        return [self.parameter.detach(), self.master, *self.state.values()]

    def wait(self) -> None:
        if self.pending is not None:
            self.pending.wait()
            self.pending = None


class ShardedOptimizer:
    """All parameters in the order of the rules: matrices first, so that Muon's work hides transfers."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], rules: Sequence[Rule], ranks: Ranks) -> None:
        named = [(name, rule) for rule in rules for name in rule.names]
        names = sorted(name for name, _ in named)
        assert names == sorted(parameters), "every parameter needs exactly one rule"
        self.shards = [Shard(name, parameters[name], rule, ranks) for name, rule in named]

    @torch.no_grad()
    def step(self, step: int, hp: Hyperparameters, tokens: int) -> None:
        """Apply the summed gradients of `tokens` tokens."""
        lr, momentum = lr_factor(step, hp), muon_momentum(step, hp)
        for shard in self.shards:
            shard.reduce()
        for shard in self.shards:
            shard.update(step, lr, momentum, tokens)
            shard.gather()
        for shard in self.shards:
            shard.finish()

    def tensors(self) -> list[Tensor]:
        """All state, to be saved and restored around the warm-up."""
        return [tensor for shard in self.shards for tensor in shard.tensors()]


# ------------------------------------------------------------------------------------------------ attention
#
# A token sees itself and earlier tokens of its own document, less than `window` away.

BLOCK = 128  # FlexAttention decides about whole blocks of this many tokens first


def document_ids(tokens_BT: Tensor, document_token: int) -> Tensor:
    """Number of documents begun so far in each row; every document starts with `document_token`."""
    return (tokens_BT == document_token).cumsum(1, dtype=torch.int32)


def dense_mask(docs_BT: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """0 where a token may look, -inf elsewhere: [B, 1, T, T]."""
    position = torch.arange(docs_BT.size(1), device=docs_BT.device)
    distance = position[:, None] - position[None, :]
    visible = (distance >= 0) & (distance < window) & (docs_BT[:, :, None] == docs_BT[:, None, :])
    return torch.zeros((), dtype=dtype).masked_fill(~visible, float("-inf"))[:, None]


def block_mask(docs_BT: Tensor, window: Tensor) -> BlockMask:
    """The same for FlexAttention, per block; `window` is a tensor so that its growth recompiles nothing.

    Document numbers never fall along a row, so the first and the last of a block bound all of them.
    """
    blocks = docs_BT.unflatten(1, (-1, BLOCK))
    low, high = blocks[..., 0], blocks[..., -1]
    index = torch.arange(blocks.size(1), device=docs_BT.device)
    distance = (index[:, None] - index[None, :]) * BLOCK  # between the same places of two blocks
    some = (distance >= 0) & (distance - BLOCK + 1 < window) & (high[:, None, :] >= low[:, :, None])
    every = (distance > 0) & (distance + BLOCK - 1 < window) & (low[:, None, :] == high[:, :, None])

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (q - k < window) & (docs_BT[b, q] == docs_BT[b, k])

    def ordered(mask: Tensor) -> tuple[Tensor, Tensor]:
        first = mask.int().argsort(dim=-1, descending=True, stable=True)
        return mask.sum(-1, dtype=torch.int32)[:, None].contiguous(), first.int()[:, None].contiguous()

    partly, wholly = ordered(some & ~every), ordered(every)
    return BlockMask.from_kv_blocks(*partly, *wholly, BLOCK_SIZE=BLOCK, mask_mod=visible)


def attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, mask: Any) -> Tensor:
    """softmax(q k^T + mask) v. A plain mask means plain matmuls: on CPU nothing beats them here."""
    if isinstance(mask, Tensor):
        return torch.softmax(q_BHTK @ k_BHTK.mT + mask, dim=-1) @ v_BHTK
    return flex_attention(q_BHTK, k_BHTK, v_BHTK, block_mask=mask, scale=1.0)


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
        along = (grad * y).mean(-1, keepdim=True) / ctx.gain**2
        return torch.addcmul(grad, y, along, value=-1) * scale, None


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


Rotation = tuple[Tensor, Tensor]  # cos and sin, [T, 1, K/4]


def rotary_tables(length: int, head_width: int, device: torch.device, dtype: torch.dtype) -> Rotation:
    """Frequencies from 1 down to 1/1024 radians per token, for half of a head."""
    frequencies = (1 / 1024) ** torch.linspace(0, 1, head_width // 4, device=device)
    angles = torch.arange(length, device=device)[:, None, None] * frequencies
    return angles.cos().to(dtype), angles.sin().to(dtype)


class Rotary(torch.autograd.Function):
    """Rotary position on the first half of each head; the second half knows no position."""

    @staticmethod
    def forward(ctx: Any, x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x_BTHK, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(grad, cos, -sin), None, None


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first quarter of each head against the second; the inverse is the negative angle."""
    quarter = x_BTHK.size(-1) // 4
    a, b, still = x_BTHK.split((quarter, quarter, 2 * quarter), dim=-1)
    return torch.cat((torch.addcmul(a * cos, b, sin), torch.addcmul(b * cos, a, -sin), still), dim=-1)


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
        along = torch.stack([(grad * stream).sum(dtype=torch.float32) for stream in (x, y)])
        a, b = weights.to(grad.dtype).unbind(0)
        return along, grad * a, grad * b


def ngram_index(tokens_BT: Tensor, order: int, rows: int) -> Tensor:
    """A hash of the last `order` tokens into `rows` buckets; before the row's start there is token 0."""
    index = tokens_BT
    for back in range(1, order):
        index = (index * 36_313) ^ (F.pad(tokens_BT[:, :-back], (back, 0)) * 27_191)
    return index % rows


class GPT(nn.Module):
    """The model. Matrices of one shape live in one bank [n, rows, columns]: one update moves them all."""

    def __init__(self, hp: Hyperparameters, vocab_size: int, document_token: int) -> None:
        super().__init__()
        D, attentions = hp.width, sum(spec.attention for spec in hp.layers)
        self.hp, self.document_token = hp, document_token
        self.embed = nn.Parameter(torch.empty(vocab_size, D, dtype=hp.dtype))
        self.values = nn.Parameter(torch.empty(vocab_size, hp.value_tables, D, dtype=hp.dtype))
        for order, rows in enumerate(hp.ngram_rows, start=2):
            self.register_parameter(f"ngram{order}", nn.Parameter(torch.empty(rows, D, dtype=hp.dtype)))
        self.attention = nn.Parameter(torch.empty(attentions * 4, D, D, dtype=hp.dtype))  # q, k, v, out
        self.mlp = nn.Parameter(torch.empty(len(hp.layers) * 2, 4 * D, D, dtype=hp.dtype))  # up, down
        self.mix = nn.Parameter(torch.empty(len(hp.layers), 5))  # value; stream, x0; stream, skip
        self.head = nn.Parameter(torch.empty(vocab_size, D, dtype=hp.dtype))

    def embedding(self, tokens_BT: Tensor) -> Tensor:
        """Token and n-gram embeddings, normalised: [B, T, D]."""
        x = F.embedding(tokens_BT, self.embed)
        for order, rows in enumerate(self.hp.ngram_rows, start=2):
            x = x + F.embedding(ngram_index(tokens_BT, order, rows), self.get_parameter(f"ngram{order}"))
        return norm(x)

    def layer_weights(self) -> Iterator[tuple[LayerSpec, Tensor | None, Tensor, Tensor]]:
        """Each layer's spec, attention [4, D, D] or None, mlp [2, 4D, D] and mixing numbers [5]."""
        attention = iter(self.attention.unflatten(0, (-1, 4)).unbind(0))
        mlps = self.mlp.unflatten(0, (-1, 2)).unbind(0)
        for spec, mlp, mix in zip(self.hp.layers, mlps, self.mix.unbind(0), strict=True):
            yield spec, next(attention) if spec.attention else None, mlp, mix

    def attention_layer(
        self,
        x_BTD: Tensor,
        weights: Tensor,
        value_BTD: Tensor | None,
        mask: Any,
        rotary: Rotation,
    ) -> Tensor:
        B, T, D = x_BTD.shape
        H, K = self.hp.heads, self.hp.head_width
        qkv, out = weights.split((3, 1))
        qk, v = F.linear(x_BTD, qkv.flatten(0, 1)).view(B, T, 3 * H, K).split((2 * H, H), dim=2)
        q, k = Rotary.apply(norm(qk, self.hp.attention_scale**0.5), *rotary).transpose(1, 2).split(H, dim=1)
        if value_BTD is not None:
            v = v + value_BTD.view(B, T, H, K)
        v = v.transpose(1, 2).contiguous()  # as a strided view, torch 2.13 miscompiles FlexAttention on CPU
        y_BHTK = attend(q, k, v, mask)
        return F.linear(y_BHTK.transpose(1, 2).reshape(B, T, D), out[0])

    def forward(self, tokens_BT: Tensor, masks: Mapping[str, Any]) -> Tensor:
        """tokens int64 [B, T] -> normalised output [B, T, D]; `masks` has one for each kind of window."""
        hp, dtype = self.hp, self.hp.dtype
        rotary = rotary_tables(tokens_BT.size(1), hp.head_width, tokens_BT.device, dtype)
        values = F.embedding(tokens_BT, self.values.flatten(1)).unflatten(2, (-1, hp.width)).unbind(2)
        x = x0 = self.embedding(tokens_BT)
        outputs: list[Tensor] = []
        for spec, attention, (up, down), mix in self.layer_weights():
            value, again, skip = mix.split((1, 2, 2))
            if outputs:
                x = Blend.apply(again, x, x0)
            if spec.skip_from is not None:
                x = Blend.apply(skip, x, outputs[spec.skip_from])
            if attention is not None:
                table = None if spec.value_table is None else value.to(dtype) * values[spec.value_table]
                x = x + self.attention_layer(norm(x), attention, table, masks[spec.window], rotary)
            x = x + SquaredRelu.apply(F.linear(norm(x), up)) @ down
            outputs.append(x)
        return norm(x)

    def masks(self, tokens_BT: Tensor, short: Any, long: Any) -> dict[str, Any]:
        """Windows in tokens: integers make plain masks, tensors make FlexAttention's."""
        docs = document_ids(tokens_BT, self.document_token)
        if isinstance(short, Tensor):
            return {"short": block_mask(docs, short), "long": block_mask(docs, long)}
        return {
            "short": dense_mask(docs, short, self.hp.dtype),
            "long": dense_mask(docs, long, self.hp.dtype),
        }

    def loss(self, rows: Tensor, short: Any, long: Any, fp8: bool) -> Tensor:
        """rows int [B, T+1] -> summed loss, fp32; every token but the first is a target."""
        tokens, targets = rows[:, :-1].long(), rows[:, 1:].long()
        x = self(tokens, self.masks(tokens, short, long)).flatten(0, 1)
        z = Fp8Linear.apply(x, self.head) if fp8 else F.linear(x, self.head)
        return SoftCappedCrossEntropy.apply(z, targets.flatten(), self.hp.softcap)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Soft-capped logits [B, T, V] with the windows for evaluation."""
        short, long = windows_on(tokens_BT.device, *self.hp.eval_windows)
        z = F.linear(self(tokens_BT, self.masks(tokens_BT, short, long)), self.head)
        return self.hp.softcap * torch.tanh(z.float() / self.hp.softcap)


def windows_on(device: torch.device, *windows: int) -> list[Any]:
    """Windows as the device's masks want them."""
    if device.type == "cpu":
        return list(windows)
    return [torch.full((), window, dtype=torch.int32, device=device) for window in windows]


@torch.no_grad()
def initialize(model: GPT, seed: int) -> None:
    """Set every tensor. Projections into the residual stream, n-grams and the head start at zero."""
    generator = torch.Generator(device=model.embed.device).manual_seed(seed)
    bound = 3**0.5 * 0.5 * model.hp.width**-0.5  # uniform with half the usual deviation
    for name, p in model.named_parameters():
        match name:
            case "embed" | "values":
                p.normal_(generator=generator)
            case "attention":
                p.uniform_(-bound, bound, generator=generator)
                p[3::4].zero_()
            case "mlp":
                p.uniform_(-bound, bound, generator=generator)
                p[1::2].zero_()
            case "mix":
                p.copy_(torch.tensor([0.5, 1.0, 0.1, 1.0, 0.2]).expand_as(p))
            case "head" | "ngram2" | "ngram3":
                p.zero_()
            case _:
                raise ValueError(f"initialize knows no tensor called {name}")


# ----------------------------------------------------------------------------------------------------- data
#
# A shard is 256 little-endian int32 (magic, version, number of tokens) and then uint16 tokens.

SHARD_MAGIC, SHARD_VERSION, HEADER_BYTES = 20240520, 1, 1024


def open_shard(path: str) -> np.ndarray:
    """Map a shard's tokens, uint16."""
    header = np.fromfile(path, dtype="<i4", count=3)
    assert header[0] == SHARD_MAGIC and header[1] == SHARD_VERSION, f"{path} is not a token shard"
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(int(header[2]),))


class Stream:
    """All shards as one endless stream, cut into rows of `length` + 1 tokens that overlap by one."""

    def __init__(self, paths: Sequence[str], length: int) -> None:
        self.shards = [open_shard(str(path)) for path in paths]
        self.starts = np.cumsum([0, *map(len, self.shards)])
        self.length = length

    def row(self, index: int) -> np.ndarray:
        """uint16 [length + 1]; after the last token comes the first again."""
        pieces, missing, at = [], self.length + 1, index * self.length % int(self.starts[-1])
        while missing:
            shard = int(np.searchsorted(self.starts, at, side="right")) - 1
            offset = at - int(self.starts[shard])
            pieces.append(self.shards[shard][offset : offset + missing])
            missing -= len(pieces[-1])
            at = (at + len(pieces[-1])) % int(self.starts[-1])
        return np.concatenate(pieces)

    def rows(self, indices: Sequence[int], device: torch.device) -> Tensor:
        """int32 [len(indices), length + 1] on the device, copied while the device computes."""
        batch = torch.from_numpy(np.stack([self.row(index) for index in indices]).astype(np.int32))
        return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch


def micro_batches(step: int, hp: Hyperparameters, ranks: Ranks) -> list[range]:
    """Row numbers of this rank's micro-batches. All ranks' together are the same whatever their number."""
    start, rows = first_row(step, hp), stage_at(step, hp).rows
    pieces = max(hp.micro_batches, ranks.world)
    assert rows % pieces == 0 and pieces % ranks.world == 0, "rows must divide evenly among the ranks"
    size = rows // pieces
    return [range(start + i * size, start + (i + 1) * size) for i in range(ranks.rank, pieces, ranks.world)]


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

    def step(self, step: int, stream: Stream) -> Tensor:
        """One update. Returns this rank's summed loss, not yet waited for."""
        stage = stage_at(step, self.hp)
        short, long = windows_on(self.device, stage.short, stage.long)
        total = torch.zeros((), device=self.device)
        for indices in micro_batches(step, self.hp, self.ranks):
            loss = self.loss(stream.rows(indices, self.device), short, long)
            loss.backward()
            total += loss.detach()
        self.optimizer.step(step, self.hp, tokens=stage.rows * self.hp.length)
        return total


def join_ranks(run: Any) -> Ranks:
    """Meet the other processes."""
    if run.device.type == "cuda":
        torch.cuda.set_device(run.device)
    if run.world_size > 1:
        on_cuda = run.device.type == "cuda"
        dist.init_process_group("nccl" if on_cuda else "gloo", device_id=run.device if on_cuda else None)
    return Ranks(rank=run.rank, world=run.world_size)


def build(hp: Hyperparameters, ranks: Ranks, run: Any) -> Trainer:
    """Model, optimizer and the (compiled) loss."""
    vocab_size = -(-run.vocab_size // hp.vocab_multiple) * hp.vocab_multiple
    document_token = -1 if run.document_token is None else run.document_token
    model = GPT(hp, vocab_size, document_token).to(run.device)
    initialize(model, run.seed)
    fp8 = hp.fp8 and fp8_works(run.device)
    if run.rank == 0:
        count = sum(parameter.numel() for parameter in model.parameters())
        print(f"{count:,} parameters; head in {'FP8' if fp8 else hp.dtype}")
    on_cuda = run.device.type == "cuda"
    loss = torch.compile(model.loss, dynamic=False, fullgraph=True) if on_cuda else model.loss
    optimizer = ShardedOptimizer(dict(model.named_parameters()), hp.rules, ranks)

    def loss_of(rows: Tensor, short: Any, long: Any) -> Tensor:
        return loss(rows, short, long, fp8)

    return Trainer(hp=hp, ranks=ranks, device=run.device, model=model, optimizer=optimizer, loss=loss_of)


def warm_up(trainer: Trainer, shards: Sequence[str]) -> None:
    """Run every shape once (kernels compile, memory is taken), then put all numbers back exactly."""
    tensors = trainer.optimizer.tensors()
    saved = [tensor.clone() for tensor in tensors]
    stream = Stream(shards, trainer.hp.length)
    starts = [0, *(math.ceil(stage.until * trainer.hp.steps) for stage in trainer.hp.stages[:-1])]
    for step in starts * 2:
        trainer.step(step, stream)
    for tensor, value in zip(tensors, saved, strict=True):
        tensor.copy_(value)


def hand_over(model: GPT, vocab_size: int, ranks: Ranks) -> dict[str, Tensor]:
    """This rank's share of the weights: whole tensors, the largest dealt out first; padding stays behind."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    weights |= {name: weights[name][:vocab_size] for name in ("embed", "values", "head")}
    weights["document_token"] = torch.tensor(model.document_token)
    order = sorted(weights, key=lambda name: (-weights[name].numel(), name))
    return {name: weights[name] for name in order[ranks.rank :: ranks.world]}


def train(run: Any) -> None:
    """Called by the referee on every rank."""
    hp = GPT2_SMALL if run.device.type == "cuda" else NANO
    ranks = join_ranks(run)
    trainer = build(hp, ranks, run)
    warm_up(trainer, run.warmup_shards)
    run.reserve(hand_over(trainer.model, run.vocab_size, ranks))

    stream = Stream(run.go(), hp.length)
    train_steps(trainer, stream, run)
    run.stop(hand_over(trainer.model, run.vocab_size, ranks))


def train_steps(trainer: Trainer, stream: Stream, run: Any) -> None:
    """The loop. A loss is shown one interval late, so that showing it never waits for the device."""
    hp, shown = trainer.hp, None
    for step in range(hp.steps):
        loss = trainer.step(step, stream)
        if run.practice and (step + 1) % (hp.steps // 8) == 0:
            run.snapshot(hand_over(trainer.model, run.vocab_size, trainer.ranks), step=step + 1)
        if (step + 1) % hp.log_every == 0:
            if shown is not None:
                report(run, hp, *shown)
            shown = (step, loss)
    report(run, hp, step, loss)


def report(run: Any, hp: Hyperparameters, step: int, loss: Tensor) -> None:
    """Progress for the eye: this rank's mean loss of one step."""
    rows = stage_at(step, hp).rows
    run.log(
        step=step + 1,
        steps=hp.steps,
        train_loss=loss.item() * run.world_size / (rows * hp.length),
        tokens=first_row(step + 1, hp) * hp.length,
    )


# ----------------------------------------------------------------------------------------------------- load


def load(weights: Mapping[str, Tensor], device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Called by the evaluator: the model as a function from int64 tokens [B, T] to logits [B, T, V]."""
    device = torch.device(device)
    vocab_size, width = weights["embed"].shape
    hp = next(preset for preset in (GPT2_SMALL, NANO) if preset.width == width)
    model = GPT(hp, vocab_size, int(weights["document_token"]))
    model.load_state_dict({name: weights[name] for name, _ in model.named_parameters()}, assign=True)
    model.to(device)
    on_cuda = device.type == "cuda"  # where FlexAttention, uncompiled, would build whole score matrices
    logits = torch.compile(model.logits, dynamic=False) if on_cuda else model.logits

    @torch.no_grad()
    def logits_fn(tokens_BT: Tensor) -> Tensor:
        T = tokens_BT.size(1)
        padding = -T % BLOCK if on_cuda else 0  # after the tokens, so nothing looks at it
        return logits(F.pad(tokens_BT, (0, padding)))[:, :T]

    return logits_fn
