"""A source rule about our counts: what reaches for them, or round them, in the interpreter that ranks share with us.

A rank counts its backward passes where the submission runs, so that the count can be got at. It is believed only
because getting at it takes words like these, and a source with such words is no record.
"""

import ast
from collections.abc import Iterator

from .literals import Place
from .source_tree import SourceFile

AUTOGRAD = "torch.autograd"
OURS = frozenset({"_passes", "_channel", "_counted", "tokens_in"})  # in harness/sandbox/inside.py
ENGINE = frozenset({"_execution_engine", "_engine_run_backward", "run_backward", "ImperativeEngine"})
REFLECTION = frozenset(
    {"__wrapped__", "__closure__", "cell_contents", "_getframe", "currentframe", "f_locals", "f_back", "get_referrers",
     "get_objects"}
)  # fmt: skip
REACHING = OURS | ENGINE | REFLECTION


def reaches(source: SourceFile) -> Iterator[Place]:
    """Where a source names what only our counts, torch's engine or a look into other frames is called."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in REACHING:
            yield Place(node.lineno, f".{node.attr}")
        elif isinstance(node, ast.Constant) and node.value in REACHING and isinstance(node.value, str):
            yield Place(node.lineno, repr(node.value))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [*names, *([node.module] if isinstance(node, ast.ImportFrom) and node.module else [])]
            for name in {"__main__", "gc"} & set(modules) | REACHING & set(names):
                yield Place(node.lineno, f"import {name}")
        else:
            yield from _replaced(source, node)


def _replaced(source: SourceFile, node: ast.AST) -> Iterator[Place]:
    """Functions of torch.autograd that are set, and the interpreter's main module, which is ours."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        if source.dotted(node).startswith(f"{AUTOGRAD}."):
            yield Place(node.lineno, f"{source.dotted(node)} = ...")
    elif isinstance(node, ast.Attribute) and node.attr == "__dict__" and source.dotted(node.value) == AUTOGRAD:
        yield Place(node.lineno, f"{AUTOGRAD}.__dict__")
    elif isinstance(node, ast.Call) and node.args and source.dotted(node.func) in ("setattr", "delattr", "vars"):
        if source.dotted(node.args[0]) == AUTOGRAD:
            yield Place(node.lineno, f"{source.dotted(node.func)}({AUTOGRAD}, ...)")
    elif isinstance(node, ast.Subscript):
        ours = source.constant(node.slice) in ("__main__", AUTOGRAD)
        if ours and source.dotted(node.value) == "sys.modules":
            yield Place(node.lineno, f"sys.modules[{source.constant(node.slice)!r}]")
