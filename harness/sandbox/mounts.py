"""Mounts: arguments for bubblewrap that show what a sandbox shows."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .software import Node, links, nodes

_EMPTY_BYTES = "4096"


@dataclass(frozen=True, slots=True)
class _Mounts:
    """Arguments for bubblewrap, and about how many tenths of a millisecond they take it."""

    cost: int = 0
    arguments: tuple[str, ...] = ()

    def __add__(self, other: "_Mounts") -> "_Mounts":
        return _Mounts(self.cost + other.cost, self.arguments + other.arguments)


def empty_folder(path: str) -> tuple[str, ...]:
    """Arguments that show nothing at a path."""
    return "--size", _EMPTY_BYTES, "--tmpfs", path


@cache
def of_software(python: Path | None, packages: tuple[str, ...] | None) -> tuple[str, ...]:
    """Arguments that show `nodes`, in order, by the cheapest mounts."""
    arguments: list[str] = []
    for node in (*links(), *nodes(python, packages)):
        arguments += _ways(node)[1].arguments
    return tuple(arguments)


def _ways(node: Node) -> tuple[_Mounts, _Mounts]:
    """The cheapest way to show a node where the folder around it is shown, and where it is not.

    A bind mount costs bubblewrap a look at all mounts before it; an empty folder, a tenth of that.
    """
    path = node.path
    bind = _Mounts(10, ("--ro-bind", path, path))
    if node.link is not None:
        return _Mounts(), _Mounts(0, ("--symlink", node.link, path))
    if node.shown:
        return _Mounts(), bind
    empty = _Mounts(2, empty_folder(path))
    if node.shown is False:
        return (empty if node.is_folder else _Mounts(10, ("--ro-bind", os.devnull, path))), _Mounts()
    inside, alone = _Mounts(), _Mounts(0, ("--dir", path))
    for child in node.children:
        around, without = _ways(child)
        inside, alone = inside + around, alone + without
    return min(inside, empty + alone, key=_cost), min(bind + inside, alone, key=_cost)


def _cost(mounts: _Mounts) -> int:
    return mounts.cost
