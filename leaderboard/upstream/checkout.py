"""A checkout: the files of a work tree, a bare repository or a folder, and the heads of its pull requests.

Nothing of the repository is executed: git is called for plumbing only, no hook, filter, pager, signature program or
transport of its configuration comes into play, and what git prints is treated as bytes. What counts is the commit; the
work tree's own files are not looked at.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.selftimed.logs import file_chunks

from .objects import Reader, TrackedFile

MAX_FILES = 200_000
MAX_HEADS = 20_000
MAX_TEXT_BYTES = 4 * 2**20
GIT_S = 300.0  # for one answer that is not a file
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


_HEAD = re.compile(r"refs/(?:pull|remotes/[^/]{1,80}/(?:pull|pr))/(\d{1,7})(/head|/merge|)\Z")


@dataclass(frozen=True, slots=True)
class PullHead:
    """The last commit of a pull request, as the checkout fetched it."""

    number: int
    commit: str
    has_merge: bool  # a trial merge is beside it: it was open, and without conflicts


class Checkout:
    """Files by path. `commit` is empty for a plain folder, which has no history."""

    def __init__(self, root: Path, revision: str = "HEAD") -> None:
        """Raises UserError where there is neither a repository nor a folder."""
        if not root.is_dir():
            raise UserError(f"expected a work tree, a bare repository or a folder, found none at {root}")
        self.root = root
        self.damage: dict[str, str] = {}  # path (or object, without one) -> why it could not be had
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

        A file that is listed but lost (a snapshot without its largest objects) has no chunks, a damaged one may have
        some. `damage` says so when its chunks are at an end.
        """
        if self._is_git:
            yield from Reader(self._command("cat-file", "--batch"), _environment(), self.damage).read(files)
            return
        for file in files:
            yield file, file_chunks(self.root / file.path)

    def text(self, path: str) -> str:
        """One small text file. Raises UserError where it is missing or too big."""
        for file, chunks in self.read([f for f in self.files(path) if f.path == path]):
            if file.size_bytes > MAX_TEXT_BYTES:
                raise UserError(f"expected at most {MAX_TEXT_BYTES:,} bytes, found {file.size_bytes:,} in {path}")
            text = b"".join(chunks).decode(errors="replace")
            if path in self.damage:
                raise UserError(f"expected {path} of the checkout {self.root}, found that {self.damage[path]}")
            return text
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

    def pull_heads(self) -> list[PullHead]:
        """The heads of pull requests that were fetched, by number; none in a plain folder."""
        if not self._is_git:
            return []
        heads: dict[int, str] = {}
        merges: set[int] = set()
        listing = self._git("for-each-ref", "--format=%(objectname) %(refname)").decode(errors="replace")
        for line in listing.splitlines():  # whether the object is there, and a commit, is met when it is read
            commit, _, name = line.partition(" ")
            match = _HEAD.match(name)
            if match and match[2] == "/merge":
                merges.add(int(match[1]))
            elif match:
                heads[int(match[1])] = commit
        if len(heads) > MAX_HEADS:
            raise UserError(f"expected at most {MAX_HEADS:,} pull requests, found {len(heads):,} in {self.root}")
        return [PullHead(number, commit, number in merges) for number, commit in sorted(heads.items())]

    def ancestors(self) -> set[str]:
        """Every commit on the way to `commit`, itself among them; none for a plain folder."""
        return set(self._git("rev-list", self.commit).decode().split()) if self._is_git else set()

    def first_parents(self) -> bytes:
        """The way to `commit` along first parents, newest first: NUL-separated, each with the files it added.

        A commit is \\x01, its committer's time in seconds, a space, the subject; a file is the modes and objects that
        `git diff --raw` gives, then its path. Empty where the history is cut short.
        """
        if not self._is_git or self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            return b""
        return self._git(
            "log", "-z", "--first-parent", "-m", "--diff-filter=A", "--no-renames", "--raw", "--no-abbrev",
            "--format=%x01%ct %s", "--no-show-signature", "--no-ext-diff", self.commit, "--",
        )  # fmt: skip

    def about(self, commit: str) -> tuple[int, str]:
        """A commit's time (seconds, of its committer) and its author's name."""
        seconds, _, name = self._git("show", "-s", "--no-show-signature", "--format=%ct %an", commit).partition(b" ")
        return int(seconds), name.decode(errors="replace").strip()

    def _git(self, *argv: str) -> bytes:
        try:
            done = subprocess.run(
                self._command(*argv), capture_output=True, env=_environment(), stdin=subprocess.DEVNULL, timeout=GIT_S,
                check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise UserError("expected the program git to read a repository, found none on PATH; install git") from None
        except subprocess.TimeoutExpired:
            raise UserError(
                f"expected an answer of git within {GIT_S:g} s, found none for {self.root}; run git fsck there"
            ) from None
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


def _environment() -> dict[str, str]:
    """Without what a hook of git, say, has told its children of another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
