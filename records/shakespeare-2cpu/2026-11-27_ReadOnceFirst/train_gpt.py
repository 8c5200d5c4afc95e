"""Tiny Shakespeare to 1.50 on two CPU cores: n-grams, one layer, short rows, and the text read once.

Beside its embedding every character brings those of the last 2, 3, ... characters, looked up in tables by
hash (modded-nanogpt's bigram embedding, with longer reach). What counting knows is there from the first
steps; one layer that looks 64 characters back does the rest. A step touches a few thousand rows of the
tables, and only those move: Adagrad (Duchi et al. 2011) with one accumulator per row.

A step goes along the orthogonalised momentum of a matrix (Jordan 2024; Polar Express, arXiv 2505.16932; rows
evened out as in NorMuon, arXiv 2510.05491), so that weak directions move as far as strong ones. Embedding,
head and mixing numbers stay with Adam, each with a rate of its own.

Rotary positions, QK-norm, ReLU^2, zero-initialised projections into the stream, soft-capped logits; bf16
activations over fp32 weights, compiled before the clock starts. Every rank holds the whole model and a share
of each batch. Evaluation slides a window over long rows, so that hardly a character lacks its context.

Shape suffixes: B rows, T characters, D width, H heads, K head width, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

# model
WIDTH = 128
HEADS = 4
LAYERS = 1
TABLES = {2: 8_192, 3: 65_536, 4: 131_072, 5: 131_072, 6: 131_072}  # order -> rows, 2^k
REACH = max(TABLES) - 1  # characters before a row that its first n-grams need
CAP = 15.0  # of the logits
DTYPE = torch.bfloat16  # of activations; weights and optimizers are fp32

# training
STEPS = 225
LENGTH = 64  # characters in a row
BATCH = 64  # rows per step, all ranks together
MATRIX_RATE = 0.02  # Muon
EMBED_RATE, HEAD_RATE, MIX_RATE = 0.1, 0.014, 0.02  # Adam
TABLE_RATE = 0.2  # Adagrad
COOLDOWN = 1.0  # last fraction of the steps, over which all rates fall linearly to zero
MOMENTUM = 0.95
BETAS = (0.8, 0.95)
LOG_EVERY = 10

EVAL_TOKENS, EVAL_BATCH = 1024, 8
EVAL_WINDOW = 64  # characters a character looks back at, itself among them

# ---------------------------------------------------------------------------------------------------- model


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.size(-1),))


def rotary_tables() -> tuple[Tensor, Tensor]:
    """Cosine and sine [T, 1, K/4], from 1 to 1/1024 radians per character, for half of each head."""
    frequencies = (1 / 1024) ** torch.linspace(0, 1, WIDTH // HEADS // 4)
    angles = torch.arange(max(LENGTH, EVAL_TOKENS))[:, None, None] * frequencies
    return angles.cos().to(DTYPE), angles.sin().to(DTYPE)


def rotate(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first quarter of each head against the second; the other half knows no position."""
    quarter = x_BTHK.size(-1) // 4
    a, b, still = x_BTHK.split((quarter, quarter, 2 * quarter), dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin, still), dim=-1)


def uniform(*shape: int) -> nn.Parameter:
    """Half the usual deviation: what comes in is normalised."""
    bound = 0.5 * math.sqrt(3 / shape[-1])
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class GPT(nn.Module):
    """The transformer; the matrices of all layers lie in one tensor each."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(vocab_size, WIDTH))
        self.qkv = uniform(LAYERS, 3 * WIDTH, WIDTH)
        self.out = nn.Parameter(torch.zeros(LAYERS, WIDTH, WIDTH))
        self.up = uniform(LAYERS, 4 * WIDTH, WIDTH)
        self.down = nn.Parameter(torch.zeros(LAYERS, WIDTH, 4 * WIDTH))
        self.mix = nn.Parameter(torch.tensor([[1.0, 0.1]] * LAYERS))  # the stream, the embedding again
        self.head = nn.Parameter(torch.zeros(vocab_size, WIDTH))
        self.cos, self.sin = rotary_tables()

    def forward(self, tokens_BT: Tensor, grams_BTD: Tensor) -> Tensor:
        """Characters int64 [B, T] and the sum of their n-grams' embeddings -> logits fp32 [B, T, V]."""
        mask = window_mask(tokens_BT.size(1))
        x = x0 = norm(F.embedding(tokens_BT, self.embed).to(DTYPE) + grams_BTD)
        matrices = (p.to(DTYPE) for p in (self.mix, self.qkv, self.out, self.up, self.down))
        for mix, qkv, out, up, down in zip(*matrices, strict=True):
            x = mix[0] * x + mix[1] * x0
            x = x + F.linear(self.attend(F.linear(norm(x), qkv), mask), out)
            x = x + F.linear(F.linear(norm(x), up).relu().square(), down)
        z = F.linear(norm(x), self.head.to(DTYPE)).float()
        return CAP * torch.tanh(z / CAP)

    def attend(self, qkv_BTE: Tensor, mask: Tensor) -> Tensor:
        """[B, T, 3D] -> [B, T, D]. Plain products: on a CPU the library's kernel is slower at this length."""
        B, T, _ = qkv_BTE.shape
        q, k, v = qkv_BTE.view(B, T, 3, HEADS, WIDTH // HEADS).unbind(2)
        q, k = (rotate(norm(x), self.cos[:T], self.sin[:T]) for x in (q, k))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        y = torch.softmax(0.48 * (q @ k.mT) + mask, dim=-1) @ v
        return y.transpose(1, 2).reshape(B, T, WIDTH)


def window_mask(length: int) -> Tensor:
    """0 where a character may look, -inf elsewhere [T, T]: training rows are no longer than the window."""
    position = torch.arange(length)
    distance = position[:, None] - position[None, :]
    visible = (distance >= 0) & (distance < EVAL_WINDOW)
    return torch.zeros((), dtype=DTYPE).masked_fill(~visible, float("-inf"))


def mean_loss(model: GPT, tokens_BT: Tensor, grams_BTD: Tensor, targets_BT: Tensor) -> Tensor:
    """Cross-entropy, nats per character."""
    return F.cross_entropy(model(tokens_BT, grams_BTD).flatten(0, 1), targets_BT.flatten())


# -------------------------------------------------------------------------------------------------- n-grams


def ngram_rows(tokens_BT: Tensor, vocab_size: int) -> list[Tensor]:
    """Which row of each table a character has, int64 [B, T - REACH]; the first REACH are only looked back at.

    An n-gram read as a number, times 2^64 over the golden ratio: upper bits of the product are the row.
    """
    length, found = tokens_BT.size(1) - REACH, []
    key = tokens_BT[:, REACH:]
    for back in range(1, max(TABLES)):
        key = key + tokens_BT[:, REACH - back :][:, :length] * vocab_size**back
        if rows := TABLES.get(back + 1):
            found.append((key * -7046029254386353131 >> 40) & (rows - 1))
    return found


class Ngrams:
    """The tables, fp32 [rows, D], and how far each row has been moved."""

    def __init__(self) -> None:
        self.tables = [torch.zeros(rows, WIDTH) for rows in TABLES.values()]
        self.sums = [torch.full((rows, 1), 1e-10) for rows in TABLES.values()]

    def look_up(self, rows: list[Tensor]) -> Tensor:
        """Row numbers [B, T] of each table -> the sum of their rows [B, T, D]."""
        found = F.embedding(rows[0], self.tables[0])
        for index, table in zip(rows[1:], self.tables[1:], strict=True):
            found += F.embedding(index, table)
        return found.to(DTYPE)

    def step(self, rows: list[Tensor], grad_BTD: Tensor, rate: float) -> None:
        """Adagrad on the rows that were looked up; who occurs twice moves twice."""
        grad_ND = grad_BTD.flatten(0, 1).float()
        square_N1 = grad_ND.square().mean(-1, keepdim=True)
        for index, table, total in zip((r.flatten() for r in rows), self.tables, self.sums, strict=True):
            total.index_add_(0, index, square_N1)
            table.index_add_(0, index, grad_ND * total[index].rsqrt(), alpha=-rate)


# ----------------------------------------------------------------------------------------------------- Muon

# Best odd quintics for singular values in [1e-3, 1], five rounds, safety 1.02.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalize(g: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrix to each of g [n, rows, columns]: singular values become about 1."""
    tall = g.size(-2) > g.size(-1)
    x = g.mT if tall else g
    x = x / (1.02 * torch.linalg.matrix_norm(x.float(), keepdim=True) + 1e-6).to(x.dtype)
    for a, b, c in POLAR_EXPRESS:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon:
    """Moves stacks of matrices [n, rows, columns]."""

    def __init__(self, stacks: list[Tensor]) -> None:
        self.stacks = stacks
        self.momenta = [torch.zeros_like(stack) for stack in stacks]
        self.seconds = [torch.zeros_like(stack[..., :1]) for stack in stacks]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for stack, momentum, second in zip(self.stacks, self.momenta, self.seconds, strict=True):
            stack.sub_(self.direction(stack.grad, momentum, second), alpha=rate)

    @staticmethod
    def direction(grad: Tensor, momentum: Tensor, second: Tensor) -> Tensor:
        """Orthogonalised Nesterov momentum, rows evened out, norm kept; tall matrices go farther."""
        momentum.lerp_(grad, 1 - MOMENTUM)
        update = orthogonalize(grad.lerp(momentum, MOMENTUM).to(DTYPE)).float()
        norm = torch.linalg.matrix_norm(update, keepdim=True)
        second.lerp_(update.square().mean(-1, keepdim=True), 0.05)
        update = update * second.clamp_min(1e-10).rsqrt()
        update = update * (norm / torch.linalg.matrix_norm(update, keepdim=True).clamp_min(1e-10))
        return update * max(1.0, grad.size(-2) / grad.size(-1)) ** 0.5


# ---------------------------------------------------------------------------------------------------- train


def read_tokens(paths: list[str]) -> Tensor:
    """All shards' characters, int64: 256 int32 of header, then uint16."""
    tokens = np.concatenate([np.fromfile(path, dtype="<u2", offset=1024) for path in paths])
    return torch.from_numpy(tokens.astype(np.int64))


def batches(tokens: Tensor, run: Any) -> Iterator[Tensor]:
    """This rank's share of a step's rows [B, REACH+T+1]: the whole text, shuffled, cut anew each time."""
    generator, share = np.random.default_rng(run.seed), BATCH // run.world_size
    count = (len(tokens) - 1 - REACH) // LENGTH - 1
    while True:
        starts = torch.from_numpy(generator.permutation(count) * LENGTH + generator.integers(LENGTH))
        for mine in starts[run.rank * share :].unfold(0, share, BATCH):
            yield tokens[mine[:, None] + torch.arange(REACH + LENGTH + 1)]


def rate_factor(step: int) -> float:
    return min(1.0, (STEPS - step) / (COOLDOWN * STEPS))


class Trainer:
    """The model and what moves it."""

    def __init__(self, run: Any) -> None:
        torch.manual_seed(run.seed)  # the same start on all ranks
        self.world_size = run.world_size
        self.vocab_size = run.vocab_size
        self.model, self.ngrams = GPT(run.vocab_size), Ngrams()
        self.loss = torch.compile(mean_loss, dynamic=False)
        rates = {self.model.embed: EMBED_RATE, self.model.head: HEAD_RATE, self.model.mix: MIX_RATE}
        groups = [{"params": [p], "lr": rate, "full": rate} for p, rate in rates.items()]
        self.adam = torch.optim.Adam(groups, betas=BETAS, eps=1e-10, fused=True)
        self.muon = Muon([self.model.qkv, self.model.out, self.model.up, self.model.down])

    def step(self, step: int, rows: Tensor) -> Tensor:
        """One update; returns this rank's mean loss."""
        index = ngram_rows(rows[:, :-1], self.vocab_size)
        grams = self.ngrams.look_up(index).requires_grad_()
        loss = self.loss(self.model, rows[:, REACH:-1], grams, rows[:, REACH + 1 :])
        loss.backward()
        self.average_gradients()
        self.ngrams.step(*self.of_all_ranks(index, grams.grad), TABLE_RATE * rate_factor(step))
        for group in self.adam.param_groups:
            group["lr"] = group["full"] * rate_factor(step)
        self.adam.step()
        self.muon.step(MATRIX_RATE * rate_factor(step))
        self.model.zero_grad()
        return loss.detach()

    def average_gradients(self) -> None:
        """Give every rank the mean of all ranks' gradients."""
        if self.world_size == 1:
            return
        grads = [p.grad for p in self.model.parameters()]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        for grad, total in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(total.view_as(grad) / self.world_size)

    def of_all_ranks(self, rows: list[Tensor], grad_BTD: Tensor) -> tuple[list[Tensor], Tensor]:
        """What all ranks looked up, and its gradients of the mean over all ranks."""
        if self.world_size == 1:
            return rows, grad_BTD
        mine = torch.stack(rows)
        indices = [torch.empty_like(mine) for _ in range(self.world_size)]
        grads = [torch.empty_like(grad_BTD) for _ in range(self.world_size)]
        dist.all_gather(indices, mine)
        dist.all_gather(grads, grad_BTD)
        return list(torch.cat(indices, dim=1)), torch.cat(grads) / self.world_size

    def weights(self) -> dict[str, Tensor]:
        """What is handed over; the tables in bf16, half the bytes."""
        tables = {f"table{order}": t.bfloat16() for order, t in zip(TABLES, self.ngrams.tables, strict=True)}
        return self.model.state_dict() | tables


def train(run: Any) -> None:
    """Called by the referee on every rank."""
    if run.world_size > 1:
        dist.init_process_group("gloo")
    trial = Trainer(run)  # compiles, and is thrown away
    for step, rows in zip(range(2), batches(read_tokens(run.warmup_shards), run), strict=False):
        trial.step(step, rows)
    trainer = Trainer(run)
    trainer.loss = trial.loss
    run.reserve(trainer.weights() if run.rank == 0 else {})

    tokens = read_tokens(run.go())
    for step, rows in zip(range(1, STEPS + 1), batches(tokens, run), strict=False):
        loss = trainer.step(step - 1, rows)
        if step % LOG_EVERY == 0:
            run.log(step=step, steps=STEPS, train_loss=loss.item(), tokens=step * BATCH * LENGTH)
        if run.practice and step % (STEPS // 8) == 0:
            run.snapshot(trainer.weights() if run.rank == 0 else {}, step=step)
    run.stop(trainer.weights() if run.rank == 0 else {})


def load(weights: Mapping[str, Tensor], device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """Called by the evaluator: int64 characters [B, T] -> logits [B, T, V]."""
    model, ngrams = GPT(weights["embed"].size(0)), Ngrams()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    ngrams.tables = [weights[f"table{order}"].float() for order in TABLES]

    @torch.no_grad()
    def logits(tokens_BT: Tensor) -> Tensor:
        rows = ngram_rows(F.pad(tokens_BT, (REACH, 0)), weights["embed"].size(0))
        return model(tokens_BT, ngrams.look_up(rows))

    return logits
