"""Which files a sandbox shows: by kind, by package, and by mounts and rules that show exactly these."""

import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import landlock, mounts, software
from harness.sandbox.software import Node

SPECS = st.recursive(st.sampled_from([True, False, "link", "hidden folder"]), lambda inner: st.lists(inner, max_size=5))


def node_of(spec: Any, path: str, leaves: dict[str, bool]) -> Node:
    """A node of a tree of lists, whose leaves are files, links and hidden folders; leaves: what is to be seen.

    Of links nothing is asked: they hold nothing, and are left out where all beside them is hidden.
    """
    if isinstance(spec, list):
        return software.together(path, [node_of(part, f"{path}/{n}", leaves) for n, part in enumerate(spec)])
    if spec == "link":
        return Node(path, None, link="elsewhere")
    leaves[path + "/below" if spec == "hidden folder" else path] = spec is True
    return Node(path, spec is True, is_folder=spec == "hidden folder")


@given(st.lists(SPECS, min_size=1, max_size=5))
def test_the_cheapest_mounts_show_what_is_shown(spec: Any) -> None:
    leaves: dict[str, bool] = {}
    arguments = iter(mounts._ways(node_of(spec, "/tree", leaves))[1].arguments)
    seen = dict.fromkeys(leaves, False)
    for word in arguments:
        first = next(arguments)
        if word == "--size":
            continue
        path = first if word in ("--tmpfs", "--dir") else next(arguments)
        for leaf in leaves:
            if leaf == path or leaf.startswith(path + "/"):
                seen[leaf] = {"--tmpfs": False, "--dir": seen[leaf], "--symlink": False}.get(word, first == path)
    assert seen == leaves


@given(st.lists(SPECS, min_size=1, max_size=5))
def test_the_rules_of_landlock_let_the_same_be_read(spec: Any) -> None:
    leaves: dict[str, bool] = {}
    trees, _ = landlock._seen([node_of(spec, "/tree", leaves)])
    for leaf, shown in leaves.items():
        assert any(Path(leaf).is_relative_to(tree) for tree in trees) == shown


def test_code_is_shown_and_no_text(tmp_path: Path) -> None:
    shown = ("a.py", "b.so.1", "include/c.h", "bin/tool", "tests/d.py", "_C.cpython-311.so")
    hidden = ("README.md", "LICENSE", "docs/e.py", "share/f.py", "tests2/words.txt", "data/g.py", "data/h.npy",
              "notes", "locale/i.mo", "site-packages/j.py")  # fmt: skip
    for name in (*shown, *hidden):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (tmp_path / "bin" / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to("a.py")
    trees, _ = landlock._seen([software.walk(str(tmp_path), software.is_code)])
    readable = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
                if path.is_file() and any(path.is_relative_to(tree) for tree in trees)}  # fmt: skip
    assert readable - {"link"} == set(shown)


@pytest.mark.parametrize(("compiler", "shows_llvm"), [("/usr/bin/g++", False), (None, True)])
def test_of_libraries_what_a_training_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str | None, shows_llvm: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: compiler)
    shown = ("libm.so", "libc_nonshared.a", "libpthread.a", "crt1.o", "x86_64-linux-gnu/libz.so.1")
    hidden = ("libm.a", "words.txt", "dri/iris_dri.so", "valgrind/a.so", "mixed/a.so", "mixed/notes")
    for name in (*shown, *hidden, "libLLVM-15.so.1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    trees, _ = landlock._seen([software.libraries(str(tmp_path))])
    readable = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
                if path.is_file() and any(path.is_relative_to(tree) for tree in trees)}  # fmt: skip
    assert readable == {*shown} | ({"libLLVM-15.so.1"} if shows_llvm else set())


def test_a_folder_that_may_not_be_listed_shows_nothing(tmp_path: Path) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "a.py").write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        assert software.entries(str(tmp_path)) == []
    assert [entry.name for entry in software.entries(str(tmp_path))] == ["a.py"]


def test_a_package_brings_what_it_requires_and_nothing_else() -> None:
    (site,) = software.sites(None)
    names = software._modules(site, ("torch",))
    assert {"torch", "sympy", "filelock"} <= names
    assert not {"pytest", "rich", "hypothesis", "pip"} & names
    assert {name for name in names if name.endswith(software.INFO)} == {f"torch-{metadata.version('torch')}.dist-info"}
    for distribution in software.closure(("torch", "numpy"), site):  # read here as importlib reads it
        files = {str(file).partition("/")[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        assert software.top_level(distribution) == files


def test_an_environment_of_links_leads_to_these_only(tmp_path: Path) -> None:
    program = software.make_environment(tmp_path / "env", None, ("numpy",))
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    assert os.path.realpath(program).startswith(str(software.prefixes(None)[1]))
    assert {"numpy"} <= set(os.listdir(site)) <= set(software._modules(software.sites(None)[0], ("numpy",)))


def test_a_package_that_is_a_link_is_shown_where_it_leads(tmp_path: Path) -> None:
    """Installers that save room link packages into a folder of packages."""
    site, store = tmp_path / "env" / "lib" / "python3.11" / "site-packages", tmp_path / "store"
    for folder in (site / "one-1.0.dist-info", store / "one", store / "two"):
        folder.mkdir(parents=True)
    (site / "one-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
    (site / "one-1.0.dist-info" / "RECORD").write_text("one/__init__.py,,\n")
    for name in ("one", "two"):
        (store / name / "__init__.py").write_text("")
        (site / name).symlink_to(store / name)
    trees, _ = landlock._seen(software._site(site, ("one",)))
    assert store / "one" in trees
    assert store / "two" not in trees
