"""Changes of source: which lines came and which went, counted as `git diff --numstat` counts them."""

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

CONTEXT_LINES = 3
MAX_PAIRS = 2**30  # of an old line and a new one: 128 MiB of bits; longer files are matched roughly
MOST_FREQUENT, WINDOW, KEPT_SHARE = 1024, 100, 4  # git's, in xdiff/xprepare.c


@dataclass(frozen=True, slots=True)
class FileChange:
    """Lines changed in one file, against the parent."""

    file: str
    added: int  # lines
    removed: int


class LineMatcher(difflib.SequenceMatcher[bytes]):
    """Two versions of a file, matched as git does: along a longest common subsequence of the lines that it looks at."""

    a: list[bytes]
    b: list[bytes]

    def __init__(self, old: bytes, new: bytes) -> None:
        super().__init__(None, lines_of(old), lines_of(new))

    @property
    def change(self) -> tuple[int, int]:
        """Lines added and lines removed."""
        kept = sum(block.size for block in self.get_matching_blocks())
        return len(self.b) - kept, len(self.a) - kept

    def get_matching_blocks(self) -> list[difflib.Match]:
        """Of SequenceMatcher: equal runs in order, the last one empty."""
        a, b = self.a, self.b
        if len(a) * len(b) > MAX_PAIRS:
            return super().get_matching_blocks()
        head = _alike(a, b)
        tail = _alike(a[head:][::-1], b[head:][::-1])
        olds, news = (_looked_at(*sides, head, len(sides[0]) - tail) for sides in ((a, b), (b, a)))
        blocks = [difflib.Match(0, 0, 0)]
        for i, j in _common([a[i] for i in olds], [b[j] for j in news]):
            i, j, last = olds[i], news[j], blocks[-1]
            if (last.a + last.size, last.b + last.size) == (i, j):
                blocks[-1] = difflib.Match(last.a, last.b, last.size + 1)
            else:
                blocks.append(difflib.Match(i, j, 1))
        return [*(block for block in blocks if block.size), difflib.Match(len(a), len(b), 0)]


def _alike(a: Sequence[bytes], b: Sequence[bytes]) -> int:
    """How many lines both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _looked_at(lines: Sequence[bytes], others: Sequence[bytes], first: int, end: int) -> list[int]:
    """The lines that git matches: between what both begin and end with, those that the other version has, but not
    frequent ones (as empty lines are) among many that it has not."""
    frequent = min(1 << (len(lines).bit_length() + 1) // 2, MOST_FREQUENT)  # about the root of their number
    counts = Counter(others)
    kinds = [min(counts[line], 1) + (counts[line] >= frequent) for line in lines]  # 0: nowhere; 2: frequent

    def is_lost(i: int) -> bool:
        unmatched, several = 0, 2
        for way in (range(i - 1, max(first, i - WINDOW) - 1, -1), range(i + 1, min(end - 1, i + WINDOW) + 1)):
            run = list(itertools.takewhile(lambda kind: kind != 1, (kinds[k] for k in way)))
            if 0 not in run:
                return False
            unmatched, several = unmatched + run.count(0), several + run.count(2)
        return several * KEPT_SHARE < several + unmatched

    return [i for i, kind in enumerate(kinds) if not first <= i < end or kind == 1 or (kind == 2 and not is_lost(i))]


def _common(a: Sequence[bytes], b: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of a longest common subsequence. Bit i of a row says that a[i] adds nothing to it (Hyyrö 2004)."""
    places: dict[bytes, int] = {}
    for i, line in enumerate(a):
        places[line] = places.get(line, 0) | 1 << i
    every = (1 << len(a)) - 1
    rows = [every]
    for line in b:
        hit = rows[-1] & places.get(line, 0)
        rows.append(((rows[-1] + hit) | (rows[-1] - hit)) & every)
    pairs, i, j = [], len(a), len(b)
    while i and j:
        if rows[j] >> (i - 1) & 1:
            i -= 1
        elif not rows[j - 1] >> (i - 1) & 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def lines_of(content: bytes) -> list[bytes]:
    """Lines with their ends, which are line feeds and nothing else, as in git."""
    *whole, last = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def changes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[FileChange, ...]:
    """Of every file that differs, by name."""
    return tuple(FileChange(name, *LineMatcher(a, b).change) for name, a, b in _different(old, new))


def unified(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[str]:
    """Lines of a unified diff of every file that differs."""
    for name, a, b in _different(old, new):
        matcher = LineMatcher(a, b)
        yield from (f"--- a/{name}", f"+++ b/{name}")
        for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
            yield f"@@ -{_range(group[0][1], group[-1][2])} +{_range(group[0][3], group[-1][4])} @@"
            for tag, i, i_end, j, j_end in group:
                gone, came = matcher.a[i:i_end], matcher.b[j:j_end]
                sides = ((" ", came),) if tag == "equal" else (("-", gone), ("+", came))
                yield from (sign + _text(line) for sign, lines in sides for line in lines)


def _different(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[tuple[str, bytes, bytes]]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, old.get(name, b""), new.get(name, b"")


def _range(start: int, end: int) -> str:
    """Lines count from one; of none stands the line before."""
    return f"{start + (end > start)},{end - start}"


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\n")
