"""One training log: its source, environment, runs and oddities, read once.

Any bytes will do: a log is read in blocks of whole lines, a line longer than MAX_LINE_BYTES is left out, and what is
kept is bounded, whatever the file holds. Nothing here is trusted: a log can only ever support a number of tier
`reported`. What looks like a result in an embedded source is none; what begins like a result and cannot be read is
counted and told.
"""

import gc
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from .candidates import result_lines
from .grammars import GRAMMARS, Grammar, LinePattern, Reading, forms, is_told_by, literals, read_line
from .heard import Heard
from .layouts import HeardLine
from .lines import LATER_LITERALS, MAX_LATER, LaterResult
from .log_oddities import about_heard, about_run
from .log_text import MAX_LINE_BYTES, LogText, SourceSplitter
from .training_log import LogEnvironment, LoggedRun, Oddity, TrainingLog

CHUNK_BYTES = 2**20
MAX_RUNS = 1_000
HEAD_BYTES = 32 * 2**10  # of the text behind the source: where the environment and the marks of a grammar are
FIRST_STEPS = (b"\nstep:", b"\nstep ", b"\ns:", b"\niter")  # behind them a log says nothing of its environment
CUT_MARK = b"[the log was cut here"  # what LogFile writes
STOPPED_BY_CLOCK = b"stopping_early: wallclock_cap"
_Part = tuple[list[Reading], list[Reading], list[LaterResult]]  # of one run: validations, training lines, later results

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
_PEAK = re.compile(rb"(?m)^peak memory (?:allocated|consumption): (\d{1,9}) MiB")


@dataclass(slots=True)
class LogReader:
    """Reads a log as it comes, in bounded memory: `feed` the pieces, then `finish`.

    with_training=False leaves training lines alone, which is what makes an archive of a thousand logs quick.
    """

    grammars: tuple[Grammar, ...] = GRAMMARS
    with_training: bool = True
    odd: dict[str, str] = field(default_factory=dict)  # by id: each kind is named once
    _text: LogText = field(init=False)
    _source: SourceSplitter = field(init=False)
    _heard: Heard = field(init=False)
    _head: bytearray = field(default_factory=bytearray)
    _peak: int | None = None

    def __post_init__(self) -> None:
        self._text = LogText(self.odd)
        self._source = SourceSplitter(forms(self.grammars))
        wanted = literals(self.grammars, with_train=self.with_training)
        extra = (STOPPED_BY_CLOCK, *LATER_LITERALS) if self.with_training else ()
        telling = literals(self.grammars, with_train=False)
        self._heard = Heard(forms(self.grammars), (*wanted, *extra), (*telling, *extra))

    def feed(self, chunk: bytes) -> None:
        """A piece of the log, of any size."""
        with _without_search_for_cycles():
            self._feed(chunk)

    def _feed(self, chunk: bytes) -> None:
        for at in range(0, len(chunk), CHUNK_BYTES):
            for block in self._text.feed(chunk[at : at + CHUNK_BYTES]):
                self._read(self._source.feed(block))

    def finish(self) -> TrainingLog:
        """Everything it says."""
        with _without_search_for_cycles():
            return self._finish()

    def _finish(self) -> TrainingLog:
        blocks, rest = self._text.end()
        for block in blocks:
            self._read(self._source.feed(block))
        self._read(self._source.end())
        if rest and len(rest) <= MAX_LINE_BYTES:
            self._read(rest, is_cut=True)
        wanted, known = literals(self.grammars, with_train=self.with_training), forms(self.grammars)
        if any(
            found.reading for line in result_lines(self._source.source, wanted) if (found := read_line(line, known))
        ):
            self.odd["result-in-source"] = "the embedded source holds lines that look like results; they do not count"
        head, lines = bytes(self._head), self._heard.lines()
        prefix, rank = _common_front(lines)
        told = about_heard(self._heard, lines, prefix, rank)
        lines = [line for line in lines if line.form is None or (line.shape, line.rank) == (prefix, rank)]
        grammar = choose_grammar(self.grammars, lines, head)
        runs = _runs(lines, grammar, told)
        for number, run in enumerate(runs, start=1):
            about_run(run, number, told, self._ends_by_clock(run, grammar), with_training=self.with_training)
        oddities = tuple(Oddity(key, sentence) for key, sentence in {**told, **dict(sorted(self.odd.items()))}.items())
        seen = {line.form for line in lines if line.form is not None}
        certain = grammar is not None and any(is_told_by(form, grammar) for form in seen)
        return TrainingLog(
            grammar, certain, runs, _environment(head), self._source.source, self._peak, self._text.size, oddities,
            prefix, rank,
        )  # fmt: skip

    def _ends_by_clock(self, run: LoggedRun, grammar: Grammar | None) -> bool:
        """Where the clock is the budget, a run that went on to its last evaluation went well."""
        return grammar is not None and grammar.until == "clock" and (self._heard.stopped_by_clock or bool(run.later))

    def _read(self, block: bytes, *, is_cut: bool = False) -> None:
        """A block of whole lines; is_cut: of one that nothing ends."""
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
            if b"\r" in block:
                self.odd["progress-bars"] = "lines are written over by others, as progress bars do; each was read"
                block = block.replace(b"\r", b"\n")
        if len(self._head) < HEAD_BYTES:
            self._head += block[: HEAD_BYTES - len(self._head)]
        if CUT_MARK in block:
            self.odd["log-cut"] = "a part of the log between its head and its tail was not kept"
        if b"peak memory " in block:
            for match in _PEAK.finditer(block):
                self._peak = int(match[1])
        self._heard.hear(block, is_cut=is_cut)


@contextmanager
def _without_search_for_cycles() -> Iterator[None]:
    """A log makes hundreds of thousands of objects and no cycle: the search for some would be a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_log(
    chunks: Iterable[bytes], grammars: tuple[Grammar, ...] = GRAMMARS, *, with_training: bool = True
) -> TrainingLog:
    """Everything a log says, from its bytes in pieces of any size; see LogReader."""
    reader = LogReader(grammars, with_training)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


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


def _common_front(lines: list[HeardLine]) -> tuple[bytes, bytes]:
    """What most result lines have in front: its shape, and the rank where a launcher names several."""
    told = [line for line in lines if line.form is not None and line.form.kind == "val"]
    told = told or [line for line in lines if line.form is not None]
    shapes = Counter(line.shape for line in told)
    prefix = min(shapes, key=lambda front: (-shapes[front], len(front), front), default=b"")
    ranks = Counter(line.rank for line in told if line.shape == prefix)
    return prefix, min(ranks, key=lambda rank: (-ranks[rank], len(rank), rank), default=b"")


def choose_grammar(grammars: tuple[Grammar, ...], lines: list[HeardLine], head: bytes) -> Grammar | None:
    """The first grammar of the table that has the form of most validation (and training) lines, and its mark."""
    counts = Counter(line.form for line in lines if line.form is not None)
    most: dict[str, LinePattern] = {}
    for form, _ in counts.most_common():
        most.setdefault(form.kind, form)
    for grammar in grammars:
        kinds = {line.kind for line in grammar.lines} & most.keys()
        if kinds and all(most[kind] in grammar.lines for kind in kinds) and _has_mark(grammar, head):
            return grammar
    close = [g for g in grammars if any(form in g.lines for form in most.values())]
    close += [g for g in grammars if any(form in g.also for form in most.values())]
    return next((g for g in close if _has_mark(g, head)), next(iter(close), None))


def _has_mark(grammar: Grammar, head: bytes) -> bool:
    return grammar.mark is None or grammar.mark.search(head) is not None


def _runs(lines: list[HeardLine], grammar: Grammar | None, told: dict[str, str]) -> tuple[LoggedRun, ...]:
    """A new run starts where the step number of the validations falls (of the training lines, without any), or where
    training lines begin again behind a validation."""
    if grammar is None:
        return ()
    splits_on = "val" if any(line.form is not None and line.form.kind == "val" for line in lines) else "train"
    parts: list[_Part] = [([], [], [])]
    begun_again: set[int] = set()  # parts that only the training lines tell apart
    done, last, trained = 0, -1, -1
    for line in lines:
        form, reading = line.form, line.reading
        if form is None or reading is None:
            parts[-1][2].extend([line.later] if line.later else [])
            continue
        if form not in grammar.lines and form not in grammar.also:
            told["mixed-grammars"] = "there are result lines of more than one kind of trainer; one kind counts"
            continue
        if reading.step is None:  # llm.c prints a validation without its step, before the step that follows
            reading = Reading(step=done, val_loss=reading.val_loss)
        elif form.kind == "train":
            done = reading.step + 1 - grammar.first_step
        assert reading.step is not None
        again = form.kind == "train" and reading.step <= 1 < trained and bool(parts[-1][0])
        if (again or (form.kind == splits_on and reading.step < last)) and len(parts) < MAX_RUNS:
            begun_again |= {len(parts)} if again else set()
            parts.append(([], [], []))
            last = trained = -1
        if form.kind == "train":
            trained = reading.step
        if form.kind == splits_on:
            last = reading.step
        parts[-1][2].clear()
        (parts[-1][1] if form.kind == "train" else parts[-1][0]).append(reading)
    return tuple(
        LoggedRun(tuple(validations), tuple(training), tuple(later[-MAX_LATER:]))
        for validations, training, later in _joined(parts, begun_again)
        if validations or training
    )


def _joined(parts: list[_Part], begun_again: set[int]) -> Iterator[_Part]:
    """Training lines that count anew in every epoch are one run where the steps of the validations go on."""
    whole = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        if number in begun_again and whole[0] and part[0] and (part[0][0].step or 0) > (whole[0][-1].step or 0):
            whole = (whole[0] + part[0], whole[1] + part[1], part[2])
        else:
            yield whole
            whole = part
    yield whole


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
