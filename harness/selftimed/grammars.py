"""Log grammars: the one table of line forms, one entry per kind of trainer.

A grammar is data: for each kind of line a literal that every such line contains (found at the speed of memory), what it
begins with and an expression with named groups (which decides); lines.py says how one is read. The names of the groups
are the fields of a Reading, and units live in them: `time_ms` is time since the start of training, `step_ms` the time
of one step.

`tried` says how far to trust an entry: "real logs" (the files of public archives, see benchmarks/log_corpora.py), "real
runs" (the trainer itself, run), "samples" (written after the trainer's print statements; no real log has been read).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from .lines import Found, LinePattern, Reading, line_pattern, read_line

__all__ = ["BY_NAME", "GRAMMARS", "MODDED_NANOGPT", "Found", "Grammar", "LinePattern", "Reading", "forms", "literals",
           "read_line"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grammar:
    """The lines of one kind of trainer, and what its numbers mean."""

    name: str
    about: str
    tried: Literal["real logs", "real runs", "samples"]
    lines: tuple[LinePattern, ...]
    also: tuple[LinePattern, ...] = ()  # read beside them, but nothing to know the trainer by
    mark: re.Pattern[bytes] | None = None  # tells generations with equal lines apart; looked for in the first lines
    untimed_steps: int = 0  # steps at the start that its clock leaves out
    metric: str = "val_loss"  # the number the field ranks by
    first_step: int = 0  # the number on the line of the first step, where a validation line has no step of its own
    family: str = ""  # trainers that write the same lines, where it is not one alone
    time_digit_ms: float = 0.0  # what the last digit of its clock is worth, where that is more than a moment
    until: Literal["last step", "clock"] = "last step"  # what ends a run that went well

    @property
    def kin(self) -> str:
        return self.family or self.name


OF_STEPS = r" ?@step(?:/@total)?[ ,|]{1,3}"
MILLISECONDS, SECONDS = "time_ms avg_ms", "time_s avg_ms"
VAL = r"val_loss~[:= ]{1,3}#val_loss"
VAL_BPB = line_pattern("val", "step:", OF_STEPS + VAL, "val_loss", f"val_bpb {MILLISECONDS}", needs="val_bpb")
VAL_MS = line_pattern("val", "step:", OF_STEPS + VAL, "val_loss", MILLISECONDS, needs="time_ms")
VAL_S = line_pattern("val", "step:", OF_STEPS + VAL, "val_loss", f"val_avg_loss val_ema_loss {SECONDS}", needs="time_s")
VAL_STEP = line_pattern(
    "val", "step:", OF_STEPS + VAL, "val_loss", "val_bpb val_avg_loss val_ema_loss avg_ms", is_common=True
)
TRAIN_MS = line_pattern("train", "step:", OF_STEPS + r"train_time~[:= ]{1,3}#time_ms ?ms\b", "train_time", "avg_ms")
TRAIN_S = line_pattern("train", "step:", OF_STEPS + r"train_time~[:= ]{1,3}#time_s ?s\b", "train_time", "avg_ms")
TRAIN_LOSS = line_pattern(
    "train", "step:", OF_STEPS + r"(?:train_)?loss~[:= ]{1,3}#train_loss", "loss", MILLISECONDS, is_common=True
)
BARE_VAL = line_pattern("val", "val loss ", r"~#val_loss", "val loss ", is_common=True)
OF_ALL = r" {0,8}@step(?:/@total)? \([^)]{1,12}\) \| loss: ~#train_loss"
PERCENT_LOSS = line_pattern("train", "step ", OF_ALL, "| loss: ", "dt_ms")
NAMED_STEP = tuple(  # a step and a named loss are enough, whoever writes them: `[step 200] val loss: 1.6379`
    line_pattern(
        "val", anchor, rf" {{0,8}}@step(?:/@total)?\W{{1,4}}{name}~[:= ]{{1,3}}#val_loss", name, is_common=True
    )
    for anchor, name in (("step ", "val loss"), ("step ", "val_loss"), ("Step ", "Val Loss"), ("Step ", "val_loss"))
)
STEP_COLON = (VAL_STEP, VAL_MS, TRAIN_LOSS, TRAIN_MS)

GRAMMARS: tuple[Grammar, ...] = (
    Grammar(
        "modded-nanogpt-g1", "modded-nanogpt, October to 4 December 2024: a training loss on every step", "real logs",
        (VAL_MS, TRAIN_LOSS), also=STEP_COLON, mark=re.compile(rb"step:\d{1,12}/\d{1,12} train_loss:"),
        untimed_steps=10, family="modded-nanogpt",
    ),
    Grammar(
        "modded-nanogpt-g2", "modded-nanogpt, 8 December 2024 to January 2025: no training loss, ten steps untimed",
        "real logs", (VAL_MS, TRAIN_MS), also=STEP_COLON, untimed_steps=10, family="modded-nanogpt",
        mark=re.compile(rb"step:\d{1,12}/\d{1,12} [^\n]{0,80}step_avg:nanms"),
    ),
    Grammar(
        "modded-nanogpt-g3b", "modded-nanogpt, since 26 December 2025: says that it compiles and resets the model",
        "real logs", (VAL_MS, TRAIN_MS), also=STEP_COLON, mark=re.compile(rb"^Resetting Model", re.MULTILINE),
        family="modded-nanogpt",
    ),
    Grammar(
        "modded-nanogpt-g3", "modded-nanogpt, February to December 2025: kernels warmed up before the clock",
        "real logs", (VAL_MS, TRAIN_MS), also=STEP_COLON, family="modded-nanogpt",
    ),
    Grammar(
        "modded-nanogpt-g4", "modded-nanogpt, optimizer track, 2026: seconds, five decimals, several runs in a file",
        "real logs", (VAL_S, TRAIN_S), also=STEP_COLON, metric="steps", family="modded-nanogpt",
    ),
    Grammar(
        "llmc-log", "llm.c, main.log: validation and training losses by step, no clock", "real logs",
        (
            line_pattern("val", "s:", r"@step tel~:#val_loss", " tel:"),
            line_pattern("train", "s:", r"@step trl~:#train_loss", " trl:"),
        ),
    ),
    Grammar(
        "parameter-golf", "parameter-golf: as modded-nanogpt, with bits per byte beside the loss", "real logs",
        (VAL_BPB, TRAIN_LOSS), also=STEP_COLON, metric="val_bpb", family="parameter-golf", until="clock",
    ),
    Grammar(
        "parameter-golf-minutes", "parameter-golf, since April 2026: its clock in tenths of minutes", "real logs",
        (
            line_pattern("val", "", rf"@step/@total:? {VAL}", "val_loss", "val_bpb"),
            line_pattern("train", "", r"@step/@total:? train_loss~[:= ]{1,3}#train_loss", "loss", "time_min"),
        ),
        metric="val_bpb", family="parameter-golf", until="clock", time_digit_ms=6_000,
    ),
    Grammar(
        "nanogpt", "nanoGPT, train.py: both losses at every evaluation, the time of each step", "real logs",
        (
            line_pattern("val", "step ", r"@step: train loss~ #train_loss, val loss #val_loss", ", val loss "),
            line_pattern("train", "iter ", r"@step: loss~ #train_loss", ": loss ", "iter_ms"),
        ),
    ),
    Grammar(
        "mingpt", "minGPT, projects/chargpt: a training loss now and then; it has no validation split", "samples",
        (line_pattern("train", "iter_dt ", r"#step_ms ?ms; iter @step: train loss~ #train_loss", "; iter "),),
        metric="train_loss",
    ),
    Grammar(
        "llmc-python", "llm.c, train_gpt2.py", "samples",
        (
            BARE_VAL,
            line_pattern("train", "step ", r" *@step/@total \| train loss~ #train_loss", " | train loss ", "bar_ms"),
        ),
        first_step=1, family="llm.c",
    ),
    Grammar(
        "llmc-cuda", "llm.c, train_gpt2.cu", "samples",
        (BARE_VAL, line_pattern("train", "step ", r" *@step/@total \| loss~ #train_loss", " | loss ", "bar_ms")),
        first_step=1, family="llm.c",
    ),
    Grammar(
        "llmc-c", "llm.c, train_gpt2.c", "samples",
        (
            BARE_VAL,
            line_pattern("train", "step ", r"@step: train loss~ #train_loss(?!,)", ": train loss ", "took_ms"),
        ),
        family="llm.c",
    ),
    Grammar(
        "nanochat", "nanochat, base_train: bits per byte; its clock leaves out the first steps", "real logs",
        (
            line_pattern(
                "val", "Step ", r" {0,8}@step(?:/@total)? \| Validation bpb~: #val_bpb", "| Validation bpb", "val_loss"
            ),
            PERCENT_LOSS,
        ),
        metric="val_bpb", untimed_steps=11,
    ),
    Grammar(
        "slowrun", "slowrun: nanochat's lines with loss and bits per byte at every evaluation", "real logs",
        (
            line_pattern(
                "val", "Step ", r" {0,8}@step(?:/@total)? \| (?:Epoch [0-9]{1,6} \| )?Val BPB~: #val_bpb",
                "| Val BPB", "val_loss",
            ),
            PERCENT_LOSS,
        ),
    ),
    Grammar(
        "step-lines", "a trainer whose lines are like those of modded-nanogpt, or name a step and a loss", "real logs",
        (VAL_STEP, TRAIN_LOSS), also=(*STEP_COLON, *NAMED_STEP),
    ),
)  # fmt: skip
BY_NAME = {grammar.name: grammar for grammar in GRAMMARS}
MODDED_NANOGPT = tuple(g for g in GRAMMARS if g.name.startswith("modded-nanogpt") or g.name == "llmc-log")


def literals(grammars: tuple[Grammar, ...], *, with_train: bool) -> tuple[bytes, ...]:
    """What to look for in a log: each literal once, in the order of the table."""
    return tuple(dict.fromkeys(line.literal for line in forms(grammars) if with_train or line.kind == "val"))


@lru_cache(maxsize=64)
def forms(grammars: tuple[Grammar, ...]) -> tuple[LinePattern, ...]:
    """Every line form once: in the order of the table, but what many write last, and what asks for most first."""
    lines = dict.fromkeys(line for grammar in grammars for line in (*grammar.lines, *grammar.also))
    return tuple(sorted(lines, key=lambda line: (line.is_common, line.needs != "val_bpb")))


def is_told_by(line: LinePattern, grammar: Grammar) -> bool:
    """Whether no trainer of another kind writes such a line."""
    return not line.is_common and {g.kin for g in GRAMMARS if line in g.lines} == {grammar.kin}
