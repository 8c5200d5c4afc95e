"""What the ranks printed, and the train-loss curve: untrusted text, kept within bounds."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .messages import Log

CUT_MARK = b"\n[the log was cut here: what stood between its head and its tail was not kept]\n"
MAX_TAIL_BYTES = 8 * 2**20
MAX_CURVE_POINTS = 100_000  # while the run lasts
KEPT_CURVE_POINTS = 256  # afterwards: a record of dozens of runs must stay small


class LogFile:
    """Bytes go to disk as they come, up to a limit; beyond it half of them stay, and the last bytes follow a mark.

    Failures are at the end, so the end is kept. It goes to disk whenever all of it is new, and at the end: a log whose
    referee was killed has an older one. Both parts are whole lines where there are any.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file: BinaryIO = open(path, "w+b", buffering=0)  # noqa: SIM115 - lives as long as the run
        self._left = limit_bytes
        self._most = min(limit_bytes // 2, MAX_TAIL_BYTES)  # bytes of the tail
        self._head_bytes = limit_bytes - self._most
        self._tail, self._new = bytearray(), 0
        self.truncated = False

    def write(self, chunk: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        kept, late = chunk[: self._left], chunk[self._left :]
        if not self.truncated:
            self._put(kept)
            self._left -= len(kept)
        if not late:
            return
        if not self.truncated:
            self.truncated = True
            self._cut()
        self._tail += late
        self._new += len(late)
        if len(self._tail) > 2 * self._most:
            del self._tail[: len(self._tail) - self._most]
        if self._new >= self._most:
            self._put_tail()

    def close(self) -> None:
        if self.truncated:
            with suppress(OSError):  # a disk that is full by now: the mark and an older tail are there
                self._put_tail()
        self._file.close()

    def _cut(self) -> None:
        """The log is longer than it may be: what is behind the last whole line of its head becomes tail."""
        self._file.seek(0)
        head = self._file.read(self._head_bytes)
        self._head_bytes = head.rfind(b"\n") + 1 or len(head)
        self._file.seek(self._head_bytes)
        self._tail += self._file.read()
        self._new = self._most

    def _put_tail(self) -> None:
        tail = bytes(self._tail[len(self._tail) - min(self._most, len(self._tail)) :])
        newline = tail.find(b"\n")
        self._file.seek(self._head_bytes)
        self._put(CUT_MARK + tail[newline + 1 if 0 <= newline < len(tail) // 2 else 0 :])
        self._file.truncate()
        self._new = 0

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # on a disk that is nearly full a write takes a part, and the next one raises
            left = left[self._file.write(left) :]


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
