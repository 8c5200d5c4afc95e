"""A source rule about PREPARE: text that is made before `go()`, and loops that train there longer than a warm-up.

Read off names, not off what runs: whatever is named before `go()` in the function that calls it, or while a file is
imported, is followed by its name through all files. An honest warm-up reads `run.warmup_shards` and takes few passes.
"""

import ast
from collections.abc import Iterable, Iterator

from .literals import Place
from .source_tree import SourceFile

DRAWS = frozenset({"multinomial", "choices", "choice", "Categorical"})  # of words, by weights of a model of text
ENCODES = frozenset({"encode", "encode_ordinary", "encode_batch", "encode_ordinary_batch"})  # text into tokens
TRAINS = frozenset({"torch.autograd.backward", "torch.autograd.grad"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sightings(sources: Iterable[SourceFile], most_passes: int) -> Iterator[tuple[str, Place]]:
    """Names of files, and where in them text is made or training goes on for more than most_passes, before `go()`."""
    sources = list(sources)
    bodies: dict[str, list[tuple[SourceFile, list[ast.AST]]]] = {}  # of the functions of a name, up to go()
    for source in sources:
        for node in source.nodes:
            if isinstance(node, Function):
                bodies.setdefault(node.name, []).append((source, _until_go(node.body)))
    starts = [
        (source, _until_go(node.body))
        for source in sources
        for node in source.nodes
        if isinstance(node, Function) and any(_is_go(inner) for inner in ast.walk(node))
    ]
    waiting = [*starts, *((source, _at_import(source)) for source in sources if source.nodes)]
    training = _training(bodies)
    followed: set[str] = set()
    while waiting:
        source, nodes = waiting.pop()
        for node in nodes:
            yield from ((source.name, Place(line, what)) for line, what in _signs(source, node, training, most_passes))
        names = {_last(node) for node in nodes} - followed
        followed |= names
        waiting += [body for name in names for body in bodies.get(name, ())]


def _signs(source: SourceFile, node: ast.AST, training: set[str], most_passes: int) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call):
        called = source.dotted(node.func).rpartition(".")[2] or _last(node.func)
        told = called in ENCODES and bool(node.args) and not isinstance(source.constant(node.args[0]), str)
        if called in DRAWS or told:
            yield node.lineno, f"{called}(...) before go()"
    elif isinstance(node, ast.For | ast.While):
        inner = [part for statement in node.body for part in ast.walk(statement)]
        trains = _trains(source, inner) or any(_last(part) in training for part in inner)
        if trains and (isinstance(node, ast.While) or _count(source, node.iter) > most_passes):
            yield node.lineno, "a loop that trains before go()"


def _training(bodies: dict[str, list[tuple[SourceFile, list[ast.AST]]]]) -> set[str]:
    """Names of functions behind which a backward pass is taken; every mention is followed once."""
    mentions: dict[str, set[str]] = {}  # of a function's name: the functions whose bodies hold it
    for name, found in bodies.items():
        for used in {_last(node) for _, body in found for node in body} & bodies.keys():
            mentions.setdefault(used, set()).add(name)
    training = {name for name, found in bodies.items() if any(_trains(source, body) for source, body in found)}
    waiting = list(training)
    while waiting:
        more = mentions.get(waiting.pop(), set()) - training
        training |= more
        waiting += more
    return training


def _trains(source: SourceFile, nodes: Iterable[ast.AST]) -> bool:
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return any(_last(function) == "backward" or source.dotted(function) in TRAINS for function in calls)


def _count(source: SourceFile, iterated: ast.expr) -> int:
    """How often `range(...)` goes round as far as the source says; 0 of anything else."""
    if not isinstance(iterated, ast.Call) or source.dotted(iterated.func) != "range":
        return 0
    numbers = [value for argument in iterated.args if isinstance(value := source.constant(argument), int)]
    if len(numbers) != len(iterated.args) or not 1 <= len(numbers) <= 3 or 0 in numbers[2:]:
        return 0
    rounds = range(*numbers)
    return max(0, (rounds.stop - rounds.start) // rounds.step)


def _is_go(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "go"


def _until_go(statements: list[ast.stmt]) -> list[ast.AST]:
    """What stands in these statements before the first `.go`, inner functions included; all of it without one."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    gone = min((node.lineno for node in nodes if _is_go(node) and isinstance(node, ast.Attribute)), default=None)
    return [node for node in nodes if gone is None or getattr(node, "lineno", 0) < gone]


def _at_import(source: SourceFile) -> list[ast.AST]:
    """What runs while a file is imported: all but the bodies of its functions."""
    waiting, found = [source.nodes[0]], []
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += [] if isinstance(node, Function | ast.Lambda) else list(ast.iter_child_nodes(node))
    return found


def _last(node: ast.AST) -> str:
    """The last name of an expression such as `a.b`; "" of anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
