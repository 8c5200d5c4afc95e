"""A plain transformer, trained with AdamW on one rank: rotary embeddings, RMSNorm, squared ReLU, zero-init projections.

A stand-in: it shows the shape of a script of this comparison.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LENGTH, WIDTH, HEADS, LAYERS = 64, 128, 2, 4
STEPS, BATCH = 600, 16
PEAK_RATE, WARMUP_STEPS, DECAY_SHARE = 4e-3, 30, 0.6
EVAL_TOKENS, EVAL_BATCH = LENGTH, 64


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        for projection in (self.out, self.down):
            nn.init.zeros_(projection.weight)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        B, T, _ = x.shape
        q, k, v = self.qkv(F.rms_norm(x, (WIDTH,))).view(B, T, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        q, k = (rotate(F.rms_norm(y, y.shape[-1:]), rotary) for y in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, WIDTH))
        return x + self.down(F.relu(self.up(F.rms_norm(x, (WIDTH,)))).square())


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """[B, H, T, D] with each pair of its halves turned by an angle that grows with the position (RoFormer)."""
    cos, sin = rotary
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class GPT(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, T] -> logits [B, T, V]."""
        pairs = WIDTH // HEADS // 2
        rates = 1e-3 ** torch.linspace(0, 1, pairs)
        angles = torch.arange(tokens.size(1)).outer(rates)
        rotary, x = (angles.cos(), angles.sin()), self.tokens(tokens)
        for block in self.blocks:
            x = block(x, rotary)
        return 15 * torch.tanh(self.head(F.rms_norm(x, (WIDTH,))) / 15)


def rate(step: int) -> float:
    """Share of the peak rate: a short warm-up, a plateau, then down to nothing in a straight line."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (STEPS - step) / (DECAY_SHARE * STEPS))


def train_steps(model: GPT, tokens: np.ndarray, steps: int, generator: np.random.Generator, run: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate(step)
        starts = generator.integers(len(tokens) - LENGTH, size=BATCH)
        windows = torch.from_numpy(np.stack([tokens[s : s + LENGTH + 1] for s in starts]).astype(np.int64))
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 10 == 0:
            done = (step + 1) * BATCH * LENGTH
            run.log(step=step + 1, steps=steps, train_loss=loss.item(), tokens=done)


def train(run: Any) -> None:
    """Called by the referee on every rank."""
    torch.manual_seed(run.seed)
    model = GPT(run.vocab_size)
    run.reserve(model.state_dict())
    shards = run.go()
    tokens = np.concatenate([np.fromfile(path, dtype="<u2", offset=1024) for path in shards])
    train_steps(model, tokens, STEPS, np.random.default_rng(run.seed), run)
    run.stop(model.state_dict())


def load(weights: dict[str, Tensor], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Called by the evaluator."""
    model = GPT(vocab_size=weights["head.weight"].size(0))
    model.load_state_dict(weights)
    model.to(device).eval()
    return torch.no_grad()(model)
