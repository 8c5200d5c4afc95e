"""How much source there is: files, lines and bytes, shown beside a time, as fewer of them are worth something too."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceSize:
    """Lines are those that are not empty."""

    files: int
    lines: int
    size_bytes: int


def source_size(files: Mapping[str, bytes]) -> SourceSize:
    """Of a source by name."""
    lines = sum(1 for text in files.values() for line in text.splitlines() if line.strip())
    return SourceSize(len(files), lines, sum(map(len, files.values())))
