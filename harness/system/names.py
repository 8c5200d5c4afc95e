"""Names of files that strangers chose: two that some disks hold for one, and those that git obeys."""

import unicodedata
from collections.abc import Iterable, Iterator


def folded(name: str) -> str:
    """One part of a path as the least careful file system has it: without case, form, format characters, end dots."""
    seen = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).rstrip(" .")


def clashes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of different paths, or of their folders, that a disk without case or Unicode forms takes for one."""
    known: dict[str, str] = {}
    told: set[str] = set()
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            first = known.setdefault("/".join(map(folded, parts[:depth])), path)
            if first != path and path not in told:
                told.add(path)
                yield first, path
                break


def is_gits(name: str) -> bool:
    """Whether git reads a path, in any spelling, as its own: .git, .gitattributes, .gitmodules and their like."""
    return any(folded(part).startswith((".git", "git~")) for part in name.split("/"))
