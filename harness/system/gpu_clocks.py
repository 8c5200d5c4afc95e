"""The clocks that GPUs ran at between two moments, as nvidia-smi samples them beside a run."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from . import interrupts, processes

EVERY_MS = 500
MAX_BYTES = 16 * 2**20
QUERY = ["nvidia-smi", "--query-gpu=uuid,clocks.sm", "--format=csv,noheader,nounits", "-lms", str(EVERY_MS)]


class ClockSampler:
    """One nvidia-smi that writes a line per GPU and sample to a file; nothing is read before the end."""

    def __init__(self, log: Path) -> None:
        """Starts it, where there is one."""
        self._log, self._began = log, 0
        self._process: subprocess.Popen[bytes] | None = None
        if shutil.which(QUERY[0]) is None:
            return
        with open(log, "wb") as file, interrupts.deferred(), suppress(OSError):
            self._process = subprocess.Popen(
                QUERY, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL,
                preexec_fn=processes.die_with_parent,
            )  # fmt: skip

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def begin(self) -> None:
        """What was sampled so far is of before; costs microseconds."""
        with suppress(OSError):
            self._began = os.stat(self._log).st_size

    def end(self) -> float | None:
        """Stop, and the mean clock in MHz since `begin`, over all GPUs and samples; None without a sample."""
        if self._process is None:
            return None
        self._process.kill()
        self._process.wait()
        self._process = None
        try:
            with open(self._log, "rb") as file:
                file.seek(self._began)
                return mean_clock_mhz(file.read(MAX_BYTES))
        except OSError:
            return None


def mean_clock_mhz(text: bytes) -> float | None:
    """Of lines `uuid, MHz`; the first may be the end of one, and what is no number ("[N/A]", words) is passed over."""
    cells = [line.split(",") for line in text.decode(errors="replace").splitlines()]
    found = [int(pair[1]) for pair in cells if len(pair) == 2 and pair[1].strip().isdecimal()]
    return round(fmean(found), 1) if found else None
