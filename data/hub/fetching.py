"""Fetching: one file on its way from the Hub to its place.

Bytes go to `.FILE.<sha256>.part` beside the place. A part gets its final name only when its length, digest and
header are right; a killed fetch goes on where its part ends, in any later process.
"""

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .. import digests
from ..errors import DataError
from ..files import sync_folder
from ..shards import read_header
from . import client

_MAX_STALLS = 5  # attempts in a row that bring no byte
_MAX_ATTEMPTS = 100  # at all: each may bring a few bytes
_MAX_WRONG = 3  # whole files with another digest


class DownloadObserver:
    """What a download tells whoever watches; called from several threads."""

    def total(self, count: int) -> None:
        """So many bytes will be fetched in all."""

    def advance(self, count: int) -> None:
        """So many bytes more have arrived, or fewer where some had to be thrown away."""

    def say(self, sentence: str) -> None:
        """Something happened that a person wants to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One file to fetch."""

    remote: client.RemoteFile
    path: Path

    @property
    def part(self) -> Path:
        """Where its bytes gather; named by what they should be, so that other bytes never mix in."""
        return self.path.with_name(f".{self.path.name}.{self.remote.sha256[:16]}.part")

    @property
    def present_bytes(self) -> int:
        """How much of it has arrived."""
        return self.part.stat().st_size if self.part.exists() else 0


def set_aside(task: Task, path: Path, found: str, watcher: DownloadObserver) -> None:
    """Keep wrong bytes for a look at them, out of the way, and say so."""
    corrupt = task.path.with_name(f"{task.path.name}.corrupt")
    path.replace(corrupt)
    watcher.say(f"{task.path.name}: expected sha256 {task.remote.sha256}, found {found}; set aside as {corrupt.name}")


class _Stopped(Exception):
    """Another file failed, or a person pressed Ctrl-C."""


class Fetch:
    """One file on its way."""

    def __init__(self, listing: client.Listing, task: Task, watcher: DownloadObserver, stop: threading.Event) -> None:
        self._listing, self._task, self._watcher, self._stop = listing, task, watcher, stop
        self._hasher, self._done = hashlib.sha256(), 0

    def run(self) -> None:
        """Fetch until the digest is right; DataError when it stays wrong or the Hub stays away."""
        try:
            for _ in range(_MAX_WRONG):
                found = self._fetch_whole()
                if found == self._task.remote.sha256:
                    self._finish(found)
                    return
                set_aside(self._task, self._task.part, found, self._watcher)
                self._watcher.advance(-self._task.remote.bytes)
            raise DataError(
                f"{self._task.path.name}: expected sha256 {self._task.remote.sha256}, found {found} in the last of "
                f"{_MAX_WRONG} downloads; something between here and {client.endpoint()} changes bytes, try another "
                "network."
            )
        except _Stopped:
            return
        except OSError as error:
            raise DataError(
                f"{self._task.part}: expected to write {self._task.remote.bytes:,} bytes, found '{error.strerror}'; "
                "mend that and run the command again, what has arrived is kept."
            ) from error

    def _fetch_whole(self) -> str:
        """Append to the part until it is as long as the file should be; return the part's sha256."""
        with self._task.part.open("r+b" if self._task.part.exists() else "w+b", buffering=0) as part:
            self._take_up(part)
            stalls = 0
            for attempt in range(_MAX_ATTEMPTS):
                before = self._done
                try:
                    if self._done < self._task.remote.bytes:
                        self._append(part)
                    os.fsync(part.fileno())
                    return self._hasher.hexdigest()
                except client.TransientError as error:
                    stalls = 0 if self._done > before else stalls + 1
                    if stalls >= _MAX_STALLS or attempt == _MAX_ATTEMPTS - 1:
                        raise self._given_up(error, attempt + 1) from error
                    if self._stop.wait(client.backoff_s(stalls, error) if stalls or error.wait_s else 0):
                        raise _Stopped from error
            raise AssertionError("unreachable")

    def _given_up(self, error: client.TransientError, attempts: int) -> DataError:
        return DataError(
            f"{self._task.path.name}: expected {self._task.remote.bytes:,} bytes, found {error} after {self._done:,} "
            f"bytes and {attempts} attempts; run the command again later, it goes on from there."
        )

    def _take_up(self, part: BinaryIO) -> None:
        """Hash what an earlier process left; a part that is too long is thrown away."""
        self._hasher, self._done = hashlib.sha256(), 0
        if os.fstat(part.fileno()).st_size > self._task.remote.bytes:
            part.truncate(0)
        while block := part.read(client.BLOCK_BYTES):
            self._hasher.update(block)
            self._done += len(block)

    def _append(self, part: BinaryIO) -> None:
        with client.open_from(self._listing, self._task.remote, self._done) as (offset, blocks):
            if offset != self._done:
                self._start_over(part)
            for block in blocks:
                if self._stop.is_set():
                    raise _Stopped
                if self._done + len(block) > self._task.remote.bytes:
                    self._start_over(part)
                    raise client.TransientError("more bytes than that")
                part.write(block)
                self._hasher.update(block)
                self._done += len(block)
                self._watcher.advance(len(block))
        if self._done < self._task.remote.bytes:
            raise client.TransientError("the end")

    def _start_over(self, part: BinaryIO) -> None:
        self._watcher.advance(-self._done)
        part.seek(0)
        part.truncate(0)
        self._hasher, self._done = hashlib.sha256(), 0

    def _finish(self, sha256: str) -> None:
        read_header(self._task.part)
        self._task.part.replace(self._task.path)
        sync_folder(self._task.path.parent)
        digests.remember(self._task.path, sha256)
