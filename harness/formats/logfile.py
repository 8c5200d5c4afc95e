"""What the ranks printed, and the train-loss curve: untrusted text, kept within bounds."""

import json
import math
from pathlib import Path
from typing import BinaryIO

from .messages import Log

CUT_MARK = b"\n[the log was cut here: the track's log_bytes are used up]\n"
MAX_CURVE_POINTS = 100_000  # while the run lasts
KEPT_CURVE_POINTS = 256  # afterwards: a record of dozens of runs must stay small


class LogFile:
    """Bytes go to disk as they come, up to a limit."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115 - lives as long as the run
        self._left = limit_bytes
        self.truncated = False

    def write(self, chunk: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        kept = memoryview(chunk)[: self._left]
        self._left -= len(kept)
        if len(kept) < len(chunk) and not self.truncated:
            self.truncated = True
            kept = memoryview(bytes(kept) + CUT_MARK)
        while kept:  # on a disk that is nearly full a write takes a part, and the next one raises
            kept = kept[self._file.write(kept) :]

    def close(self) -> None:
        self._file.close()


class Curve:
    """progress.jsonl: one JSON object per report of rank 0, with the referee's time since GO."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "w+b", buffering=0)  # noqa: SIM115 - lives as long as the run
        self._points = 0

    def write(self, log: Log, elapsed_ns: int) -> None:
        if self._points >= MAX_CURVE_POINTS:
            return
        self._points += 1
        loss = log.train_loss if log.train_loss is not None and math.isfinite(log.train_loss) else None
        point = {"step": log.step, "elapsed_ns": elapsed_ns, "train_loss": loss, "tokens": log.tokens}
        self._file.write((json.dumps(point) + "\n").encode())

    def close(self) -> None:
        """Keep at most KEPT_CURVE_POINTS of the points, evenly, the first and the last among them."""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        if len(lines) > KEPT_CURVE_POINTS:
            kept = b"".join(lines[i * (len(lines) - 1) // (KEPT_CURVE_POINTS - 1)] for i in range(KEPT_CURVE_POINTS))
            self._file.seek(0)
            self._file.write(kept)
            self._file.truncate(len(kept))
        self._file.close()
