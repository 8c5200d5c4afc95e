"""What one sandboxed process gets to see, and how much of the machine it may use."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything that runs in one process tree together; beyond them its processes are killed."""

    memory_bytes: int = 2**36  # with what lies in HOME, TMP and /dev/shm, where those are memory
    processes: int = 4096  # and threads

    @property
    def scratch_bytes(self) -> int:
        """The size of each place a process tree can write files to."""
        return self.memory_bytes // 4

    def within_this_machine(self) -> "Limits":
        """The same, leaving a tenth of the memory here to everybody else."""
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Limits(memory_bytes=min(self.memory_bytes, installed * 9 // 10), processes=self.processes)

    def shared_by(self, trees: int) -> "Limits":
        """One of so many equal parts: two evaluators with one limit could feel each other at it."""
        return Limits(memory_bytes=self.memory_bytes // trees, processes=self.processes // trees)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one sandboxed process gets to see besides the system's libraries and a compiler (software.py)."""

    python: Path | None = None  # the interpreter; None: this one
    packages: tuple[str, ...] | None = None  # distributions that are shown, with what they require; None: all
    readable: tuple[Path, ...]  # files and folders, read-only, at their own paths
    hidden: tuple[Path, ...] = ()  # folders shown empty even where the system's are seen, but for what is readable
    writable: tuple[Path, ...] = ()  # keep what is written: of self-timed scripts; a TMPDIR of ranks
    home: Path  # an empty folder outside; inside, a fresh memory file system
    software: Path | None = None  # a copy of what is shown of the machine, seen in its place (at `namespaces`)
    own: Path | None = None  # a folder of copies of what is readable, seen in its place, likewise
    environment: dict[str, str] = field(default_factory=dict)
    cuda: bool = False
    pinned: bool = False  # to the cores it is started on, which are the track's
    evaluator: bool = False  # then also shut what two evaluators could signal each other with
    limits: Limits = field(default_factory=Limits)
