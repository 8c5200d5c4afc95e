"""The baseline of this track: a GPT-2 in miniature trained with AdamW, as most people would write it.

Learned positions, LayerNorm, GELU, untied head, gradient clipping, linear warm-up and cosine decay. Every rank holds
the whole model and a share of each batch; gradients are averaged with one all-reduce.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

# model
LENGTH = 256  # tokens a model can look at
WIDTH = 128
HEADS = 4
LAYERS = 4

# training
STEPS = 2500
BATCH = 4  # sequences of LENGTH tokens per step, all ranks together
LEARNING_RATE = 3e-3
FINAL_LEARNING_RATE = 1e-4
WARMUP_STEPS = 100
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
CLIP = 1.0
LOG_EVERY = 10

EVAL_TOKENS, EVAL_BATCH = LENGTH, 32


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        B, T, _ = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, WIDTH))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        self.apply(self.initialize)
        for name, parameter in self.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):  # into the residual stream, twice per block
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS))

    @staticmethod
    def initialize(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, T] -> logits [B, T, V]."""
        positions = torch.arange(tokens.size(1), device=tokens.device)
        x = self.tokens(tokens) + self.positions(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def learning_rate(step: int) -> float:
    """Linear warm-up, then a cosine down to the final rate."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return FINAL_LEARNING_RATE + cosine * (LEARNING_RATE - FINAL_LEARNING_RATE)


def make_optimizer(model: nn.Module) -> torch.optim.AdamW:
    """AdamW; biases, gains and nothing else go without decay."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)


def read_tokens(paths: list[str]) -> np.ndarray:
    """All shards' tokens, uint16: 256 int32 of header, then the tokens."""
    return np.concatenate([np.fromfile(path, dtype="<u2", offset=1024) for path in paths])


def sample(tokens: np.ndarray, rows: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random windows and the same one token later: int64 [rows, LENGTH] each."""
    starts = generator.integers(len(tokens) - LENGTH, size=rows)
    windows = torch.from_numpy(
        np.stack([tokens[start : start + LENGTH + 1] for start in starts]).astype(np.int64)
    )
    return windows[:, :-1], windows[:, 1:]


def average_gradients(model: nn.Module, world_size: int) -> None:
    """Give every rank the mean of all ranks' gradients."""
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def train_step(
    model: GPT, optimizer: torch.optim.AdamW, batch: tuple[Tensor, Tensor], step: int, run: Any
) -> Tensor:
    """One update; returns this rank's loss."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step)
    tokens, targets = (tensor.to(run.device) for tensor in batch)
    with torch.autocast(run.device.type, dtype=torch.bfloat16):
        logits = model(tokens)
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    if run.world_size > 1:
        average_gradients(model, run.world_size)
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.detach()


def train(run: Any) -> None:
    """Called by the referee on every rank."""
    if run.world_size > 1:
        dist.init_process_group("nccl" if run.device.type == "cuda" else "gloo")
    torch.manual_seed(run.seed)  # the same start on all ranks
    model = GPT(run.vocab_size).to(run.device)
    optimizer = make_optimizer(model)
    generator = np.random.default_rng([run.seed, run.rank])
    run.reserve(model.state_dict() if run.rank == 0 else {})

    tokens = read_tokens(run.go())
    for step in range(STEPS):
        batch = sample(tokens, BATCH // run.world_size, generator)
        loss = train_step(model, optimizer, batch, step, run)
        if (step + 1) % LOG_EVERY == 0:
            run.log(step=step + 1, steps=STEPS, train_loss=loss.item(), tokens=(step + 1) * BATCH * LENGTH)
        if run.practice and (step + 1) % 250 == 0:
            run.snapshot(model.state_dict() if run.rank == 0 else {}, step=step + 1)
    run.stop(model.state_dict() if run.rank == 0 else {})


def load(weights: dict[str, Tensor], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Called by the evaluator."""
    model = GPT(vocab_size=weights["tokens.weight"].size(0))
    model.load_state_dict(weights)
    model.to(device).eval()
    return torch.no_grad()(model)
