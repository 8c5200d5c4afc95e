"""What one training log says: runs, environment, source and oddities, as values."""

import hashlib
from dataclasses import dataclass

from .grammars import Grammar
from .lines import LaterResult, Reading


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
    later: tuple[LaterResult, ...] = ()  # named results behind the last step

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
    is_certain: bool  # whether only that kind of trainer writes such lines
    runs: tuple[LoggedRun, ...]
    environment: LogEnvironment
    source: bytes  # the embedded script, empty where there is none
    peak_memory_mib: int | None
    size_bytes: int
    oddities: tuple[Oddity, ...]
    prefix: bytes = b""  # the shape of what stands before its result lines
    rank: bytes = b""  # whose lines count, where several ranks print
