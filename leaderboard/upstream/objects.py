"""Objects: the files of a repository as git gives them, each checked against its own name while it is read.

A repository is a stranger's. An object may be missing, emptied, cut, or hold something else than its name says; git may
end over one, or wait for ever. Whatever cannot be had is named and the next file read; nothing here waits without end.
"""

import hashlib
import os
import select
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import UserError
from harness.selftimed.logs import CHUNK_BYTES

AHEAD = 32  # files asked for before their turn; their names fit into the smallest pipe
QUIET_S = 60.0  # without a byte from git
MAX_QUIET = 2  # files over which git may fall silent before all is given up
MISSING = "the repository does not have it"
UNREADABLE = "its object is emptied, cut or damaged"
SILENT = "git gave no answer for it"
LYING = "its object holds something else than its name says"
NO_FILE = "its object is no file"


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """A file: its path, its size, and the git object that holds it (empty in a plain folder)."""

    path: str
    size_bytes: int
    blob: str

    @property
    def key(self) -> str:
        """What damage is noted under."""
        return self.path or self.blob


class _EndedError(Exception):
    """git ended in the middle of an answer."""


class _QuietError(Exception):
    """git stopped answering."""


class _CatFile:
    """One git process for many files: a name goes in, an object comes out."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            bufsize=0,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._kept = b""

    def ask(self, blob: str) -> None:
        with suppress(BrokenPipeError):  # its end is met where the answer is read
            os.write(self._requests, blob.encode() + b"\n")

    def header(self) -> list[bytes]:
        while b"\n" not in self._kept:
            self._kept += self._more()
        line, _, self._kept = self._kept.partition(b"\n")
        return line.split()

    def exactly(self, size: int) -> Iterator[bytes]:
        """So many bytes, in chunks of CHUNK_BYTES but for the last."""
        while size:
            wanted, parts, got = min(size, CHUNK_BYTES), [], 0
            while got < wanted:
                piece = self._kept or self._more()
                parts.append(piece[: wanted - got])
                self._kept = piece[wanted - got :]
                got += len(parts[-1])
            yield b"".join(parts)
            size -= wanted

    def _more(self) -> bytes:
        if not self._poll.poll(QUIET_S * 1000):
            raise _QuietError
        if not (chunk := os.read(self._answers, CHUNK_BYTES)):
            raise _EndedError
        return chunk

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _size(header: list[bytes], blob: str) -> int:
    if len(header) != 3 or header[0] != blob.encode() or not header[2].isdigit():
        raise _EndedError
    return int(header[2])


class Reader:
    """Files of one repository, read in turn; `damage` says of each that could not be had why."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], damage: dict[str, str]) -> None:
        self._command, self._environment, self._damage = command, environment, damage
        self._quiet = 0

    def read(self, files: Iterable[TrackedFile]) -> Iterator[tuple[TrackedFile, Iterator[bytes]]]:
        """Each file with its bytes in chunks; the chunks of one are gone when the next is asked for.

        Whether they were all and the right ones is known when they are at an end: then `damage` says so.
        """
        coming, waiting = iter(files), deque[TrackedFile]()
        git: _CatFile | None = None
        try:
            while True:
                if git is None:
                    git = _CatFile(self._command, self._environment)
                    for file in waiting:
                        git.ask(file.blob)
                while len(waiting) < AHEAD and (new := next(coming, None)) is not None:
                    waiting.append(new)
                    git.ask(new.blob)
                if not waiting:
                    return
                file = waiting.popleft()
                chunks = self._chunks(git, file)
                yield file, chunks
                for _ in chunks:  # whatever the reader left
                    pass
                if self._damage.get(file.key, MISSING) != MISSING:  # what follows may be anything
                    git.close()
                    git = None
        finally:
            if git is not None:
                git.close()

    def _count_quiet(self) -> None:
        self._quiet += 1
        if self._quiet > MAX_QUIET:
            found = f"found it silent over {self._quiet} files; run git fsck there"
            raise UserError(f"expected git to answer within {QUIET_S:g} s, {found}")

    def _chunks(self, git: _CatFile, file: TrackedFile) -> Iterator[bytes]:
        try:
            header = git.header()
            if header[1:] == [b"missing"]:
                self._damage[file.key] = MISSING
                return
            size = _size(header, file.blob)
            check = hashlib.sha1(usedforsecurity=False) if len(file.blob) == 40 else hashlib.sha256()
            check.update(b"%s %d\0" % (header[1], size))
            for chunk in git.exactly(size):
                check.update(chunk)
                yield chunk
            for _ in git.exactly(1):  # the line's end
                pass
        except _EndedError:
            self._damage[file.key] = UNREADABLE
        except _QuietError:
            self._damage[file.key] = SILENT
            self._count_quiet()
        else:
            if header[1] != b"blob":
                self._damage[file.key] = NO_FILE
            elif check.hexdigest() != file.blob:
                self._damage[file.key] = LYING
