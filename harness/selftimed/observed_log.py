"""What a self-timed script prints, beside when each line arrived.

The lines are read twice by the one grammar: as they come, to stamp them, and as a log, when all is said, which decides
what counts. Where a claim and the clock cannot both be right, that is a finding; none of them is a verdict.
"""

import itertools
import math
from dataclasses import dataclass, field

from ..formats import numbers
from ..formats.run import Finding
from ..system.clock import NS
from .candidates import result_lines
from .grammars import Grammar, LinePattern, Reading, forms, literals
from .layouts import Layouts
from .log_text import MAX_LINE_BYTES
from .logs import LogReader
from .record import MAX_POINTS, LaterClaim, ResultLine, SelfTimedClaim
from .training_log import LoggedRun, TrainingLog

MS = 1_000_000
MAX_STAMPS, MAX_LINES = 150_000, 300_000  # stamps that are kept, and lines that are read to be stamped
SHOWN_BYTES = 4_096  # of a piece, the last ones, where there were more: for the display
SLACK_SHARE, SLACK_NS = 0.05, NS // 2  # a line is late by what printing, waking up and a busy machine take
OUTSIDE_SHARE, OUTSIDE_NS = 0.1, NS  # time outside its own clock that is worth a sentence
BURST_LINES, BURST_NS = 4, 20 * MS


@dataclass(frozen=True, slots=True)
class Stamped:
    """A result line as it came. joined: it came in one piece with the result line before it."""

    line: LinePattern
    reading: Reading
    front: tuple[bytes, bytes]  # what stands before it: its shape, and a rank
    at_ns: int
    joined: bool


@dataclass(slots=True)
class LineStamper:
    """Hears a script as it talks: stamps result lines as they arrive, and reads the log whole, in bounded memory.

    What is kept of the log on disk has another bound, and no say in what is heard.
    """

    grammars: tuple[Grammar, ...]
    stamped: list[Stamped] = field(default_factory=list)
    reader: LogReader = field(init=False)
    lines: int = 0  # that may carry results
    _layouts: Layouts = field(init=False)
    _rest: bytes = b""
    _skipping: bool = False
    _last_ns: int = 0

    def __post_init__(self) -> None:
        self.reader = LogReader(self.grammars)
        self._layouts = Layouts(forms(self.grammars))

    def feed(self, chunk: bytes, at_ns: int) -> Reading | None:
        """Bytes as they came. Returns the last result among them, for a display."""
        self.reader.feed(chunk)
        self._last_ns = at_ns
        chunk = chunk.replace(b"\r", b"\n")  # a progress bar begins its line again
        if self._skipping:
            _, newline, chunk = chunk.partition(b"\n")
            self._skipping = not newline
        block, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skipping = b"", True
        return self._stamp(block + newline, at_ns)

    def finish(self) -> TrainingLog:
        """The log as a whole."""
        log = self.reader.finish()
        if not any(odd.id == "cut-off" for odd in log.oddities):
            self._stamp(self._rest, self._last_ns)
        return log

    def _stamp(self, block: bytes, at_ns: int) -> Reading | None:
        wanted, last = literals(self.grammars, with_train=True), None
        if self.lines > MAX_LINES and len(block) > SHOWN_BYTES:
            block = block[block.find(b"\n", len(block) - SHOWN_BYTES) + 1 :]
        lines = [line for line in result_lines(block, wanted) if len(line) <= MAX_LINE_BYTES]
        self.lines += len(lines)
        for _, text, known in self._layouts.read(lines):
            heard = known.heard(text)
            if heard is None or heard.form is None or heard.reading is None:
                continue
            if len(self.stamped) < MAX_STAMPS:
                front = heard.shape, heard.rank
                self.stamped.append(Stamped(heard.form, heard.reading, front, at_ns, joined=last is not None))
            last = heard.reading
        return last


@dataclass(frozen=True, slots=True)
class ObservedLog:
    """Everything a script said, with stamps where they can be told."""

    claim: SelfTimedClaim | None
    points: tuple[ResultLine, ...]
    findings: tuple[Finding, ...]
    diverged: bool = False  # its last loss is no finite number


def read_observed_log(stamper: LineStamper, start_ns: int, end_ns: int) -> ObservedLog:
    """What was heard, when all is said. start_ns, end_ns: of the first and the last process, on the stamps' clock."""
    log = stamper.finish()
    oddities = [Finding.warning("log_oddity", odd.sentence, "a plain log of one run", odd.id) for odd in log.oddities]
    if log.grammar is None or not log.runs:
        known = ", ".join(grammar.name for grammar in stamper.grammars)
        silent = Finding.warning("no_result_lines", "no line of a known kind was printed", f"lines of {known}", "none")
        return ObservedLog(None, (), (silent, *oddities))
    stamps = _stamps(log, stamper.stamped) if stamper.lines <= MAX_LINES else {}
    run, points = log.runs[-1], _points(log.runs[-1], stamps, start_ns)
    claim, slack_ns = _claim(log, run), SLACK_NS + int(log.grammar.time_digit_ms * MS)
    joined = [stamp for stamp in stamps.values() if stamp.joined]
    findings = [
        *_about_lines(log, run),
        *_about_time(points, joined, len(stamps), claim.train_time_ns or 0, end_ns - start_ns, slack_ns),
        *_about_steps(run, stamps),
        *oddities,
    ]
    last = next((x for x in (run.last.val_loss, run.last.val_bpb, run.last.train_loss) if x is not None), 0.0)
    return ObservedLog(claim, _thinned(points), tuple(findings), diverged=not math.isfinite(last))


def _stamps(log: TrainingLog, stamped: list[Stamped]) -> dict[int, Stamped]:
    """The stamp of each reading, by its identity: both lists end with the same lines, kind by kind."""
    found: dict[int, Stamped] = {}
    if len(stamped) >= MAX_STAMPS or log.grammar is None or any(odd.id == "too-many-lines" for odd in log.oddities):
        return found
    counted, front = {*log.grammar.lines, *log.grammar.also}, (log.prefix, log.rank)
    stamped = [stamp for stamp in stamped if stamp.front == front]
    for kind in ("val", "train"):
        ours = [stamp for stamp in stamped if stamp.line.kind == kind and stamp.line in counted]
        read = [p for run in log.runs for p in (run.validations if kind == "val" else run.training)]
        if read and len(ours) >= len(read):
            found |= {id(reading): stamp for reading, stamp in zip(read, ours[-len(read) :], strict=True)}
    return found


def claim_of(log: TrainingLog) -> SelfTimedClaim | None:
    """What a log states, read without stamps; None where it holds no line of a known kind."""
    return _claim(log, log.runs[-1]) if log.grammar is not None and log.runs else None


def result_lines_of(log: TrainingLog) -> list[ResultLine]:
    """All result lines of the run that counts, none of them with a stamp."""
    return _points(log.runs[-1], {}, 0) if log.runs else []


def _claim(log: TrainingLog, run: LoggedRun) -> SelfTimedClaim:
    assert log.grammar is not None
    last, training = run.last, run.training
    losses = next((p.train_loss for p in reversed(training or run.validations) if p.train_loss is not None), None)
    return SelfTimedClaim(
        grammar=log.grammar.name,
        runs=len(log.runs),
        step=last.step,
        total=next((p.total for p in (last, *training[-1:]) if p.total is not None), None),
        val_loss=_finite(last.val_loss),
        val_bpb=_finite(last.val_bpb),
        train_loss=_finite(losses),
        train_time_ns=_claimed_ns(run, log.grammar),
        validations=len(run.validations),
        training_lines=len(training),
        later=tuple(
            LaterClaim(label=result.label, val_loss=_finite(result.val_loss), val_bpb=_finite(result.val_bpb))
            for result in run.later
        ),
    )


def _claimed_ns(run: LoggedRun, grammar: Grammar) -> int | None:
    """The training time a run claims: its own total, or the sum of its steps where it prints every one."""
    times = [p.time_ms for p in (*run.training, *run.validations) if p.time_ms is not None]
    if times:
        last = run.last.time_ms
        return _ns(last if last is not None else times[-1])
    steps = {p.step: p.step_ms for p in run.training if p.step_ms is not None and p.step is not None}
    every = range(grammar.first_step, grammar.first_step + len(steps))
    return _ns(sum(steps.values())) if len(steps) > 1 and sorted(steps) == list(every) else None


def _points(run: LoggedRun, stamps: dict[int, Stamped], start_ns: int) -> list[ResultLine]:
    """All result lines of a run in the order they came, validations before the training line of their step."""
    pairs = [("val", p) for p in run.validations] + [("train", p) for p in run.training]
    points = [
        ResultLine(
            kind="val" if kind == "val" else "train",
            step=p.step,
            loss=_finite(p.val_loss if kind == "val" else p.train_loss),
            claimed_ns=_ns(p.time_ms),
            arrived_ns=max(0, stamps[id(p)].at_ns - start_ns) if id(p) in stamps else None,
        )
        for kind, p in pairs
    ]
    return sorted(points, key=lambda p: (p.arrived_ns or 0, p.step or 0))


def _thinned(points: list[ResultLine]) -> tuple[ResultLine, ...]:
    """At most MAX_POINTS of each kind, the last ones among them."""
    kept: list[ResultLine] = []
    for kind in ("val", "train"):
        some = [p for p in points if p.kind == kind]
        stride = -(-len(some) // MAX_POINTS) or 1
        kept += some[::-1][::stride]
    return tuple(sorted(kept, key=lambda p: (p.arrived_ns or 0, p.step or 0)))


def _about_lines(log: TrainingLog, run: LoggedRun) -> list[Finding]:
    assert log.grammar is not None
    found = []
    if len(log.runs) > 1:
        found.append(
            Finding.warning("several_runs", "step numbers start again; the last run counts", "1", f"{len(log.runs)}")
        )
    if not run.validations:
        sentence = "it printed no validation loss"
        if not any(line.kind == "val" for line in log.grammar.lines):
            sentence += ": this trainer has no validation split"
        found.append(Finding.warning("no_validation", sentence, "at least one validation line", "training lines only"))
    steps = [p.step for p in run.training if p.step is not None]
    if any(later < earlier for earlier, later in itertools.pairwise(steps)):
        found.append(
            Finding.warning("steps_disordered", "training steps go backwards", "steps in order", "an earlier one")
        )
    return found


def _about_time(
    points: list[ResultLine], joined: list[Stamped], lines: int, total_ns: int, wall_ns: int, slack_ns: int = SLACK_NS
) -> list[Finding]:
    """Where a running total cannot be what passed between the lines, or leaves much of it out."""
    timed = [p for p in points if p.claimed_ns is not None and p.arrived_ns is not None]
    timed = [p for p in timed if p.kind == "val"] or timed
    found = [_ahead("its whole training", total_ns, wall_ns)] if total_ns > _most(wall_ns, slack_ns) else []
    if len(timed) < 2:
        return found
    spans = [_span(a, b) for a, b in itertools.pairwise(timed)]
    claimed_ns, passed_ns = (sum(column) for column in zip(*((c, p) for _, c, p in spans if c >= 0), strict=True))
    if len(joined) >= max(BURST_LINES, lines // 2) and claimed_ns / len(timed) > BURST_NS:
        sentence = "result lines came in bursts, so the times between them say nothing"
        return [
            *found,
            Finding.warning("buffered", sentence, "lines as they happen", f"{len(joined)} of {lines} lines joined"),
        ]
    worst = max(spans, key=lambda span: span[1] - span[2])
    if not found and worst[1] > _most(worst[2], slack_ns):
        found.append(_ahead(*worst))
    outside_ns = passed_ns - claimed_ns
    if outside_ns > max(OUTSIDE_NS + slack_ns - SLACK_NS, int(OUTSIDE_SHARE * passed_ns)):
        sentence = (
            "part of the time between its first and last line is outside its own clock (validation, or other work)"
        )
        passed, claimed = numbers.fixed_seconds(passed_ns / NS), numbers.fixed_seconds(claimed_ns / NS)
        found.append(Finding.warning("outside_its_clock", sentence, passed, f"{claimed} claimed"))
    return found


def _about_steps(run: LoggedRun, stamps: dict[int, Stamped]) -> list[Finding]:
    """A step that claims to have taken longer than the time since the training line before it."""
    stamped = [(p, stamps[id(p)]) for p in run.training if id(p) in stamps]
    for (before, first), (p, stamp) in itertools.pairwise(stamped):
        step_ns, passed_ns = _ns(p.step_ms), stamp.at_ns - first.at_ns
        if (
            step_ns is not None
            and not stamp.joined
            and (p.step or 0) > (before.step or 0)
            and step_ns > _most(passed_ns)
        ):
            return [_ahead(f"step {p.step}", step_ns, passed_ns)]
    return []


def _span(a: ResultLine, b: ResultLine) -> tuple[str, int, int]:
    """Between two lines: a name for it, the time claimed, the time that passed."""
    assert a.claimed_ns is not None and b.claimed_ns is not None
    assert a.arrived_ns is not None and b.arrived_ns is not None
    return f"steps {a.step} to {b.step}", b.claimed_ns - a.claimed_ns, b.arrived_ns - a.arrived_ns


def _ahead(what: str, claimed_ns: int, passed_ns: int) -> Finding:
    sentence = f"it claims more time for {what} than passed on the referee's clock"
    return Finding.warning(
        "clock_ahead",
        sentence,
        f"at most {numbers.fixed_seconds(passed_ns / NS)}",
        numbers.fixed_seconds(claimed_ns / NS),
    )


def _most(passed_ns: int, slack_ns: int = SLACK_NS) -> int:
    return int(passed_ns * (1 + SLACK_SHARE)) + slack_ns


def _ns(milliseconds: float | None) -> int | None:
    """None for what is no time: NaN, infinite, or longer than a century."""
    return None if milliseconds is None or not 0 <= milliseconds < 3e12 else round(milliseconds * MS)


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < 1e12 else None
