"""The rule of paths: literals that name a place of the machine outside HOME, also put together from pieces.

What a sandbox shows is a program's: libraries, a compiler, Python. A source that names a place there by itself reads
something that no track gave it. The kernel's own (/proc, /sys, /dev) and /tmp, which is fresh in every run, are no
such places. Paths that are computed are not seen: the sandbox is what holds.
"""

import ast
import re
from collections.abc import Iterator

from .literals import Place
from .source_tree import SourceFile

FREE = frozenset({"proc", "sys", "dev", "tmp"})
TOP = frozenset(
    {"bin", "boot", "content", "data", "datasets", "etc", "home", "kaggle", "lib", "lib32", "lib64", "media", "mnt",
     "nix", "opt", "private", "root", "run", "sbin", "snap", "srv", "usr", "Users", "var", "Volumes", "work",
     "workspace"}
)  # fmt: skip
READERS_OF_FOLDERS = frozenset(
    {"Path", "PurePath", "PosixPath", "walk", "listdir", "scandir", "chdir", "glob", "iglob"}
)
_FIRST = re.compile(r"/+([^/\s]+)")
_FILE = re.compile(r"(/[\w.+@-]+){2,}/?")
UNKNOWN = "\0"  # in place of what is only known when it runs


def outside_paths(source: SourceFile) -> Iterator[Place]:
    """Every literal that begins as an absolute path outside HOME."""
    inner: set[int] = set()  # pieces of what was looked at as a whole
    for node in source.nodes:
        if id(node) in inner or not isinstance(node, ast.expr):
            continue
        text = folded(node)
        if text is None:
            continue
        inner.update(id(child) for child in ast.walk(node))
        if is_outside(text):
            yield Place(node.lineno, repr(text.replace(UNKNOWN, "{}")[:80]))
    for node in source.nodes:
        if isinstance(node, ast.Call) and node.args and folded(node.args[0]) == "/":
            name = source.dotted(node.func).rpartition(".")[2]
            if name in READERS_OF_FOLDERS or source.dotted(node.func) == "os.path.join":
                yield Place(node.lineno, f"{name}('/')")


def is_outside(text: str) -> bool:
    """Whether a text begins with an absolute path whose first folder is one of the machine's, or is a whole path."""
    first = _FIRST.match(text)
    if first is None or first[1] in FREE:
        return False
    return first[1] in TOP or any(sign in first[1] for sign in "*?[") or _FILE.fullmatch(text) is not None


def folded(node: ast.AST) -> str | None:
    """The text of a literal, a sum, an f-string or a join of literals; None for everything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        left, right = folded(node.left), folded(node.right)
        if left is None:
            return None
        return left + ("/" if isinstance(node.op, ast.Div) else "") + (UNKNOWN if right is None else right)
    if isinstance(node, ast.JoinedStr):
        return "".join(UNKNOWN if (text := folded(part)) is None else text for part in node.values)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
        between, listed = folded(node.func.value), node.args[0]
        if between is not None and isinstance(listed, ast.List | ast.Tuple):
            return between.join(UNKNOWN if (text := folded(part)) is None else text for part in listed.elts)
    return None
