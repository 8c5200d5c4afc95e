"""A submission's source as rules see it: text, syntax tree, names resolved.

Files come from strangers and are never executed. Each is read once, bounded, and parsed as UTF-8 whatever it says of
itself; what cannot be read so is a fact for the rules, not an error.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..system.plainfile import read_plain

MAX_PARSED_BYTES = 400_000  # of all files: a syntax tree takes a thousand times its text; nobody reads more either
MAX_CHAIN = 50  # names in a.b.c
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")
CODE_SUFFIXES = frozenset({".py", ".cu", ".cuh", ".cpp", ".cc", ".c", ".h", ".hpp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file; `nodes` is empty where it is no Python or cannot be parsed."""

    name: str
    content: bytes
    text: str = ""
    problem: str | None = None  # why it cannot be read
    nodes: tuple[ast.AST, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)  # local name -> dotted path of what it stands for
    constants: dict[str, object] = field(default_factory=dict)  # name -> the literal assigned to it

    @property
    def is_code(self) -> bool:
        return Path(self.name).suffix in CODE_SUFFIXES

    def dotted(self, node: ast.AST | None) -> str:
        """`torch.cuda.synchronize` of an expression, through the file's imports; "" of anything else."""
        names: list[str] = []
        while isinstance(node, ast.Attribute) and len(names) < MAX_CHAIN:
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.aliases.get(node.id, node.id), *reversed(names)])

    def constant(self, node: ast.AST | None) -> object:
        """The literal an expression is, or names; None of anything else."""
        if isinstance(node, ast.Constant):
            return node.value
        return self.constants.get(node.id) if isinstance(node, ast.Name) else None


def read_source(root: Path, names: Iterable[str], max_bytes: int) -> list[SourceFile]:
    """The files of a submission, at most max_bytes of them together; the rest has a problem."""
    files, left, to_parse = [], max_bytes, MAX_PARSED_BYTES
    for name in names:
        try:
            content = read_plain(root / name, left)
        except UserError as error:
            files.append(SourceFile(name=name, content=b"", problem=str(error)))
            continue
        except ValueError as error:  # a NUL in the name
            files.append(SourceFile(name=name, content=b"", problem=f"its name: {error}"))
            continue
        left -= len(content)
        files.append(parse(name, content, to_parse))
        to_parse -= len(content) if files[-1].nodes else 0
    return files


def parse(name: str, content: bytes, max_bytes: int = MAX_PARSED_BYTES) -> SourceFile:
    """A file from its bytes. Never raises, whatever they are."""
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        return SourceFile(name=name, content=content, problem=f"byte {error.start} is no UTF-8")
    if "\0" in text:
        return SourceFile(name=name, content=content, text=text, problem="it holds a NUL byte")
    if not name.endswith(".py"):
        return SourceFile(name=name, content=content, text=text)
    if coding := _other_coding(content):
        return SourceFile(name=name, content=content, text=text, problem=f"it declares the encoding {coding}")
    if len(content) > max_bytes:
        problem = f"more than {MAX_PARSED_BYTES:,} bytes of Python are no readable page"
        return SourceFile(name=name, content=content, text=text, problem=problem)
    try:
        nodes = tuple(ast.walk(_tree(text)))
    except SyntaxError as error:
        return SourceFile(name=name, content=content, text=text, problem=f"line {error.lineno}: {error.msg}")
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return SourceFile(name=name, content=content, text=text, problem=f"no parser follows it ({error})")
    aliases = dict(_imports(nodes))
    return SourceFile(
        name=name,
        content=content,
        text=text,
        nodes=nodes,
        constants=dict(_constants(nodes)),
        aliases=_follow(nodes, aliases),
    )


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():  # an invalid escape is the submission's business
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _other_coding(content: bytes) -> str | None:
    """The encoding a file declares in its first two lines (PEP 263), unless that is UTF-8."""
    for line in content.splitlines()[:2]:
        if found := CODING.match(line):
            coding = found.group(1).decode().lower().replace("_", "-")
            return None if coding in ("utf-8", "utf8") else coding[:40]
    return None


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Local name and dotted path of everything imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def _follow(nodes: Iterable[ast.AST], aliases: dict[str, str]) -> dict[str, str]:
    """Aliases and the names assigned from them: `config = torch._inductor.config`."""
    known = SourceFile(name="", content=b"", aliases=aliases)
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute | ast.Name):
            path = known.dotted(node.value)
            if path.partition(".")[0] in ("torch", "time", "os", "builtins"):
                aliases.update((target.id, path) for target in node.targets if isinstance(target, ast.Name))
    return aliases


def _constants(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, object]]:
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield from ((target.id, node.value.value) for target in node.targets if isinstance(target, ast.Name))
