"""Utilisation: memory, processor time and GPUs of a process tree, seen from outside."""

import os
import resource
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..system import clock, interrupts, processes
from ..system.clock import NS

LOOK_S = 1.0
TICK_NS = NS // os.sysconf("SC_CLK_TCK")
MAX_GPU_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Of all GPUs, over all samples."""

    samples: int
    mean_utilisation: float
    peak_memory_mib: int


@dataclass(frozen=True, slots=True)
class Use:
    """What a process tree took."""

    peak_memory_bytes: int
    cpu_ns: int
    gpus: GpuUse | None


@dataclass(slots=True)
class Meter:
    """Looks at all descendants of this process, about once a second."""

    peak_memory_bytes: int = 0
    _ticks: dict[tuple[int, str], int] = field(default_factory=dict)  # pid and start -> CPU ticks when last seen
    _reaped_ns: int = field(default_factory=lambda: _reaped_cpu_ns())
    _next_ns: int = 0
    _smi: subprocess.Popen[bytes] | None = None
    _smi_log: IO[bytes] | None = None

    def watch_gpus(self, log: Path) -> None:
        """Start nvidia-smi, where there is one, with its lines in a file."""
        if shutil.which("nvidia-smi") is None:
            return
        argv = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-l", "1"]
        self._smi_log = open(log, "w+b")  # noqa: SIM115 - lives as long as the meter
        with interrupts.deferred(), suppress(OSError):
            self._smi = subprocess.Popen(
                argv, stdout=self._smi_log, stderr=subprocess.DEVNULL, preexec_fn=processes.die_with_parent
            )

    def look(self) -> None:
        """Free of cost until the next look is due."""
        now_ns = clock.now_ns()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + int(LOOK_S * NS)
        watcher = self._smi.pid if self._smi else None
        members = [pid for pid in processes.tree(os.getpid()) if pid != watcher]
        memory = sum(processes.memory_bytes(pid, exactly=True) for pid in members)
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        for pid in members:
            if (seen := _cpu_ticks(pid)) is not None:
                self._ticks[pid, seen[0]] = seen[1]

    def end(self) -> Use:
        """After the last process is dead and reaped."""
        gpus = self._gpus()
        seen_ns, reaped_ns = sum(self._ticks.values()) * TICK_NS, _reaped_cpu_ns() - self._reaped_ns
        return Use(self.peak_memory_bytes, max(seen_ns, reaped_ns), gpus)

    def _gpus(self) -> GpuUse | None:
        if self._smi is not None:
            self._smi.kill()
            self._smi.wait()
        if self._smi_log is None:
            return None
        with self._smi_log as file:
            file.seek(0)
            return read_gpu_samples(file.read(MAX_GPU_BYTES))


def read_gpu_samples(text: bytes) -> GpuUse | None:
    """nvidia-smi's lines `utilisation %, memory MiB`, one per GPU and second; None without one."""
    shares, memory = [], []
    for line in text.decode(errors="replace").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 2 and all(cell.isdigit() for cell in cells):
            shares.append(int(cells[0]) / 100)
            memory.append(int(cells[1]))
    if not shares:
        return None
    return GpuUse(len(shares), round(sum(shares) / len(shares), 4), max(memory))


def _cpu_ticks(pid: int) -> tuple[str, int] | None:
    """Start time and user plus system ticks of a process."""
    try:
        fields = processes.stat_fields(pid)
        return fields[19], int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):  # gone meanwhile
        return None


def _reaped_cpu_ns() -> int:
    """CPU time of children that were waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * NS)
