"""One line of a log: where a result begins on it, which form it has, and what it says.

Two fields decide a line, a step and a named loss (or a time, where a trainer prints no loss); what else stands there is
read if it can be. A line that begins like a result and does not hold one is not chatter: it comes back without a
reading, and whoever reads a log counts it. What stands in front of a result (a rank, a time stamp, a progress bar)
comes back as its shape, so that a reader can ask whether all lines have the same.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal, NamedTuple

_DIGITS = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?"
_NO_FINITE = r"1\.#(?:QNAN|SNAN|IND|INF)0{0,8}|(?i:nan|inf(?:inity)?)(?:\([a-z]{1,8}\))?"  # Python, C, C on Windows
ANY_NUMBER = rf"[+-]?(?:{_NO_FINITE}|{_DIGITS})"
LOSS = ANY_NUMBER + r"(?![\w#]|[.,][\w#])"  # all of it: 3,27 or 0x3 or 3.2.1 is no 3
COUNT = r"[0-9]{1,12}"
PREFIX_BYTES = 256  # how far into a line a result may begin
ANCHOR_BYTES = 64  # an anchor, and what is seen from it
SHORT_BYTES = 100  # of a line: an expression of many words looks at so many sooner than each word does
MAX_ANCHORS = 5  # places of a line where a result is looked for
READ_BYTES = 2_048  # of a line, without its escapes; what stands behind is not looked at
LABEL_CHARACTERS = 60
MAX_LATER = 32  # results without a step that are kept of one run, the last ones
ANCHOR = re.compile(  # begins with a set of bytes, for speed
    rb"[sSiv0-9](?s:(?<![\w\"'`{(<.%-].))(?:(?<=s)(?:tep[: ]|:)|(?<=S)tep |(?<=i)ter(?:_dt)? |(?<=v)al loss "
    rb"|(?<=[0-9])(?s:(?<![/=].)(?<![a-z]:.))[0-9]{0,11}/"
    rb"(?=[0-9][^\s|]{0,48} (?:val|train)_loss))"  # not that of a progress bar
)

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;:?]{0,24}[A-Za-z]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?)")
_FRONT = re.compile(
    rb"(?:\[[^\]\n]{1,60}\]:?\s*"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.,]{5,20}\s*|[0-9]{1,6}:\s+|[0-9]{9,11}\.[0-9]{1,9}\s+)+"
)
_NO_FRONT_OF_BARE = re.compile(rb"(?i)step|iter|epoch|[a-z]\s*$")
_IN_A_NUMBER = b"0123456789+-.,#_()abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LATER = re.compile(
    rb"(?i)(val|validation)[ _/]?(loss|bpb)"
    rb"(?:\W{0,2}for [\w-]{1,40}+|\s?\([^)\n]{1,24}+\))?[\"']?+\s{0,4}+[:=]?+\s{0,4}+(?P<number>"
    + LOSS.encode()
    + rb")"
)
LATER_LITERALS = (
    b"val_loss", b"val_bpb", b"val loss", b"Val BPB", b"Val Loss", b"val BPB", b"val Loss", b"alidation bpb",
    b"alidation BPB", b"alidation loss",
)  # fmt: skip


@dataclass(slots=True)  # not frozen: a log may have hundreds of thousands, and these are made in a fifth of the time
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
class LaterResult:
    """A result that belongs to no step: of quantised or averaged weights, of another evaluation, the least of all."""

    label: str  # the trainer's own words for it, printable
    val_loss: float | None = None
    val_bpb: float | None = None

    @property
    def sentence(self) -> str:
        known = (("val_loss", self.val_loss), ("val_bpb", self.val_bpb))
        return " ".join([self.label, *(f"{name} {value:g}" for name, value in known if value is not None)]).strip()


class Tail(NamedTuple):
    """A field somewhere behind the head: its pattern, and what stands there where it does, in small letters."""

    literals: tuple[bytes, bytes]  # the same twice where there is one
    pattern: re.Pattern[bytes]

    def search(self, line: bytes, behind: bytes, start: int) -> re.Match[bytes] | None:
        first, second = self.literals
        return self.pattern.search(line, start) if first in behind or second in behind else None


@dataclass(frozen=True, slots=True, eq=False)  # one object each: compared, and looked up, by what it is
class LinePattern:
    """One kind of line. `literal` is in every one of them; `pattern` matches where `anchor` stands."""

    kind: Literal["val", "train"]
    literal: bytes
    anchor: bytes
    pattern: re.Pattern[bytes]
    begins: re.Pattern[bytes]  # what a line has that is meant to be of this kind
    tail: tuple[Tail, ...] = ()  # looked for behind it: a name, and its number if that can be read
    needs: str = ""  # the field of the tail without which it is another kind of line
    is_common: bool = False  # many programs write such lines: it says nothing of who did


_Field = tuple[int, int, int, Callable[[bytes], float]]  # which of a Reading, from where, to where, how it is read
_READING = {field.name: number for number, field in enumerate(fields(Reading))}
_NOTHING: list[float | None] = [None] * len(_READING)


class Layout(NamedTuple):
    """Where the numbers of a result stand: the same on every line that differs in its digits only.

    fields: None where the line only begins like a result; in_part: a loss of it is unreadable; at: where it begins.
    """

    form: LinePattern
    at: int
    fields: tuple[_Field, ...] | None
    in_part: bool = False

    def reading(self, line: bytes) -> Reading | None:
        if self.fields is None:
            return None
        values = _NOTHING.copy()
        for number, start, end, read in self.fields:
            values[number] = read(line[start:end])
        return Reading(*values)  # type: ignore[arg-type] # counts are read by int


class LaterLayout(NamedTuple):
    """Where the label and the numbers of a later result stand; see Layout."""

    label: slice
    val_loss: slice | None
    val_bpb: slice | None

    def result(self, line: bytes) -> LaterResult:
        text = line[self.label].decode(errors="replace").strip(" \t:=_-|,")
        if not text.isprintable():
            text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        loss, bpb = (None if at is None else to_number(line[at]) for at in (self.val_loss, self.val_bpb))
        return LaterResult(text[:LABEL_CHARACTERS], loss, bpb)


class Found(NamedTuple):
    """A result on a line. reading: None where the line only begins like one; in_part: a loss of it is unreadable."""

    line: LinePattern
    reading: Reading | None
    prefix: bytes
    in_part: bool = False


_NOWHERE = (-1, -1)
_READ_BY: dict[str, tuple[int, Callable[[bytes], float] | None]] = {  # which of a Reading, and how; None: a number
    **{name: (number, None) for name, number in _READING.items()},
    "step": (_READING["step"], int),
    "total": (_READING["total"], int),
    "time_s": (_READING["time_ms"], lambda text: round(to_number(text) * 1_000, 3)),
    "time_min": (_READING["time_ms"], lambda text: round(to_number(text) * 60_000, 3)),
}
_LOSSES = frozenset({"val_loss", "val_bpb", "val_avg_loss", "val_ema_loss", "train_loss"})
_TAIL = {  # a field: what a line has that holds it, and how it is written
    "val_loss": (("val_loss", "val loss"), rf"(?i:val[_ ]loss)(?:[:= ]{{1,3}}(?P<val_loss>{LOSS}))?"),
    "val_bpb": (("val_bpb", "val bpb"), rf"(?i:val[_ ]bpb)(?:[:= ]{{1,3}}(?P<val_bpb>{LOSS}))?"),
    "val_avg_loss": (("val_avg_loss:",), rf"val_avg_loss:(?P<val_avg_loss>{LOSS})?"),
    "val_ema_loss": (("val_ema_loss:",), rf"val_ema_loss:(?P<val_ema_loss>{LOSS})?"),
    "time_ms": (("train_time", "t:"), rf"(?:train_time[:= ]{{1,3}}|\bt:)(?P<time_ms>{ANY_NUMBER}) ?ms\b"),
    "time_s": (("train_time",), rf"train_time[:= ]{{1,3}}(?P<time_s>{ANY_NUMBER}) ?s\b"),
    "time_min": (("train_time",), rf"train_time[:= ]{{1,3}}(?P<time_min>{ANY_NUMBER}) ?m\b"),
    "avg_ms": (("avg",), rf"\b(?:step_)?avg[:= ]{{1,3}}(?P<avg_ms>{ANY_NUMBER}) ?ms\b"),
    "iter_ms": (("time ",), rf"\btime (?P<step_ms>{ANY_NUMBER}) ?ms\b"),
    "took_ms": (("(took ",), rf"\(took (?P<step_ms>{ANY_NUMBER}) ?ms\b"),
    "bar_ms": (("ms |",), rf"\| ?\(?(?P<step_ms>{ANY_NUMBER}) ms \|"),
    "dt_ms": (("dt:",), rf"\bdt: ?(?P<step_ms>{ANY_NUMBER}) ?ms\b"),
}
_TAILS = {
    name: Tail((literals[0].encode(), literals[-1].encode()), re.compile(pattern.encode()))
    for name, (literals, pattern) in _TAIL.items()
}


def line_pattern(
    kind: Literal["val", "train"], anchor: str, rest: str, literal: str, tail: str = "", *, needs: str = "",
    is_common: bool = False,
) -> LinePattern:  # fmt: skip
    """From the table's language: `@name` a count, `#name` a loss, `~` the end of what such a line begins with."""
    text = re.escape(anchor) + rest
    head = re.sub(r"@(\w+)", lambda m: f"(?P<{m[1]}>{COUNT})", text.replace("~", ""))
    head = re.sub(r"#(\w+)", lambda m: f"(?P<{m[1]}>{LOSS if m[1] in _LOSSES else ANY_NUMBER})", head)
    begins = re.sub(r"[@#]\w+", r"[^\\s|]{0,24}?", text.partition("~")[0])
    tails = tuple(_TAILS[name] for name in sorted(tail.split(), key=lambda name: name != needs))
    return LinePattern(
        kind, literal.encode(), anchor.encode(), re.compile(head.encode()), re.compile(begins.encode()), tails,
        needs, is_common,
    )  # fmt: skip


class Head(NamedTuple):
    """The head that several forms have: no line has two. groups: each with the field of a Reading that it fills;
    words: of them every line has one behind it that holds a field of a tail; bare: the form that needs none."""

    pattern: re.Pattern[bytes]
    groups: tuple[tuple[int, str], ...]
    forms: tuple[LinePattern, ...]
    words: tuple[bytes, ...]
    any_word: re.Pattern[bytes]
    bare: LinePattern | None

    def has_word(self, behind: bytes) -> bool:
        if len(behind) < SHORT_BYTES:
            return self.any_word.search(behind) is not None
        return any(word in behind for word in self.words)


class Heads(NamedTuple):
    """What lines have that begin alike. hears: what all have that one of the forms hears; its last group is the number
    of the first head that the line has, else, counted on, that of the first form that it only begins like."""

    hears: re.Pattern[bytes]
    heads: tuple[Head, ...]
    forms: tuple[LinePattern, ...]


@lru_cache(maxsize=64)
def by_anchor(forms: tuple[LinePattern, ...]) -> dict[bytes, Heads]:
    """The heads by what their lines begin with, nothing for a number."""
    table = {}
    for anchor in {form.anchor for form in forms}:
        ours = [form for form in forms if form.anchor == anchor]
        heads = tuple(
            _head(head, tuple(form for form in ours if form.pattern == head))
            for head in dict.fromkeys(form.pattern for form in ours)
        )
        whole = [re.sub(rb"\(\?P<\w+>", b"(?:", head.pattern.pattern) for head in heads]
        ours = [form for head in heads for form in head.forms]
        hears = re.compile(b"|".join(text + b"()" for text in (*whole, *(form.begins.pattern for form in ours))))
        table[anchor] = Heads(hears, heads, tuple(ours))
    return table


def _head(pattern: re.Pattern[bytes], forms: tuple[LinePattern, ...]) -> Head:
    words = dict.fromkeys(word for form in forms for tail in form.tail for word in tail.literals)
    return Head(
        pattern,
        tuple((group, name) for name, group in pattern.groupindex.items()),
        forms,
        tuple(words),
        re.compile(b"|".join(map(re.escape, words)) or b"(?!)"),
        next((form for form in forms if not form.needs), None),
    )


def plain(line: bytes) -> bytes:
    """What is read of a line: no escapes, no more than READ_BYTES, no number that is cut."""
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    return line if len(line) <= READ_BYTES else line[:READ_BYTES].rstrip(_IN_A_NUMBER)


def read_line(line: bytes, forms: tuple[LinePattern, ...]) -> Found | None:
    """The first result on a line, in the first form that it has; None for chatter."""
    line = plain(line)
    layout = lay_out(line, by_anchor(forms))
    return layout and Found(layout.form, layout.reading(line), line[: layout.at], layout.in_part)


def lay_out(line: bytes, table: dict[bytes, Heads]) -> Layout | None:
    """Where the first result of a plain line stands, in the first form of by_anchor that it has; None for chatter."""
    for number, anchor in enumerate(ANCHOR.finditer(line, 0, PREFIX_BYTES + ANCHOR_BYTES)):
        if number == MAX_ANCHORS or anchor.end() > PREFIX_BYTES:
            break
        at, text = anchor.start(), anchor[0]
        ours = table.get(b"" if text.endswith(b"/") else text)
        if ours is None or (heard := ours.hears.match(line, at)) is None:
            continue
        number_heard = heard.lastindex or 0
        if number_heard > len(ours.heads):
            unread: LinePattern | None = ours.forms[number_heard - len(ours.heads) - 1]
        else:
            for head in ours.heads[number_heard - 1 :]:
                if (match := head.pattern.match(line, at)) and (found := _lay_out(head, match, line, at)):
                    return found
            others = (form for form in ours.forms if not form.pattern.match(line, at))
            unread = next((form for form in others if form.begins.match(line, at)), None)
        if unread is not None and not _is_misplaced(unread, line[:at]):
            return Layout(unread, at, None)
    return None


def _lay_out(head: Head, match: re.Match[bytes], line: bytes, at: int) -> Layout | None:
    """Head and tail; None where a line lacks what every form needs, or stands behind a sentence."""
    if at and _is_misplaced(head.forms[0], line[:at]):
        return None
    end = match.end()
    spans = {name: match.span(group) for group, name in head.groups}
    behind = line[end:].lower()
    if not head.has_word(behind):
        return None if head.bare is None else Layout(head.bare, at, _fields(spans, line))
    for form in head.forms:
        if not form.needs:
            break
        more = form.tail[0].search(line, behind, end)  # what is needed comes first
        if more is not None and more.lastgroup == form.needs:
            break
    else:
        return None
    in_part = False
    for tail in form.tail:
        if (more := tail.search(line, behind, end)) is None:
            continue
        if (name := more.lastgroup) is None:
            in_part = True
        elif spans.get(name, _NOWHERE) == _NOWHERE:
            spans[name] = more.span(name)
    return Layout(form, at, _fields(spans, line), in_part)


def _fields(spans: dict[str, tuple[int, int]], line: bytes) -> tuple[_Field, ...]:
    number = to_number if b"#" in line or b"(" in line else float  # 1.#QNAN, nan(ind)
    found = []
    for name, (start, end) in spans.items():
        if start >= 0:
            index, read = _READ_BY[name]
            found.append((index, start, end, read or number))
    return tuple(found)


def _is_misplaced(form: LinePattern, prefix: bytes) -> bool:
    """A bare `val loss` behind words is part of a sentence, or of a line of another kind."""
    return form.anchor == b"val loss " and _NO_FRONT_OF_BARE.search(prefix) is not None


def to_number(text: bytes) -> float:
    """A number as ANY_NUMBER has it, what is none among them."""
    try:
        return float(text)
    except ValueError:  # 1.#QNAN, nan(ind)
        sign = -1 if text.startswith(b"-") else 1
        return sign * float("inf") if b"inf" in text.lower() else float("nan")


def read_later(line: bytes) -> LaterResult | None:
    """A named loss or bits per byte without a step, for what comes after the last step; None for chatter."""
    line = plain(line)
    layout = lay_out_later(line)
    return layout and layout.result(line)


def lay_out_later(line: bytes) -> LaterLayout | None:
    """Where a later result stands on a plain line, behind what a launcher or a logger put there."""
    match = _LATER.search(line)
    if match is None:
        return None
    start = len(line) - len(line.lstrip())
    if front := _FRONT.match(line, start):
        start = front.end()
        match = _LATER.search(line, start)
    if match is None:
        return None
    label = slice(start, match.start())
    found: dict[bytes, slice] = {}
    for one in _LATER.finditer(line, match.start()):
        found.setdefault(one[2].lower(), slice(*one.span("number")))
        if len(found) == 2:
            break
    return LaterLayout(label, found.get(b"loss"), found.get(b"bpb"))
