"""How much a source carries as data: long literals, tables of numbers, all together.

The measure is what zlib makes of the text. Code and prose shrink to a third; weights, tokens and whatever is already
packed do not. It bounds what a source can carry, however it is written: spread over many small strings, over numbers,
in a file beside the code.
"""

import ast
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .source_tree import SourceFile

DENSE_LENGTH = 400  # characters; prose and code of this length have spaces
DENSE_SPACES = 0.03
MAX_INT_BITS = 256  # of one integer
NUMBERS = (int, float, complex)
Display = ast.List | ast.Tuple | ast.Set | ast.Dict


class Place(NamedTuple):
    """Where something was seen, and what."""

    line: int
    what: str


def information(parts: Iterable[bytes]) -> int:
    """Bytes zlib needs for the parts one after another."""
    packer = zlib.compressobj(9)
    return sum(len(packer.compress(part)) for part in parts) + len(packer.flush())


def blobs(file: SourceFile, literal_bytes: int) -> Iterator[Place]:
    """Literals that are data: too much information, no spaces, bytes nobody can read, numbers nobody would write."""
    for node in file.nodes:
        if not isinstance(node, ast.Constant):
            continue
        value = node.value
        if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
            yield Place(node.lineno, f"an integer of {value.bit_length():,} bits")
        elif isinstance(value, str | bytes):
            kind = "characters" if isinstance(value, str) else "bytes"
            size = information([_encoded(value)]) if len(value) > literal_bytes else 0
            if size > literal_bytes:
                yield Place(node.lineno, f"a literal of {len(value):,} {kind}, {size:,} bytes of information")
            elif _is_dense(value):
                yield Place(node.lineno, f"a literal of {len(value):,} {kind} without words")


def _is_dense(value: str | bytes) -> bool:
    if isinstance(value, bytes):
        strange = sum(byte < 9 or byte > 126 for byte in value)
        if len(value) >= 64 and strange > 0.1 * len(value):
            return True
        value = value.decode("latin-1")
    return len(value) >= DENSE_LENGTH and sum(map(str.isspace, value)) < DENSE_SPACES * len(value)


def number_tables(file: SourceFile, table_numbers: int) -> Iterator[Place]:
    """Lists, tuples, sets, dicts and calls with more numbers than somebody would type; nested ones whole."""
    stack: list[ast.AST] = [node for node in file.nodes[:1]]
    while stack:
        node = stack.pop()
        if isinstance(node, Display):
            count = sum(map(_is_number, ast.walk(node)))
        else:
            stack.extend(ast.iter_child_nodes(node))
            count = sum(map(_is_number, node.args)) if isinstance(node, ast.Call) else 0
        if count > table_numbers:
            yield Place(getattr(node, "lineno", 0), f"a table of {count:,} numbers")


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, NUMBERS)


def carried(files: Iterable[SourceFile]) -> Iterator[bytes]:
    """Everything that is data: each literal of the code, and the files that are no code."""
    for file in files:
        if not file.is_code:
            yield file.content
        for node in file.nodes:
            if isinstance(node, ast.Constant):
                yield _encoded(node.value) + b"\n"


def _encoded(value: object) -> bytes:
    """A literal's bytes. Integers in hexadecimal: Python writes no decimal of more than 4,300 digits."""
    if isinstance(value, bytes):
        return value
    text = f"{value:x}" if isinstance(value, int) else value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "surrogatepass")
