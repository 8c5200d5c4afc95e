"""What a script wants of the world around its checkout: the caller's environment, and files outside it."""

import ast
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..formats.run import Finding
from ..system.plainfile import read_plain
from .workcopy import MAX_SOURCE_BYTES, ScriptCheckout

CUDA = "CUDA_VISIBLE_DEVICES"
LEAST_SECRET = 6  # characters
ERASED = b"[secret]"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_WORDS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
_OURS = frozenset({
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL", "TERM", "PWD", "PYTHONPATH", "RANK",
    "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS",
    "TIKTOKEN_CACHE_DIR", "HF_HUB_CACHE",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class GivenEnvironment:
    """What a script is given of its caller's environment. secrets: only their names are ever written down."""

    values: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()


def parse_environment(given: Iterable[str], named: Iterable[str] = ()) -> GivenEnvironment:
    """`NAME=VALUE`, or `NAME` with the caller's value; named: names alone. In the order given, the last value counts.

    What looks like a secret is taken from the caller, and only where it is named twice. Raises UserError.
    """
    found: dict[str, str] = {}
    times = Counter[str]()
    for text in (*given, *named):
        name, equals, value = text.partition("=")
        if not _NAME.fullmatch(name):
            raise UserError(f"expected --env NAME or NAME=VALUE, found {name!r}")
        if equals and _is_secret(name):
            raise UserError(f"expected no value of {name} on a command line, found one; see --env-from, twice")
        if not equals and name not in os.environ:
            raise UserError(f"expected {name} in the environment, found none; give --env {name}=VALUE")
        found[name] = value if equals else os.environ[name]
        times[name] += 1
    secrets = {name: value for name, value in found.items() if _is_secret(name)}
    for name, value in secrets.items():
        if times[name] < 2:
            raise UserError(
                f"expected {name}, which looks like a secret, to be named twice, found it once; give --env-from {name} "
                f"--env-from {name} to pass it on all the same: its value is written down nowhere"
            )
        if 0 < len(value) < LEAST_SECRET:
            raise UserError(
                f"expected at least {LEAST_SECRET} characters in {name}, found fewer: so short a secret cannot be told "
                "from other text, and could not be kept out of a log"
            )
    values = {name: value for name, value in found.items() if name not in secrets}
    return GivenEnvironment(tuple(values.items()), tuple(secrets.items()))


def _is_secret(name: str) -> bool:
    return any(word in name.upper() for word in _SECRET_WORDS)


@dataclass(slots=True)
class Eraser:
    """Takes the values of secrets out of what a script prints, before anything of it is heard or kept.

    What could be the beginning of a value is held back until it is told from one; all else passes at once.
    """

    secrets: tuple[tuple[str, str], ...]
    _held: bytes = b""

    def feed(self, chunk: bytes) -> bytes:
        """A piece as it came; what of it, and of what was held back, may be heard."""
        values = sorted((value.encode() for _, value in self.secrets if value), key=len, reverse=True)
        text = self._held + chunk
        for value in values:
            text = text.replace(value, ERASED)
        starts = (
            n for value in values for n in range(min(len(value) - 1, len(text)), 0, -1) if text.endswith(value[:n])
        )
        held = max(starts, default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> bytes:
        """What was held back to the end, and was no secret."""
        held, self._held = self._held, b""
        return held


def source_changed(checkout: ScriptCheckout, work: Path) -> tuple[Finding, ...]:
    """A note where a script has changed its own file; the copy it changed is gone with the run."""
    try:
        found = hashlib.sha256(read_plain(work / checkout.entry, MAX_SOURCE_BYTES)).hexdigest()
    except (UserError, OSError):
        found = "no such file"
    if found == checkout.entry_sha256:
        return ()
    sentence = "the script changed its own source while it ran"
    return (Finding.warning("source_changed", sentence, checkout.entry_sha256[:12], found[:12]),)


def parse_readable(given: Iterable[Path]) -> tuple[Path, ...]:
    """Folders or files by their real paths. Raises UserError."""
    found = tuple(given)
    for path in found:
        if not path.exists():
            raise UserError(f"expected a folder or file at --readable {path}, found none")
    return tuple(path.resolve() for path in found)


def not_passed(checkout: ScriptCheckout, given: tuple[tuple[str, str], ...], device: str) -> tuple[Finding, ...]:
    """A note of what the script reads from its environment, the caller has set, and it does not get."""
    content = read_plain(checkout.root / checkout.entry, MAX_SOURCE_BYTES)
    wanted = set(names_read(content)) | ({CUDA} if device == "cuda" else set())
    names = sorted((wanted & os.environ.keys()) - dict(given).keys() - _OURS)
    if not names:
        return ()
    sentence = "the script reads what is set in your environment and was not passed on; see --env"
    return (Finding.warning("environment_not_passed", sentence, "--env for each", ", ".join(names)[:400]),)


def names_read(source: bytes) -> Iterator[str]:
    """The names that Python source reads from its environment, as far as they are written there."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        key = _key(node)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def _key(node: ast.AST) -> ast.expr | None:
    """What an expression asks the environment for: environ[x], environ.get(x), getenv(x), x in environ."""
    if isinstance(node, ast.Subscript):
        return node.slice if _named(node.value) == "environ" else None
    if isinstance(node, ast.Compare):
        return node.left if _named(node.comparators[0]) == "environ" else None
    if not isinstance(node, ast.Call) or not node.args:
        return None
    asked = node.func
    is_get = isinstance(asked, ast.Attribute) and asked.attr in ("get", "pop", "setdefault")
    if is_get and isinstance(asked, ast.Attribute) and _named(asked.value) == "environ":
        return node.args[0]
    return node.args[0] if _named(asked) == "getenv" else None


def _named(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
