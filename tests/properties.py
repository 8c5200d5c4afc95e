"""What the tests hold, file by file, and which of it is left to the longer tests: the table in docs/testing.md.

python tests/properties.py            is the table fresh?
python tests/properties.py --write    write it
"""

import ast
import contextlib
import io
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "testing.md"
BEGIN, END = "<!-- properties -->\n", "<!-- /properties -->"


class Collected:
    """The tests that pytest finds, without running any."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def table() -> str:
    """A row per file of tests, written as the page shows it."""
    collected = Collected()
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main(["--collect-only", "-qq", "-p", "no:xdist", "--rootdir", str(ROOT), str(ROOT / "tests")],
                           plugins=[collected])  # fmt: skip
    assert code == 0, f"pytest could not collect the tests: exit code {code}"
    files: dict[Path, list[pytest.Item]] = {}
    for item in collected.items:
        files.setdefault(item.path, []).append(item)
    rows = [row(path, items) for path, items in sorted(files.items())]
    return "\n".join(["| file | what it holds | left to the longer tests |", "| --- | --- | --- |", *rows]) + "\n"


def row(path: Path, items: list[pytest.Item]) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path} does not say what it holds"
    holds = " ".join(docstring.partition("\n\n")[0].split())
    name = path.relative_to(ROOT / "tests").as_posix()
    return f"| [{name}](../tests/{name}) | {holds} | {'; '.join(longer(items)) or ''} |".replace("  |", " |")


def longer(items: list[pytest.Item]) -> list[str]:
    """The properties some of whose cases are slow, in words: `... (all)`, or how many of how many cases."""
    cases: dict[str, list[bool]] = {}
    for item in items:
        name = getattr(item, "originalname", None) or item.name
        cases.setdefault(name, []).append(item.get_closest_marker("slow") is not None)
    return [
        f"{name.removeprefix('test_').replace('_', ' ')} ({'all' if all(slow) else f'{sum(slow)} of {len(slow)}'})"
        for name, slow in cases.items()
        if any(slow)
    ]


def page() -> str:
    """docs/testing.md with a fresh table."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def main() -> int:
    fresh = page()
    if "--write" in sys.argv:
        PAGE.write_text(fresh)
        return 0
    print("fresh" if PAGE.read_text() == fresh else f"{PAGE} is stale: run python tests/properties.py --write")
    return int(PAGE.read_text() != fresh)


if __name__ == "__main__":
    sys.exit(main())
