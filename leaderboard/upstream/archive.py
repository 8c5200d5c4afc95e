"""An archive: every run of a track's logs as they are read one by one, and the files that could not be had."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from harness.selftimed.grammars import MODDED_NANOGPT, Reading
from harness.selftimed.logs import read_log
from harness.selftimed.training_log import LoggedRun, TrainingLog

from .checkout import Checkout
from .embedded import digest, size_of, split_source
from .groups import Member
from .history import EmbeddedScript, ImportedRun, Lost, Machine
from .objects import TrackedFile

LOG_SUFFIXES = (".txt", ".log", ".out", ".stdout")
MAX_NUMBER = 10**12
T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class Archive:
    """Every run of a track. Tables hold each value once, with its index."""

    runs: list[Member] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    machines: dict[Machine, int] = field(default_factory=dict)
    scripts: dict[str, int] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)  # by digest
    digests: dict[bytes, str] = field(default_factory=dict)
    traces: dict[str, int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)

    def read(
        self, checkout: Checkout, files: Iterable[TrackedFile], on_file: Callable[[], None] = lambda: None
    ) -> None:
        """Add the runs of these logs; a log that is damaged is lost, whatever of it could be read."""
        for file, chunks in checkout.read(files):
            log = read_log(chunks, MODDED_NANOGPT, with_training=False)
            if file.key in checkout.damage:
                self.lose(file.path, checkout.damage[file.key])
            else:
                self.add(file.path, log)
            on_file()

    def lose(self, path: str, why: str) -> None:
        self.lost.append(Lost(path, why))

    def add(self, path: str, log: TrainingLog) -> None:
        env = log.environment
        machine = Machine(env.gpu, env.gpu_count, env.torch, env.cuda, env.python, env.triton, env.driver)
        script = self.digests.get(log.source)
        if script is None:  # logs of one group embed the same text
            script = self.digests[log.source] = digest(log.source)
        if log.runs:
            self.sources.setdefault(script, log.source)
        for position, logged in enumerate(log.runs):
            self.add_run(path, position, logged, machine, script)

    def add_run(self, path: str, position: int, logged: LoggedRun, machine: Machine, script: str) -> None:
        pure, number, last = PurePosixPath(path), len(self.runs), logged.last
        self.sources.setdefault(script, b"")
        first = self.traces.setdefault(logged.trace_sha256, number)
        time_ms = finite(last.time_ms)
        row = ImportedRun(
            folder=_index(self.folders, str(pure.parent)),
            file=pure.name,
            position=position,
            val_loss=finite(last.val_loss),
            train_time_ms=None if time_ms is None else round(time_ms),
            step=last.step or 0,
            total=last.total,
            validations=len(logged.validations),
            machine=_index(self.machines, machine),
            script=_index(self.scripts, script),
            copy_of=None if first == number else first,
        )
        self.runs.append(Member(number, path, row, logged))

    def add_typed(self, path: str, val_loss: float, time_ms: int, steps: int, machine: Machine) -> None:
        """A run of which only the last line is known."""
        last = Reading(step=steps, total=steps, val_loss=val_loss, time_ms=float(time_ms))
        self.add_run(path, 0, LoggedRun((last,)), machine, "")

    def machine(self, index: int) -> tuple[str, int | None]:
        """GPU and how many."""
        found = list(self.machines)[index]
        return found.gpu, found.gpu_count

    def table_of_scripts(self, committed: frozenset[str] | None) -> tuple[EmbeddedScript, ...]:
        """Each script: its digest, whether it was committed, how much of it there is."""
        found = []
        for sha in self.scripts:
            size = size_of(self.sources[sha])
            found.append(
                EmbeddedScript(sha, is_committed(self.sources[sha], committed), size.files, size.lines, size.size_bytes)
            )
        return tuple(found)


def is_committed(source: bytes, committed: frozenset[str] | None) -> bool | None:
    """Whether every file of an embedded source is a version that was committed."""
    if committed is None or not source:
        return None
    return all(digest(text) in committed for text in split_source(source).values())


def finite(number: float | None) -> float | None:
    """None for what no log of a real run says."""
    return number if number is not None and math.isfinite(number) and abs(number) < MAX_NUMBER else None


def _index(table: dict[T, int], value: T) -> int:
    return table.setdefault(value, len(table))
