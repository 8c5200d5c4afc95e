"""What a script wants of the world around its checkout: the caller's environment, and files outside it."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..formats.run import Finding
from ..system.plainfile import read_plain
from .workcopy import MAX_SOURCE_BYTES, ScriptCheckout

CUDA = "CUDA_VISIBLE_DEVICES"
_OURS = frozenset({
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL", "TERM", "PWD", "PYTHONPATH", "RANK",
    "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS",
    "TIKTOKEN_CACHE_DIR", "HF_HUB_CACHE",
})  # fmt: skip


def parse_environment(given: list[str]) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE`, or `NAME` with the caller's value, in the order given. Raises UserError."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name.isidentifier() or not name.isascii():
            raise UserError(f"expected --env NAME or NAME=VALUE, found {text!r}")
        if not equals and name not in os.environ:
            raise UserError(f"expected {name} in the environment, found none; give --env {name}=VALUE")
        found[name] = value if equals else os.environ[name]
    return tuple(found.items())


def parse_readable(given: list[Path]) -> tuple[Path, ...]:
    """Folders or files by their real paths. Raises UserError."""
    for path in given:
        if not path.exists():
            raise UserError(f"expected a folder or file at --readable {path}, found none")
    return tuple(path.resolve() for path in given)


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
