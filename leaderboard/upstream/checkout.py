"""A checkout: the files of a work tree, a bare repository or a folder.

Nothing of the repository is executed: git is called for plumbing only, no hook, filter, pager, signature program or
transport of its configuration comes into play, and what git prints is treated as bytes. What counts is the commit; the
work tree's own files are not looked at.
"""

import os
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import UserError
from harness.selftimed.logs import CHUNK_BYTES, file_chunks

MAX_FILES = 200_000
AHEAD = 32  # files asked for before their turn; their names fit into the smallest pipe
MAX_TEXT_BYTES = 4 * 2**20
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1",
}  # fmt: skip
_OPTIONS = (
    "core.fsmonitor=false",
    "log.showSignature=false",
    "protocol.allow=never",
    "diff.external=",
    "core.pager=cat",
    "safe.directory=*",  # a mounted repository of somebody else: nothing of its configuration runs
)


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """A file: its path, its size, and the git object that holds it (empty in a plain folder)."""

    path: str
    size_bytes: int
    blob: str


class Checkout:
    """Files by path. `commit` is empty for a plain folder, which has no history."""

    def __init__(self, root: Path, revision: str = "HEAD") -> None:
        """Raises UserError where there is neither a repository nor a folder."""
        if not root.is_dir():
            raise UserError(f"expected a work tree, a bare repository or a folder, found none at {root}")
        self.root = root
        self._is_git = (root / ".git").exists() or ((root / "HEAD").is_file() and (root / "objects").is_dir())
        self.commit = ""
        if self._is_git:
            self.commit = (
                self._git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
            )

    def files(self, under: str) -> list[TrackedFile]:
        """Every file at or below a path, in order. Links and submodules are left out."""
        found = list(self._tracked(under) if self._is_git else self._found(under))
        if len(found) > MAX_FILES:
            raise UserError(f"expected at most {MAX_FILES:,} files, found {len(found):,} in {self.root}")
        return sorted(found, key=lambda file: file.path)

    def read(self, files: Iterable[TrackedFile]) -> Iterator[tuple[TrackedFile, Iterator[bytes]]]:
        """Each file with its bytes in chunks; the chunks of one are gone when the next is asked for.

        A file that is listed but lost (a snapshot without its largest objects) has no chunks.
        """
        if self._is_git:
            yield from self._read_objects(files)
            return
        for file in files:
            yield file, file_chunks(self.root / file.path)

    def text(self, path: str) -> str:
        """One small text file. Raises UserError where it is missing or too big."""
        for file, chunks in self.read([f for f in self.files(path) if f.path == path]):
            if file.size_bytes > MAX_TEXT_BYTES:
                raise UserError(f"expected at most {MAX_TEXT_BYTES:,} bytes, found {file.size_bytes:,} in {path}")
            return b"".join(chunks).decode(errors="replace")
        raise UserError(f"expected {path} in the checkout {self.root}, found no such file")

    def past_blobs(self, paths: tuple[str, ...]) -> set[str]:
        """Every git object that one of these paths ever was on the way to `commit`; none for a plain folder."""
        if not self._is_git:
            return set()
        options = (
            "--raw",
            "--no-abbrev",
            "--no-renames",
            "--format=",
            "-z",
            "-m",
            "--no-show-signature",
            "--no-ext-diff",
        )
        fields = self._git("log", *options, self.commit, "--", *paths).split(b"\0")
        headers = (field.split() for field in fields if field.startswith(b":"))
        return {words[3].decode() for words in headers if len(words) == 5 and set(words[3]) != {ord("0")}}

    def _git(self, *argv: str) -> bytes:
        try:
            done = subprocess.run(self._command(*argv), capture_output=True, env=_environment(), check=False)
        except FileNotFoundError:
            raise UserError("expected the program git to read a repository, found none on PATH; install git") from None
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            said = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in lines[0][:300])
            raise UserError(f"expected a readable git repository at {self.root}, found: {said}")
        return done.stdout

    def _command(self, *argv: str) -> list[str]:
        return ["git", "-C", str(self.root), *(word for option in _OPTIONS for word in ("-c", option)), *argv]

    def _tracked(self, under: str) -> Iterator[TrackedFile]:
        listing = self._git("ls-tree", "-r", "-l", "-z", "--full-tree", self.commit, "--", under)
        for entry in listing.split(b"\0"):
            head, _, path = entry.partition(b"\t")
            words = head.split()
            if len(words) == 4 and words[1] == b"blob" and words[0] != b"120000":
                size = int(words[3]) if words[3].isdigit() else 0
                yield TrackedFile(path.decode(errors="replace"), size, words[2].decode())

    def _found(self, under: str) -> Iterator[TrackedFile]:
        top = self.root / under
        walk = os.walk(top, followlinks=False) if top.is_dir() else [(str(top.parent), [], [top.name])]
        for folder, _, names in walk:
            for path in (Path(folder, name) for name in names):
                if path.is_file() and not path.is_symlink():
                    yield TrackedFile(path.relative_to(self.root).as_posix(), path.stat().st_size, "")

    def _read_objects(self, files: Iterable[TrackedFile]) -> Iterator[tuple[TrackedFile, Iterator[bytes]]]:
        with self._cat_file() as (requests, answers):
            for file in _asked_ahead(files, requests):
                header = answers.readline().split()
                found = len(header) == 3 and header[1] == b"blob"
                chunks = _exactly(answers, int(header[2])) if found else iter(())
                yield file, chunks
                for _ in chunks:  # whatever the reader left
                    pass
                if found:
                    answers.read(1)

    @contextmanager
    def _cat_file(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """One git process for all files: a name goes in, an object comes out."""
        process = subprocess.Popen(
            self._command("cat-file", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()
            process.communicate()


def _environment() -> dict[str, str]:
    """Without what a hook of git, say, has told its children of another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT


def _asked_ahead(files: Iterable[TrackedFile], requests: IO[bytes]) -> Iterator[TrackedFile]:
    """The files, each asked for some files before its turn, so that git never waits for us. Names fit in a pipe."""
    asked: deque[TrackedFile] = deque()
    for file in files:
        requests.write(file.blob.encode() + b"\n")
        asked.append(file)
        if len(asked) >= AHEAD:
            requests.flush()
            yield asked.popleft()
    requests.flush()
    yield from asked


def _exactly(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise UserError("expected git cat-file to give a whole object, found its end too early; run git fsck")
        size -= len(chunk)
        yield chunk
