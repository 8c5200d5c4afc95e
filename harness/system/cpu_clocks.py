"""The clocks of this process's cores: governor and limits, where the kernel shows any; virtual machines show none."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class CpuClocks:
    """Over some cores. None: not to be seen."""

    governor: str | None  # several in a row where cores differ
    limit_mhz: float | None  # the lowest to which a core is held
    most_mhz: float | None  # the highest that a core can run at


def read_cpu_clocks(cores: Iterable[int] | None = None, root: Path = ROOT) -> CpuClocks:
    """Of these cores, or of all this process may use. root: the folder with cpu0, cpu1 and so on."""
    folders = [root / f"cpu{core}" / "cpufreq" for core in sorted(os.sched_getaffinity(0) if cores is None else cores)]
    governors = {text for folder in folders if (text := _text(folder / "scaling_governor"))}
    limits = [mhz for folder in folders if (mhz := _mhz(folder / "scaling_max_freq")) is not None]
    most = [mhz for folder in folders if (mhz := _mhz(folder / "cpuinfo_max_freq")) is not None]
    return CpuClocks(", ".join(sorted(governors)) or None, min(limits, default=None), max(most, default=None))


def _mhz(file: Path) -> float | None:
    """Of a file in kHz."""
    text = _text(file)
    return int(text) / 1000 if text.isdecimal() and 0 < len(text) < 12 and int(text) else None


def _text(file: Path) -> str:
    with suppress(OSError, ValueError):
        return file.read_text().strip()
    return ""
