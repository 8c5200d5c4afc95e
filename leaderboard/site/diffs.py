"""Diffs: two versions of a source tree side by side, hunk by hunk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from markupsafe import Markup

from harness.records.source_changes import LineMatcher

from .highlighting import Allowance, Keep, at_once, highlighted, source_text

CONTEXT_LINES = 4
MAX_LINES = 8000  # of one side

Kind = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Side:
    """One line of one version."""

    number: int
    html: Markup


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of both versions beside each other; None where one has none."""

    kind: Kind
    old: Side | None
    new: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """What became of one file."""

    name: str
    status: Literal["unchanged", "changed", "added", "removed", "too large"]
    added: int = 0  # lines
    removed: int = 0
    hunks: tuple[tuple[DiffLine, ...], ...] = ()
    cut: bool = False  # not every row is shown


def diff_trees(old: Mapping[str, bytes], new: Mapping[str, bytes], keep: Keep = at_once) -> list[FileDiff]:
    """Every file of both trees, by name."""
    allowance = Allowance()
    return [_diff_file(name, old.get(name), new.get(name), allowance, keep) for name in sorted({*old, *new})]


def _diff_file(name: str, old: bytes | None, new: bytes | None, allowance: Allowance, keep: Keep) -> FileDiff:
    if old == new:
        return FileDiff(name=name, status="unchanged")
    before, after = (source_text(content or b"") for content in (old, new))
    matcher = LineMatcher(old or b"", new or b"")
    added, removed = matcher.change
    if max(len(matcher.a), len(matcher.b)) > MAX_LINES:
        return FileDiff(name=name, status="too large", added=added, removed=removed)
    groups = list(matcher.get_grouped_opcodes(CONTEXT_LINES))
    shown = highlighted(name, before, keep), highlighted(name, after, keep)
    hunks, cut = _within([tuple(_lines(group, *shown)) for group in groups], allowance)
    return FileDiff(
        name=name,
        status="added" if old is None else "removed" if new is None else "changed",
        added=added,
        removed=removed,
        hunks=hunks,
        cut=cut,
    )


def _lines(
    group: Sequence[tuple[str, int, int, int, int]], old: Sequence[Markup], new: Sequence[Markup]
) -> Iterator[DiffLine]:
    for tag, old_start, old_end, new_start, new_end in group:
        for i in range(max(old_end - old_start, new_end - new_start)):
            left = Side(old_start + i + 1, old[old_start + i]) if old_start + i < old_end else None
            right = Side(new_start + i + 1, new[new_start + i]) if new_start + i < new_end else None
            kind: Kind = "same" if tag == "equal" else "added" if not left else "removed" if not right else "changed"
            yield DiffLine(kind, left, right)


def _within(
    hunks: Sequence[tuple[DiffLine, ...]], allowance: Allowance
) -> tuple[tuple[tuple[DiffLine, ...], ...], bool]:
    """The hunks that the page has room for, and whether that left any line out."""
    kept: list[tuple[DiffLine, ...]] = []
    for hunk in hunks:
        fits = list(takewhile(lambda line: allowance.take([s.html for s in (line.old, line.new) if s]), hunk))
        if fits:
            kept.append(tuple(fits))
        if len(fits) < len(hunk):
            return tuple(kept), True
    return tuple(kept), False
