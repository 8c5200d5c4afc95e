"""One training log: its source, environment, runs and oddities, read once.

Any bytes will do: a log is read in blocks of whole lines, a line longer than MAX_LINE_BYTES is left out, and what is
kept is bounded, whatever the file holds. Nothing here is trusted: a log can only ever support a number of tier
`reported`. Lines before the first separator are the script's embedded source; what looks like a result there is not.
"""

import hashlib
import itertools
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from .grammars import GRAMMARS, Grammar, LinePattern, Reading, forms, literals, read_line

CHUNK_BYTES = 2**20
MAX_LINE_BYTES = 65_536
MAX_SOURCE_BYTES = 2 * 2**20
MAX_READINGS = 150_000
MAX_RUNS = 1_000
TOO_MANY = f"only the first {MAX_READINGS:,} result lines were read"
LATE_START = 0.25  # share of the steps before the first result
HEAD_BYTES = 32 * 2**10  # of the text behind the source: where the environment and the marks of a grammar are
RULE = b"\n" + b"=" * 20
SEPARATOR = re.compile(rb"={20,}+[ \t\r]*+(?![^\n])")  # a whole line; possessive, so that no line makes it backtrack
FIRST_STEPS = (b"\nstep:", b"\nstep ", b"\ns:", b"\niter")  # behind them a log says nothing of its environment

_ENVIRONMENT = {
    name: re.compile(pattern.encode(), re.MULTILINE)
    for name, pattern in {
        "torch": r"^Running (?:pytorch|PyTorch) (\S{1,80})(?: compiled for CUDA (\S{1,20}))?(?= |$)",
        "on": r"^Running PyTorch [^\n]{1,120} on (\S[^\n]{0,79}?)[ ]* with world_size (\d{1,4})\s*$",
        "device": r"^Running on device_name=(\S[^\n]{0,79}?)[ ]* with world_size=(\d{1,4})",
        "python": r"^Running [Pp]ython (\S{1,40})",
        "triton": r"^Running Triton version (\S{1,40})",
        "driver": r"NVIDIA-SMI (\S{1,40}) {1,40}Driver Version: (\S{1,40}) {1,40}CUDA Version: (\S{1,20})",
        "gpu": r"^\| {1,8}(\d{1,3}) {1,8}((?:NVIDIA|Tesla|GeForce) [^|\n]{1,60}?) +(?:On|Off|N/A) *\|",
        "date": r"^([A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\s*$",
    }.items()
}
_PEAK = re.compile(rb"peak memory (?:allocated|consumption): (\d{1,9}) MiB")


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something a reader of the log should know; not a verdict."""

    id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class LogEnvironment:
    """What the log says about the machine; empty text and None where it does not say."""

    python: str = ""
    torch: str = ""
    cuda: str = ""
    triton: str = ""
    driver: str = ""
    gpu: str = ""
    gpu_count: int | None = None
    date: str = ""  # local time of the machine, without a zone


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One run: its validations, and its training lines where they were asked for."""

    validations: tuple[Reading, ...]
    training: tuple[Reading, ...] = ()

    @property
    def last(self) -> Reading:
        """The last line that carries a result: a validation, or a training line where there is none."""
        return (self.validations or self.training)[-1]

    @property
    def is_complete(self) -> bool:
        """Whether the last result belongs to the last step announced."""
        return self.last.total is not None and self.last.step == self.last.total

    @property
    def trace_sha256(self) -> str:
        """Digest of the whole validation trace: the same run copied elsewhere has the same one."""
        trace = [(p.step, p.val_loss, p.time_ms) for p in self.validations]
        return hashlib.sha256(repr(trace).encode()).hexdigest()

    def at_step(self, step: int) -> Reading | None:
        """The last validation of that step."""
        return next((p for p in reversed(self.validations) if p.step == step), None)


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Everything one file says."""

    grammar: Grammar | None  # None: not a log of any known kind
    runs: tuple[LoggedRun, ...]
    environment: LogEnvironment
    source: bytes  # the embedded script, empty where there is none
    peak_memory_mib: int | None
    size_bytes: int
    oddities: tuple[Oddity, ...]


@dataclass(slots=True)
class _State:
    """What accumulates while a file is read."""

    readings: list[tuple[LinePattern, Reading]] = field(default_factory=list)
    head: bytearray = field(default_factory=bytearray)
    peak: int | None = None
    size: int = 0
    oddities: dict[str, str] = field(default_factory=dict)  # by id: each kind is named once


def read_log(
    chunks: Iterable[bytes], grammars: tuple[Grammar, ...] = GRAMMARS, *, with_training: bool = True
) -> TrainingLog:
    """Everything a log says, from its bytes in pieces of any size.

    with_training=False leaves training lines alone, which is what makes an archive of a thousand logs quick.
    """
    state = _State()
    source, body = _split_source(_blocks(chunks, state))
    wanted, known = literals(grammars, with_train=with_training), forms(grammars)
    if any(read_line(line, known) for line in _lines_with(source, wanted)):
        state.oddities["result-in-source"] = "the embedded source holds lines that look like results; they do not count"
    for block in body:
        _read_block(block, wanted, known, state)
    head = bytes(state.head)
    grammar = choose_grammar(grammars, state.readings, head)
    runs = _runs(state.readings, grammar, state)
    for run, number in zip(runs, range(1, MAX_RUNS + 1), strict=False):
        _look_at(run, number, state, with_training=with_training)
    oddities = tuple(Oddity(key, sentence) for key, sentence in state.oddities.items())
    return TrainingLog(grammar, runs, _environment(head), source, state.peak, state.size, oddities)


def file_chunks(path: Path) -> Iterator[bytes]:
    """A plain file in chunks, opened once. Raises UserError in one sentence for anything else."""
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"expected a log file, found a special file at {path}")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise UserError(f"expected a plain, readable log file, found {error.strerror} at {path}") from error


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _blocks(chunks: Iterable[bytes], state: _State) -> Iterator[bytes]:
    """The text in blocks of whole lines, without the lines that are too long."""
    rest, skipping = b"", False
    for chunk in chunks:
        state.size += len(chunk)
        if skipping:
            _, newline, chunk = chunk.partition(b"\n")
            skipping = not newline
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        block, rest = text[:cut], text[cut:]
        if len(rest) > MAX_LINE_BYTES:
            state.oddities["long-line"] = f"a line longer than {MAX_LINE_BYTES:,} bytes was left out"
            rest, skipping = b"", True
        if block:
            _look_at_bytes(block, state)
            yield block
    if rest:
        _look_at_bytes(rest, state)
        yield rest


def _look_at_bytes(block: bytes, state: _State) -> None:
    if b"\0" in block:
        state.oddities["nul-bytes"] = "there are NUL bytes in the text"
    if b"\x1b" in block:
        state.oddities["terminal-escapes"] = "there are terminal escape sequences in the text"
    if "invalid-utf8" not in state.oddities:
        try:
            block.decode()
        except UnicodeDecodeError:
            state.oddities["invalid-utf8"] = "the text is not valid UTF-8"


def _split_source(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The text before the first separator (after the second, where the first line is one), and the blocks behind it."""
    head = b""
    for block in blocks:
        head += block
        found = _separators(head)
        first = next(found, None)
        if first is not None and not head[: first.start()].strip():  # G1a, G1b: the file opens with a separator
            start, first = first.end(), next(found, None)
        else:
            start = 0
        if first is not None:
            return head[start : first.start()].strip(b"\n"), _chain(head[first.end() :], blocks)
        if len(head) > MAX_SOURCE_BYTES:
            break
    return b"", _chain(head, blocks)


def _separators(text: bytes) -> Iterator[re.Match[bytes]]:
    """Every line of twenty or more `=`."""
    if match := SEPARATOR.match(text):
        yield match
    at = text.find(RULE)
    while at != -1:
        if match := SEPARATOR.match(text, at + 1):
            yield match
        at = text.find(RULE, at + 1)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _lines_with(block: bytes, wanted: tuple[bytes, ...]) -> list[bytes]:
    """The lines that hold one of the literals, in their order."""
    spans = set()
    for literal in wanted:
        at = block.find(literal)
        while at != -1:
            end = block.find(b"\n", at)
            end = len(block) if end == -1 else end
            spans.add((block.rfind(b"\n", 0, at) + 1, end))
            at = block.find(literal, end)
    return [block[start:end] for start, end in sorted(spans)]


def _read_block(block: bytes, wanted: tuple[bytes, ...], known: tuple[LinePattern, ...], state: _State) -> None:
    if len(state.head) < HEAD_BYTES:
        state.head += block[: HEAD_BYTES - len(state.head)]
    if len(state.readings) >= MAX_READINGS:
        if any(literal in block for literal in wanted):
            state.oddities["too-many-lines"] = TOO_MANY
        return
    for line in _lines_with(block, (*wanted, b"peak memory ")):
        if len(state.readings) >= MAX_READINGS:
            state.oddities["too-many-lines"] = TOO_MANY
            return
        if len(line) > MAX_LINE_BYTES:
            state.oddities["long-line"] = f"a line longer than {MAX_LINE_BYTES:,} bytes was left out"
        elif found := read_line(line, known):
            state.readings.append(found)
        elif match := _PEAK.match(line):
            state.peak = int(match[1])


def choose_grammar(
    grammars: tuple[Grammar, ...], readings: list[tuple[LinePattern, Reading]], head: bytes
) -> Grammar | None:
    """The first grammar of the table that has the form of the first validation (or training) line, and its mark."""
    first = {line.kind: line for line, _ in reversed(readings)}
    for grammar in grammars:
        telling = [line for line in grammar.lines if line == first.get(line.kind)]
        enough = first and len(telling) == len({line.kind for line in grammar.lines} & first.keys())
        if telling and enough and (grammar.mark is None or grammar.mark.search(head)):
            return grammar
    return next((g for g in grammars if first.keys() and any(line in first.values() for line in g.lines)), None)


def _runs(readings: list[tuple[LinePattern, Reading]], grammar: Grammar | None, state: _State) -> tuple[LoggedRun, ...]:
    """A new run starts where the step number of the validations falls (or of the training lines, without any)."""
    if grammar is None:
        return ()
    splits_on = "val" if any(line.kind == "val" for line, _ in readings) else "train"
    parts: list[tuple[list[Reading], list[Reading]]] = [([], [])]
    done, last = 0, -1
    for line, reading in readings:
        if line not in grammar.lines:
            state.oddities["mixed-grammars"] = (
                "there are result lines of more than one kind of trainer; one kind counts"
            )
            continue
        if reading.step is None:  # llm.c prints a validation without its step, before the step that follows
            reading = Reading(step=done, val_loss=reading.val_loss)
        elif line.kind == "train":
            done = reading.step + 1 - grammar.first_step
        assert reading.step is not None
        if line.kind == splits_on:
            if reading.step < last and len(parts) < MAX_RUNS:
                parts.append(([], []))
            last = reading.step
        parts[-1][line.kind == "train"].append(reading)
    return tuple(
        LoggedRun(tuple(validations), tuple(training)) for validations, training in parts if validations or training
    )


def _look_at(run: LoggedRun, number: int, state: _State, *, with_training: bool) -> None:
    """Note what does not fit together inside a run. One validation, at the end, is as usual as many."""
    points, odd = run.validations or run.training, state.oddities
    losses = [p.val_loss if run.validations else p.train_loss for p in points]
    if any(loss is not None and not math.isfinite(loss) for loss in losses):
        odd.setdefault("loss-not-finite", f"run {number}: a loss is not a finite number")
    first = min((p[0] for p in (run.validations, run.training) if p), key=lambda p: p.step or 0)
    at_the_end_only = not with_training and len(points) == 1 and run.is_complete
    if first.total is not None and (first.step or 0) > first.total * LATE_START and not at_the_end_only:
        odd.setdefault("starts-late", f"run {number} begins at step {first.step} of {first.total}")
    if len({p.total for p in points}) > 1:
        odd.setdefault("total-changes", f"run {number}: the announced number of steps changes")
    times = [p.time_ms for p in points[1:] if p.time_ms is not None]
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        odd.setdefault("time-runs-backwards", f"run {number}: the training time falls from one line to the next")
    by_step: dict[int | None, set[float | None]] = {}
    for point, loss in zip(points, losses, strict=True):
        by_step.setdefault(point.step, set()).add(loss)
    twice = next((step for step, found in by_step.items() if len(found) > 1), None)
    if twice is not None:
        odd.setdefault("step-twice", f"run {number}: step {twice} is reported with different losses")
    if run.last.total is not None and not run.is_complete:
        odd.setdefault("stops-early", f"run {number} ends at step {run.last.step} of {run.last.total}")


def _environment(head: bytes) -> LogEnvironment:
    head = head[: min((at for mark in FIRST_STEPS if (at := head.find(mark)) != -1), default=len(head))]
    found = {name: pattern.search(head) for name, pattern in _ENVIRONMENT.items()}
    torch, device = found["torch"], found["device"] or found["on"]
    gpus = {match[1]: _text(match[2]) for match in _ENVIRONMENT["gpu"].finditer(head)}
    name, count = "", None
    if gpus:
        name, count = next(iter(gpus.values())), len(gpus)
    elif device is not None:
        name, count = _text(device[1]), int(device[2])
    return LogEnvironment(
        python=_first(found["python"]),
        torch=_first(torch),
        cuda=_text(torch[2]) if torch is not None and torch[2] else "",
        triton=_first(found["triton"]),
        driver=_text(found["driver"][2]) if found["driver"] else "",
        gpu=name,
        gpu_count=count,
        date=_first(found["date"]),
    )


def _first(match: re.Match[bytes] | None) -> str:
    return "" if match is None else _text(match[1])


def _text(raw: bytes) -> str:
    """Printable text of at most 80 characters: it goes into files and onto terminals."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in raw.decode(errors="replace"))[:80]
