"""The ledger of a campaign: an append-only file whose every line holds the digest of the line before it.

The first entry is the plan. Every attempt is entered before its process starts and its outcome afterwards, with the
digests of its files, so that no run can be left out, added, exchanged or moved without breaking the chain.
The last entry of a finished campaign carries a seal of itself. Whoever can rewrite all lines can forge a whole
ledger; against that there are signatures, not chains.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, TypeAdapter, ValidationError, model_serializer

from data.files import locked, sync_folder

from ..errors import RecordError, UserError, first_problem
from ..formats import layout
from ..formats.run import Finding, Section, Sha256, full_disk_is_a_failure
from ..status import Status
from ..system import clock
from ..system.plainfile import read_plain
from .campaign import Plan, fills_slot
from .languages import keeps_promise, pair_of

NO_LINE = "0" * 64  # the digest before the first line
MAX_LEDGER_BYTES = 8 * 2**20
RunId = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{6}$")]


class _Entry(Section):
    seq: Annotated[int, Field(ge=0)]
    prev: Sha256
    at: datetime


class PlanEntry(_Entry):
    """The campaign as it was planned."""

    kind: Literal["plan"] = "plan"
    plan: Plan


class AttemptEntry(_Entry):
    """A run is about to be started."""

    kind: Literal["attempt"] = "attempt"
    slot: int
    run_id: RunId


class OutcomeEntry(_Entry):
    """What became of the attempt before it; files: what is evidence of it, where it exists."""

    kind: Literal["outcome"] = "outcome"
    slot: int
    run_id: RunId
    status: Status
    files: dict[Literal["run.json", "progress.jsonl", "legacy.json", "log.txt"], Sha256]


class ResumedEntry(_Entry):
    """The campaign was taken up again. reopens: the slot of an open pair that starts anew, its machine being gone."""

    kind: Literal["resumed"] = "resumed"
    sentence: str
    reopens: Annotated[int, Field(ge=0)] | None = None

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Entries that reopen nothing are written as they were before any did."""
        fields: dict[str, Any] = write(self)
        if self.reopens is None:
            fields.pop("reopens", None)
        return fields


class ClosedEntry(_Entry):
    """Every slot is filled; nothing follows. seal: the digest of this very line, written with an empty seal."""

    kind: Literal["closed"] = "closed"
    attempts: int
    languages: Sha256 | None = None  # the secret whose digest the plan holds, revealed now that nothing can use it
    seal: Sha256 | Literal[""]

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Entries without a secret are written as they were before there were any."""
        fields: dict[str, Any] = write(self)
        if self.languages is None:
            fields.pop("languages", None)
        return fields


Entry = Annotated[PlanEntry | AttemptEntry | OutcomeEntry | ResumedEntry | ClosedEntry, Field(discriminator="kind")]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger, read. problems: everything that is wrong with it, as error-level findings."""

    entries: tuple[Entry, ...]
    head_sha256: str  # of the last whole line
    problems: tuple[Finding, ...]
    torn_bytes: int = 0  # behind the last whole line

    @property
    def plan(self) -> Plan | None:
        first = self.entries[0] if self.entries else None
        return first.plan if isinstance(first, PlanEntry) else None

    @property
    def attempts(self) -> tuple[tuple[AttemptEntry, OutcomeEntry | None], ...]:
        """Every attempt in order, with what became of it; None: not known (yet)."""
        outcomes = {e.run_id: e for e in self.entries if isinstance(e, OutcomeEntry)}
        return tuple((e, outcomes.get(e.run_id)) for e in self.entries if isinstance(e, AttemptEntry))

    @property
    def filling(self) -> frozenset[str]:
        """The runs that fill their slots: of each slot the first that may, unless it was reopened."""
        found: dict[int, str] = {}
        for entry in self.entries:
            if isinstance(entry, OutcomeEntry) and fills_slot(entry.status):
                found.setdefault(entry.slot, entry.run_id)
            elif isinstance(entry, ResumedEntry) and entry.reopens is not None:
                found.pop(entry.reopens, None)
        return frozenset(found.values())

    @property
    def closed(self) -> bool:
        return bool(self.entries) and isinstance(self.entries[-1], ClosedEntry)

    @property
    def languages(self) -> str | None:
        """The secret that the runs' languages follow from, once it is revealed."""
        last = self.entries[-1] if self.entries else None
        return last.languages if isinstance(last, ClosedEntry) else None

    def repeats(self, number: int) -> int:
        """How often a run of the pair of this attempt, by its place among all attempts, was tried in vain before it."""
        assert self.plan is not None
        pairs = {slot.index: pair_of(slot) for slot in self.plan.slots}
        attempts = self.attempts[: number + 1]
        place = pairs[attempts[-1][0].slot]
        before = [outcome for entry, outcome in attempts[:-1] if pairs.get(entry.slot) == place]
        return sum(outcome is None or not fills_slot(outcome.status) for outcome in before)


def read_ledger(path: Path) -> Ledger:
    """Read and check a ledger: form, chain, seal, order. Raises RecordError when no file can be read."""
    *lines, torn = read_plain(path, MAX_LEDGER_BYTES, RecordError).split(b"\n")
    entries: list[Entry] = []
    problems: list[Finding] = []
    prev = NO_LINE
    for number, line in enumerate(lines):
        entry = _read_line(line, number, prev, problems)
        prev = digest(line)
        if entry is not None:
            entries.append(entry)
    if torn:
        problems.append(
            Finding.error("ledger_truncated", "the last line is cut off", "a whole line", f"{len(torn)} bytes")
        )
    problems += StateMachine().read(entries)
    return Ledger(tuple(entries), prev, tuple(problems), len(torn))


def digest(line: bytes) -> str:
    """Of a line without its newline."""
    return hashlib.sha256(line).hexdigest()


def encode(entry: Entry) -> bytes:
    """The one line, without newline, that stands for an entry."""
    return json.dumps(entry.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _read_line(line: bytes, number: int, prev: str, problems: list[Finding]) -> Entry | None:
    """An entry, or None and a problem. An entry with a wrong digest, number or form is a problem too."""
    try:
        entry = _ENTRY.validate_json(line)
    except ValidationError as error:
        problems.append(
            Finding.error("ledger_chain", f"line {number + 1} is no entry", "an entry", first_problem(error))
        )
        return None
    if entry.prev != prev:
        sentence = f"line {number + 1} does not continue the line before it"
        problems.append(Finding.error("ledger_chain", sentence, f"prev {prev[:12]}", f"prev {entry.prev[:12]}"))
    if entry.seq != number:
        problems.append(Finding.error("ledger_chain", f"line {number + 1} is misnumbered", f"{number}", f"{entry.seq}"))
    if encode(entry) != line:
        sentence = f"line {number + 1} is not written as the harness writes it"
        problems.append(Finding.error("ledger_chain", sentence, digest(encode(entry))[:12], digest(line)[:12]))
    if isinstance(entry, ClosedEntry) and entry.seal != (seal := _seal(entry)):
        problems.append(
            Finding.error("ledger_chain", "the seal of the last line is broken", seal[:12], entry.seal[:12])
        )
    return entry


def _seal(entry: ClosedEntry) -> str:
    return digest(encode(entry.model_copy(update={"seal": ""})))


@dataclass(slots=True)
class StateMachine:
    """The rules of a campaign as a state machine over its entries: what may follow what."""

    plan: Plan | None = None
    attempts: int = 0
    filled: int = 0  # slots; the next one to fill has this index
    running: AttemptEntry | None = None
    closed: bool = False
    seen: set[str] = field(default_factory=set)

    def read(self, entries: list[Entry]) -> list[Finding]:
        """Every entry that breaks the order, as findings."""
        problems = []
        for number, entry in enumerate(entries, start=1):
            wrong = self.step(entry)
            if wrong is not None:
                expected, found = wrong
                problems.append(Finding.error("ledger_order", f"entry {number} is out of order", expected, found))
        return problems

    def step(self, entry: Entry) -> tuple[str, str] | None:
        """Take one entry in; what was expected and what was found, where it may not follow."""
        if self.closed:
            return "nothing after the closing entry", entry.kind
        if (self.plan is None) != isinstance(entry, PlanEntry):
            return "the plan first, and once", entry.kind
        match entry:
            case PlanEntry():
                self.plan = entry.plan
            case AttemptEntry():
                return self._attempt(entry)
            case OutcomeEntry():
                return self._outcome(entry)
            case ResumedEntry(reopens=int()):
                return self._reopen(entry)
            case ClosedEntry():
                return self._close(entry)
        return None

    def _attempt(self, entry: AttemptEntry) -> tuple[str, str] | None:
        assert self.plan is not None
        self.attempts += 1
        running, self.running = self.running, entry
        if running is not None:
            return f"the outcome of {running.run_id}", f"an attempt, {entry.run_id}"
        if entry.run_id in self.seen:
            return "another run id for every attempt", entry.run_id
        self.seen.add(entry.run_id)
        if entry.slot != self.filled or entry.slot >= len(self.plan.slots):
            return f"an attempt at slot {self.filled} of {len(self.plan.slots)}", f"slot {entry.slot}"
        return None

    def _outcome(self, entry: OutcomeEntry) -> tuple[str, str] | None:
        running, self.running = self.running, None
        expected = None if running is None else (running.slot, running.run_id)
        if expected != (entry.slot, entry.run_id):
            return f"the outcome of {expected}" if expected else "an attempt", f"the outcome of {entry.run_id}"
        self.filled += fills_slot(entry.status)
        return None

    def _reopen(self, entry: ResumedEntry) -> tuple[str, str] | None:
        """Only the first run of the one pair that is open may start anew, and only between two attempts."""
        assert self.plan is not None
        is_open = len(self.plan.arms) == 2 and self.filled % 2 == 1 and self.running is None
        if not is_open or entry.reopens != self.filled - 1:
            return "the slot of an open pair to start anew", f"slot {entry.reopens} with {self.filled} filled"
        self.filled -= 1
        return None

    def _close(self, entry: ClosedEntry) -> tuple[str, str] | None:
        assert self.plan is not None
        self.closed = True
        if self.running is not None or self.filled != len(self.plan.slots):
            return f"{len(self.plan.slots)} filled slots before the end", f"{self.filled}"
        if entry.attempts != self.attempts:
            return f"{self.attempts} attempts", f"{entry.attempts}"
        if not keeps_promise(entry.languages, self.plan.languages_sha256):
            return f"the secret of digest {self.plan.languages_sha256}", f"{entry.languages}"
        return None


class Writer:
    """Appends to a ledger; every entry is on disk when `append` returns."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path, self._prev, self._seq = path, ledger.head_sha256, len(ledger.entries)

    def plan(self, plan: Plan) -> None:
        self._append(PlanEntry(plan=plan, **self._next()))

    def attempt(self, slot: int, run_id: str) -> None:
        self._append(AttemptEntry(slot=slot, run_id=run_id, **self._next()))

    def outcome(self, slot: int, run_id: str, status: Status, files: dict[str, str]) -> None:
        self._append(OutcomeEntry.model_validate(
            {"slot": slot, "run_id": run_id, "status": status, "files": files, **self._next()}
        ))  # fmt: skip

    def resumed(self, sentence: str, reopens: int | None = None) -> None:
        self._append(ResumedEntry(sentence=sentence, reopens=reopens, **self._next()))

    def close(self, attempts: int, languages: str | None = None) -> None:
        entry = ClosedEntry(attempts=attempts, languages=languages, seal="", **self._next())
        self._append(entry.model_copy(update={"seal": _seal(entry)}))

    def _next(self) -> dict[str, Any]:
        return {"seq": self._seq, "prev": self._prev, "at": clock.utc_now()}

    def _append(self, entry: Entry) -> None:
        line = encode(entry)
        with full_disk_is_a_failure(), self._path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._prev, self._seq = digest(line), self._seq + 1


def create_ledger(folder: Path, plan: Plan) -> None:
    """The first entry of a new campaign: the plan, durably, before anything else happens."""
    path = folder / layout.LEDGER_FILE
    path.touch(exist_ok=False)
    Writer(path, Ledger((), NO_LINE, ())).plan(plan)
    sync_folder(folder)


@contextmanager
def open_ledger(folder: Path) -> Iterator[tuple[Ledger, Writer]]:
    """Hold a campaign alone and continue its ledger; a line that a crash has torn is cut off, and only that.

    Raises UserError while another process conducts the campaign, RecordError when the ledger is broken.
    """
    path = folder / layout.LEDGER_FILE
    if not path.is_file():
        raise RecordError(f"expected a campaign folder with a {layout.LEDGER_FILE}, found none at {folder}")

    def refuse() -> None:
        raise UserError(f"expected a campaign that rests, found another process at work on {folder}; wait for it")

    with locked(path, on_wait=refuse):
        ledger = read_ledger(path)
        broken = [problem for problem in ledger.problems if problem.id != "ledger_truncated"]
        if broken or ledger.plan is None:
            sentence = broken[0].sentence if broken else "it holds no plan"
            raise RecordError(f"expected a whole ledger at {path}, found that {sentence}; start another campaign")
        if ledger.torn_bytes:
            os.truncate(path, path.stat().st_size - ledger.torn_bytes)
        yield ledger, Writer(path, ledger)
