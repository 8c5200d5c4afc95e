"""The house rules that a machine can hold: import direction, no cycles, sizes, the tree in the README."""

import ast
import re
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data", "harness", "leaderboard")
# Every module lies on one of these floors, with its package or under its own name, and names none above its own.
# The front door is the highest: its lazy table names commands of every package, and nothing names it.
FLOORS = (
    "data.printing", "data.errors", "data.files", "data.digests", "data.shards", "data.corpus", "data.lockfile",
    "data.overlap", "data.datasets", "data.hub", "data.tokenize",
    "harness.status", "harness.errors", "harness.system", "harness.formats", "harness.sandbox", "harness.scoring",
    "harness.referee", "harness.selftimed", "harness.stats", "harness.campaigns", "harness.rules", "harness.records",
    "harness.cli",
    "leaderboard.upstream", "leaderboard.board", "leaderboard.text", "leaderboard.site", "leaderboard.cli",
    "harness.__main__",
)  # fmt: skip
LOOSE = {"data": 8, "harness": 4, "leaderboard": 0}  # how many modules may lie in no package of these
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "core", "misc"}
SANDBOXED = {"harness.sandbox.inside", "harness.sandbox.evaluator"}  # must stand alone: they go into the sandbox
MAX_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 12
MAX_MODULE_LINES = 400


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> set[str]:
    """Modules of ours that a module imports, wherever in it the import stands."""
    tree = ast.parse(MODULES[name].read_text())
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {m for m in found if m in MODULES and m != name and m not in PACKAGES}


def named(name: str) -> set[str]:
    """Modules of ours whose names stand in a module as text, to be imported later or by another process."""
    texts = [n.value for n in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(n, ast.Constant)]
    names = {found for text in texts if isinstance(text, str) for found in re.findall(r"\w+(?:\.\w+)+", text)}
    return {m for m in names if m in MODULES and m != name}


def floor(name: str) -> int:
    """How high a module lies; what only holds a docstring, such as `harness`, lies on the ground."""
    while name not in FLOORS and "." in name:
        name = name.rpartition(".")[0]
    return FLOORS.index(name) if name in FLOORS else -1


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name: str) -> None:
    assert floor(name) >= 0 or (name in PACKAGES and not imports(name))
    assert {m for m in imports(name) | named(name) if floor(m) > floor(name)} == set()


def test_every_floor_is_there() -> None:
    assert set(FLOORS) <= set(MODULES)
    tops = [name.partition(".")[0] for name in FLOORS[:-1]]
    assert tops == sorted(tops, key=PACKAGES.index)


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_lie_in_no_package(package: str) -> None:
    assert len([path for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]) <= LOOSE[package]


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_there_are_no_import_cycles() -> None:
    state: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != "open", f"import cycle: {' -> '.join((*path, name))}"
        if name not in state:
            state[name] = "open"
            for other in sorted(imports(name)):
                visit(other, (*path, name))
            state[name] = "done"

    for name in MODULES:
        visit(name, ())


def test_what_enters_the_sandbox_stands_alone() -> None:
    for name in SANDBOXED:
        assert imports(name) <= SANDBOXED | {"harness.sandbox"}, name


@pytest.mark.parametrize("script", [ROOT / "train_gpt.py", *sorted(ROOT.glob("records/*/*/*.py"))], ids=str)
def test_submissions_import_nothing_of_ours(script: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    assert names.isdisjoint(PACKAGES)


def functions() -> dict[str, int]:
    sizes = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                sizes[f"{name}:{node.name}:{node.lineno}"] = node.end_lineno - node.lineno + 1
    return sizes


def test_functions_are_small() -> None:
    sizes = functions()
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_a_noun_a_purpose_and_an_end(name: str) -> None:
    text = MODULES[name].read_text()
    assert name.rpartition(".")[2] not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(text)), "every module opens with what it is for"
    assert len(text.splitlines()) <= MAX_MODULE_LINES


def test_the_linter_reads_every_module_and_no_record() -> None:
    """An exclusion by name leaves out every folder of that name, as it did harness/records."""
    command = [sys.executable, "-m", "ruff", "check", "--show-files", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    listed = {Path(line) for line in done.stdout.splitlines()}
    ours = {*MODULES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")}
    assert sorted(str(path) for path in ours - listed) == []
    assert [path for path in listed if path.is_relative_to(ROOT / "records")] == []


@pytest.mark.parametrize("command", ["--help", "tracks --json"])
def test_the_command_line_starts_without_torch(command: str) -> None:
    program = f"import sys; sys.argv = ['speedrun', *{command.split()!r}]; from harness.__main__ import main\n"
    program += "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def tree() -> str:
    """The README's tree: every module with the first sentence of its docstring."""
    lines = []
    for package in PACKAGES:
        lines.append(f"{package + '/':<21}{purpose(ROOT / package / '__init__.py')}")
        for folder in (ROOT / package, *sorted((ROOT / package).rglob("*/"))):
            indent = "  " * len(folder.relative_to(ROOT).parts)
            paths = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            if paths and folder.parent != ROOT:
                lines.append(f"{indent[2:] + folder.name + '/':<21}{purpose(folder / '__init__.py')}")
            lines += [f"{indent + path.name:<21}{purpose(path)}" for path in paths]
    return "\n".join(lines)


def purpose(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path} has no docstring"
    return docstring.partition("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")


def test_the_readme_shows_the_tree() -> None:
    shown = (ROOT / "README.md").read_text().partition("<!-- tree -->\n```\n")[2].partition("\n```\n<!-- /tree -->")[0]
    assert shown == tree()


@pytest.mark.slow
def test_the_table_of_the_tests_is_fresh() -> None:
    done = subprocess.run([sys.executable, "tests/properties.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
