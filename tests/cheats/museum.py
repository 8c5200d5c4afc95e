"""The museum of cheats: reads what every exhibit says of itself, and writes docs/museum.md from it.

    python tests/cheats/museum.py            is the page fresh?
    python tests/cheats/museum.py --write    write it

An exhibit is one file that can be run: a submission, or a `forge(folder)` that falsifies evidence. Its docstring says
what it is called, its story, and below that, one `key: value` per line:

    group       clock, outside, data, model, selection, identity: the folder it lies in
    catalogue   numbers of the cheats it plays, in the catalogue at the end of the page
    status      impossible (it has no effect, whatever it does), caught (it is named), deterred (it does not pay),
                not covered (it works: said openly)
    ends        how it ends where namespaces are the sandbox: a status of the run; `missed` (complete, target missed);
                `finding ID`; `reached` (it reaches the target, and what it cheated for is not there, see holds);
                `accepted` (the cheat works); `refused` (no run is made); alternatives by |
    ends at X   the same at sandbox level X, where it differs
    holds       a Python expression over the run that must be true at every level: record, log, stdout, train_s, ...
    ranks, runs, track, arguments, environment     how it is started, where not plainly

test_museum.py runs each one and holds it to its word; the page is written from the same words, so it cannot say more.
"""

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent.parent))  # to be run as a script

from tests.cheats.catalogue import CATALOGUE, UNPLAYED  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "museum.md"
GROUPS = {
    "clock": "The clock",
    "outside": "Work outside the clock",
    "data": "Data",
    "model": "Model and metric",
    "selection": "Selection",
    "identity": "Logs and identity",
}
STATUSES = {
    "impossible": "the structure of a run leaves it without effect; the exhibit shows that",
    "caught": "the run or the bundle is refused, with the status or the finding named here",
    "deterred": "it can go unnoticed, but then it gains too little to pay",
    "not covered": "it works; nothing but a reader's eyes stands against it",
}
KEYS = ("group", "catalogue", "status", "ends", "holds", "ranks", "runs", "track", "arguments", "environment")
LEVELS = ("namespaces", "landlock", "process")  # as in harness/sandbox/levels.py
BEST = LEVELS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One cheat (or one honest oddity), as its file describes it."""

    path: Path
    title: str
    story: str
    group: str
    catalogue: tuple[int, ...] = ()
    status: str = "honest"
    ends: dict[str, tuple[str, ...]] = field(default_factory=dict)  # sandbox level -> allowed endings
    holds: str = "True"
    ranks: int = 1
    runs: int = 1
    track: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.group}/{self.path.stem}"

    @property
    def forges(self) -> bool:
        """Whether it falsifies evidence instead of running."""
        return "\ndef forge(" in self.path.read_text()

    def endings(self, level: str) -> tuple[str, ...]:
        """How it may end at a sandbox level."""
        return self.ends.get(level, self.ends[BEST])


def read_exhibit(path: Path) -> Exhibit:
    """An exhibit from the docstring of its file. Raises ValueError when that says too little, or something unknown."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    if docstring is None:
        raise ValueError(f"{path}: expected a docstring, found none")
    keys: dict[str, str] = {}
    prose = []
    for line in docstring.splitlines():
        key, colon, value = line.partition(": ")
        if colon and (key in KEYS or key.startswith("ends at ")):
            keys[key] = value.strip()
        else:
            prose.append(line)
    title, _, story = "\n".join(prose).partition("\n")
    ends = {key.removeprefix("ends at "): endings(value) for key, value in keys.items() if key.startswith("ends at ")}
    ends[BEST] = endings(keys.get("ends", "reached"))
    return Exhibit(
        path=path, title=title.strip().rstrip("."), story=" ".join(story.split()), group=keys["group"], ends=ends,
        catalogue=tuple(int(number) for number in keys.get("catalogue", "").split(",") if number.strip()),
        status=keys.get("status", "honest"), holds=keys.get("holds", "True"), ranks=int(keys.get("ranks", "1")),
        runs=int(keys.get("runs", "1")), track=pairs(keys.get("track", "")),
        arguments=tuple(keys.get("arguments", "").split()), environment=pairs(keys.get("environment", "")),
    )  # fmt: skip


def endings(text: str) -> tuple[str, ...]:
    return tuple(ending.strip() for ending in text.split("|"))


def pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split())


def read_exhibits(*groups: str) -> list[Exhibit]:
    """Every exhibit of some groups, in the order of the page."""
    return [read_exhibit(path) for group in groups for path in sorted((HERE / group).glob("*.py"))]


def cheats() -> list[Exhibit]:
    return read_exhibits(*GROUPS)


def honest() -> list[Exhibit]:
    return read_exhibits("honest")


def render() -> str:
    """docs/museum.md."""
    exhibits, odd = cheats(), honest()
    lines = [
        "# The museum of cheats",
        "",
        f"{len(exhibits)} ways to cheat, each a small program in `tests/cheats/` that a test runs and holds to what is",
        f"written here, and {len(odd)} honest submissions that only look odd. This page is written by",
        "`python tests/cheats/museum.py --write` from what the exhibits say of themselves; do not edit it.",
        "",
        *[f"- **{status}** ({count(exhibits, status)}): {meaning}." for status, meaning in STATUSES.items()],
        "",
        "*Ends* is what becomes of it in a sandbox of namespaces; where a weaker one cannot stop it, that is said,",
        "and tested too. *missed*: a complete run that misses its target, since what it cheated for was not there.",
        "*reached*: it reaches the target, and the condition behind it, which the test checks, shows that the cheat",
        "bought nothing. *accepted*: the cheat works.",
        "",
    ]
    for group, heading in GROUPS.items():
        lines += [f"## {heading}", "", "| exhibit | what it does | status | ends |", "|---|---|---|---|"]
        lines += [row(exhibit) for exhibit in exhibits if exhibit.group == group]
        lines.append("")
    lines += ["## What each sandbox level cannot stop", "", *weaker(exhibits), ""]
    lines += ["## The catalogue", "", "| number | cheat | exhibits |", "|---|---|---|", *numbered(exhibits), ""]
    lines += ["## Honest, only odd", "", "| submission | why it looks odd |", "|---|---|"]
    lines += [f"| {link(exhibit)} | {exhibit.story} |" for exhibit in odd]
    return "\n".join(lines) + "\n"


def count(exhibits: list[Exhibit], status: str) -> int:
    return sum(exhibit.status == status for exhibit in exhibits)


def row(exhibit: Exhibit) -> str:
    numbers = f" ({', '.join(map(str, exhibit.catalogue))})" if exhibit.catalogue else ""
    ends = " or ".join(exhibit.ends[BEST])
    if exhibit.holds != "True":
        ends += f", and `{exhibit.holds}`".replace("|", r"\|")
    ends += "".join(f"; at `{level}`: {' or '.join(e)}" for level, e in exhibit.ends.items() if level != BEST)
    return f"| {link(exhibit)}{numbers} | {exhibit.story} | {exhibit.status} | {ends} |"


def link(exhibit: Exhibit) -> str:
    return f"[{exhibit.title}](../{exhibit.path.relative_to(PAGE.parent.parent)})"


def weaker(exhibits: list[Exhibit]) -> list[str]:
    """A line per level: the exhibits it lets through."""
    levels = sorted({BEST, *(level for exhibit in exhibits for level in exhibit.ends)}, key=LEVELS.index)
    lines = []
    for level in levels:
        through = [link(exhibit) for exhibit in exhibits if "accepted" in exhibit.endings(level)]
        lines.append(f"- `{level}`: {', '.join(through) or 'none of these exhibits passes'}.")
    return lines


def numbered(exhibits: list[Exhibit]) -> list[str]:
    """A row per number of the catalogue: the exhibits that play it, or why none does."""
    rows = []
    for number, name in CATALOGUE.items():
        playing = ", ".join(link(exhibit) for exhibit in exhibits if number in exhibit.catalogue)
        rows.append(f"| {number} | {name} | {playing or 'none: ' + UNPLAYED[number]} |")
    return rows


def main() -> int:
    page = render()
    if "--write" in sys.argv:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)
        return 0
    fresh = PAGE.exists() and PAGE.read_text() == page
    print("fresh" if fresh else f"{PAGE} is stale: run python tests/cheats/museum.py --write")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
