"""Log grammars: the one table of line forms, one entry per kind of trainer.

A grammar is data: for each kind of line a literal that every such line contains (found at the speed of memory) and an
expression with named groups (which decides). The names of the groups are the fields of a Reading, and units live in
them: `time_ms` is time since the start of training, `step_ms` the time of one step.

`tried` says how far to trust an entry: "real logs" (the files of a public archive), "real runs" (the trainer itself,
run), "samples" (written after the trainer's print statements; no real log has been read).
"""

import re
from dataclasses import dataclass
from typing import Literal

NUMBER = r"(?:[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?|nan|inf)"
STEP = r"[0-9]{1,12}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line says; None where it says nothing."""

    step: int | None = None
    total: int | None = None
    val_loss: float | None = None  # nats per token
    val_bpb: float | None = None  # bits per byte
    val_avg_loss: float | None = None  # of averaged weights, where a trainer prints it beside val_loss
    val_ema_loss: float | None = None
    train_loss: float | None = None
    time_ms: float | None = None  # training time so far, by the trainer's own clock
    step_ms: float | None = None  # of this step alone
    avg_ms: float | None = None  # mean per step so far


@dataclass(frozen=True, slots=True)
class LinePattern:
    """One kind of line. `literal` is in every one of them; `pattern` matches from the line's first byte."""

    kind: Literal["val", "train"]
    literal: bytes
    pattern: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The lines of one kind of trainer, and what its numbers mean."""

    name: str
    about: str
    tried: Literal["real logs", "real runs", "samples"]
    lines: tuple[LinePattern, ...]
    mark: re.Pattern[bytes] | None = None  # tells generations with equal lines apart; looked for in the first lines
    untimed_steps: int = 0  # steps at the start that its clock leaves out
    metric: str = "val_loss"  # the number the field ranks by
    first_step: int = 0  # the number on the line of the first step, where a validation line has no step of its own


def _line(kind: Literal["val", "train"], literal: str, pattern: str) -> LinePattern:
    """`#name` in a pattern is a named number, `@name` a named count."""
    named = re.sub(r"#(\w+)", lambda m: f"(?P<{m[1]}>{NUMBER})", pattern)
    named = re.sub(r"@(\w+)", lambda m: f"(?P<{m[1]}>{STEP})", named)
    return LinePattern(kind, literal.encode(), re.compile(named.encode()))


MILLISECONDS = r"train_time:#time_ms(?:ms) step_avg:#avg_ms(?:ms)"
SECONDS = r"train_time:#time_s(?:s) step_avg:#avg_ms(?:ms)"
STEP_OF_ALL = r"step @step(?:/@total)? \([^)]{1,12}\) "
VAL_MS = _line("val", " val_loss:", r"step:@step/@total val_loss:#val_loss " + MILLISECONDS)
TRAIN_MS = _line("train", " train_time:", r"step:@step/@total " + MILLISECONDS)
TRAIN_LOSS_MS = _line("train", " train_loss:", r"step:@step/@total train_loss:#train_loss " + MILLISECONDS)

GRAMMARS: tuple[Grammar, ...] = (
    Grammar(
        "modded-nanogpt-g1", "modded-nanogpt, October to 4 December 2024: a training loss on every step", "real logs",
        (VAL_MS, TRAIN_LOSS_MS), mark=re.compile(rb"step:\d{1,12}/\d{1,12} train_loss:"), untimed_steps=10,
    ),
    Grammar(
        "modded-nanogpt-g2", "modded-nanogpt, 8 December 2024 to January 2025: no training loss, ten steps untimed",
        "real logs", (VAL_MS, TRAIN_MS), untimed_steps=10,
        mark=re.compile(rb"step:\d{1,12}/\d{1,12} [^\n]{0,80}step_avg:nanms"),
    ),
    Grammar(
        "modded-nanogpt-g3b", "modded-nanogpt, since 26 December 2025: says that it compiles and resets the model",
        "real logs", (VAL_MS, TRAIN_MS), mark=re.compile(rb"^Resetting Model", re.MULTILINE),
    ),
    Grammar(
        "modded-nanogpt-g3", "modded-nanogpt, February to December 2025: kernels warmed up before the clock",
        "real logs", (VAL_MS, TRAIN_MS),
    ),
    Grammar(
        "modded-nanogpt-g4", "modded-nanogpt, optimizer track, 2026: seconds, five decimals, several runs in a file",
        "real logs",
        (
            _line(
                "val", " val_loss:",
                r"step:@step/@total val_loss:#val_loss(?: val_avg_loss:#val_avg_loss)?(?: val_ema_loss:#val_ema_loss)? "
                + SECONDS,
            ),
            _line("train", " train_time:", r"step:@step/@total " + SECONDS),
        ),
        metric="steps",
    ),
    Grammar(
        "llmc-log", "llm.c, main.log: validation and training losses by step, no clock", "real logs",
        (
            _line("val", " tel:", r"s:@step tel:#val_loss\s*$"),
            _line("train", " trl:", r"s:@step trl:#train_loss(?: lr:[0-9.eE+-]{1,24} norm:[0-9.eE+-]{1,24})?\s*$"),
        ),
    ),
    Grammar(
        "parameter-golf", "parameter-golf: as modded-nanogpt, with bits per byte beside the loss", "samples",
        (
            _line(
                "val", " val_loss:", r"step:@step/@total val_loss:#val_loss val_bpb:#val_bpb " + MILLISECONDS,
            ),
            TRAIN_LOSS_MS,
        ),
        metric="val_bpb",
    ),
    Grammar(
        "nanogpt", "nanoGPT, train.py: both losses at every evaluation, the time of each step", "samples",
        (
            _line("val", ", val loss ", r"step @step: train loss #train_loss, val loss #val_loss\s*$"),
            _line("train", ", time ", r"iter @step: loss #train_loss, time #step_ms(?:ms), mfu -?[0-9.]{1,12}%\s*$"),
        ),
    ),
    Grammar(
        "mingpt", "minGPT, projects/chargpt: a training loss now and then; it has no validation split", "samples",
        (_line("train", "; iter ", r"iter_dt #step_ms(?:ms); iter @step: train loss #train_loss\s*$"),),
        metric="train_loss",
    ),
    Grammar(
        "llmc-python", "llm.c, train_gpt2.py", "samples",
        (
            _line("val", "val loss ", r"val loss #val_loss\s*$"),
            _line(
                "train", " | train loss ",
                r"step\s+@step/@total \| train loss #train_loss \| norm [^|]{1,24}\| lr [^|]{1,24}\| "
                + r"\(#step_ms(?: ms) \|",
            ),
        ),
        first_step=1,
    ),
    Grammar(
        "llmc-cuda", "llm.c, train_gpt2.cu", "samples",
        (
            _line("val", "val loss ", r"val loss #val_loss\s*$"),
            _line(
                "train", " | loss ",
                r"step\s+@step/@total \| loss #train_loss \([^)]{1,24}\)\| norm [^|]{1,40}\| lr [^|]{1,24}\| "
                + r"#step_ms(?: ms) \|",
            ),
        ),
        first_step=1,
    ),
    Grammar(
        "llmc-c", "llm.c, train_gpt2.c", "samples",
        (
            _line("val", "val loss ", r"val loss #val_loss\s*$"),
            _line("train", ": train loss ", r"step @step: train loss #train_loss \(took #step_ms(?: ms)\)\s*$"),
        ),
    ),
    Grammar(
        "nanochat", "nanochat, base_train: bits per byte; its clock leaves out the first steps", "samples",
        (
            _line("val", "| Validation bpb: ", r"Step @step \| Validation bpb: #val_bpb\s*$"),
            _line(
                "train", "| loss: ",
                STEP_OF_ALL + r"\| loss: #train_loss \|(?: lrm: [^|]{1,12}\|)? dt: #step_ms(?:ms) \|",
            ),
        ),
        metric="val_bpb", untimed_steps=11,
    ),
    Grammar(
        "slowrun", "slowrun: nanochat's lines with loss and bits per byte at every evaluation", "samples",
        (
            _line(
                "val", "| Val BPB: ",
                r"Step @step \| (?:Epoch [0-9]{1,6} \| )?Val BPB: #val_bpb \| Val Loss: #val_loss\s*$",
            ),
            _line(
                "train", "| loss: ", STEP_OF_ALL + r"\| loss: #train_loss \|(?:[^|]{1,40}\|){0,6}? dt: #step_ms(?:ms)",
            ),
        ),
    ),
)  # fmt: skip
BY_NAME = {grammar.name: grammar for grammar in GRAMMARS}
MODDED_NANOGPT = tuple(g for g in GRAMMARS if g.name.startswith("modded-nanogpt") or g.name == "llmc-log")
_COUNTS = frozenset({"step", "total"})


def literals(grammars: tuple[Grammar, ...], *, with_train: bool) -> tuple[bytes, ...]:
    """What to look for in a log: each literal once, in the order of the table."""
    lines = (line for grammar in grammars for line in grammar.lines if with_train or line.kind == "val")
    return tuple(dict.fromkeys(line.literal for line in lines))


def forms(grammars: tuple[Grammar, ...]) -> tuple[LinePattern, ...]:
    """Every line form once: generations share theirs."""
    return tuple(dict.fromkeys(line for grammar in grammars for line in grammar.lines))


def read_line(line: bytes, forms: tuple[LinePattern, ...]) -> tuple[LinePattern, Reading] | None:
    """The first form that a line has, and what it says; None for chatter."""
    for form in forms:
        if form.literal in line and (match := form.pattern.match(line)):
            return form, _reading(match)
    return None


def _reading(match: re.Match[bytes]) -> Reading:
    fields = {name: text for name, text in match.groupdict().items() if text is not None}
    counts = {name: int(fields.pop(name)) for name in _COUNTS & fields.keys()}
    numbers = {name: float(text) for name, text in fields.items()}
    if "time_s" in numbers:
        numbers["time_ms"] = round(numbers.pop("time_s") * 1000, 3)
    return Reading(**counts, **numbers)  # type: ignore[arg-type] # the groups are fields: a test holds it
