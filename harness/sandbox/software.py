"""Software: which files of the system, the interpreter and its packages a sandbox shows.

A whitelist, by folder and by kind of file: the interpreter, the packages a track allows with all they require, shared
libraries, and what a compiler needs (torch.compile calls one). Documentation, tests, data, licences and whatever else
is installed stay outside. Both sandboxes show the same files: `nodes`, which `mounts` tells to bubblewrap.

Natural language remains in what is needed: docstrings, comments, headers, messages in libraries. How much, and what it
is worth: `python -m benchmarks.readable_text`.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from ..formats.environment import normalised, site_of

LINKS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/usr/lib64")  # where they are links, they stay links
LIBRARIES = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/local/lib", "/usr/local/lib64")
COMPILER = ("/usr/include", "/usr/local/include", "/usr/lib/gcc", "/usr/lib64/gcc", "/usr/libexec/gcc")
COMMANDS = ("sh", "bash", "env", "true", "cat", "ls", "rm", "uname", "ldconfig", "gcc", "g++", "cc", "c++", "cpp", "as",
            "ld", "ar", "make", "ninja", "nvidia-smi")  # fmt: skip
COMMAND_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "hosts", "localtime", "nsswitch.conf", "passwd",
       "group")  # fmt: skip
CUDA = ("/etc/OpenCL", "/etc/vulkan", "/usr/local/nvidia", "/usr/local/cuda",
        *(f"/usr/share/{name}" for name in ("nvidia", "glvnd", "vulkan", "egl", "libdrm")))  # fmt: skip
"""What drivers and their settings add where a GPU is used."""
HIDDEN_FOLDERS = re.compile(
    r"docs?|examples|test-examples|share|man|locales?|fonts|licenses|plugin|install-tools|site-packages|dist-packages"
    r"|idlelib|lib2to3|ensurepip|pydoc_data|turtledemo|tkinter|config-.*|model_dump"
)
"""Of an installation: documentation, and parts of Python that no training imports."""
OF_OTHERS = re.compile(r"dri|valgrind|systemd|node")
"""Of /usr/lib and /usr/include: what graphics and other languages need, and no training."""
OF_CLANG = re.compile(r"llvm.*|libLLVM.*|libclang.*")
"""Likewise, where it is not the compiler."""
WITH_DATA = re.compile(r"tests?|data")
"""Folders that are hidden whole where anything but code lies in them: one empty folder is cheaper than many files."""
CODE = frozenset(
    {".py", ".pyc", ".pyi", ".h", ".hh", ".hpp", ".cuh", ".c", ".cc", ".cpp", ".cu", ".inc", ".inl", ".tcc", ".def",
     ".jinja", ".typed", ".bc", ".ptx", ".cubin", ".fatbin", ".a", ".o", ".la", ".spec", ".specs", ".ld", ".pxd",
     ".pyx", ".exe", ".tmpl", ".template", ".bat", ".ini", ".cfg", ".in", ".g4", ".thrift", ".yaml", ".build", ".lock"}
)  # fmt: skip
PROSE = re.compile(r"(readme|licen[cs]e|copying|change(log|s)|news|authors|notice|todo)", re.IGNORECASE)
DATA = frozenset(
    {".txt", ".md", ".rst", ".html", ".json", ".csv", ".gz", ".xz", ".zip", ".dat", ".npy", ".npz", ".pt",
     ".pdf", ".ttf", ".xml", ".svg", ".png"}
)  # fmt: skip
DIST_INFO = frozenset({"METADATA", "PKG-INFO", "entry_points.txt"})  # what importlib.metadata reads
INFO = (".dist-info", ".egg-info")
Keep = Callable[[os.DirEntry[str]], bool]


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder. shown: True, with all below it; False, with all below it; None: some of its children are."""

    path: str
    shown: bool | None
    link: str | None = None  # where a symbolic link leads
    is_folder: bool = False
    children: tuple["Node", ...] = ()


def walk(folder: str, keep: Keep) -> Node:
    """A folder as a node. keep: whether a file is shown, and whether anything below a folder may be."""
    children = []
    for entry in entries(folder):
        path = entry.path
        if entry.is_symlink():
            children.append(Node(path, None, link=os.readlink(path)))
        elif entry.is_dir():
            below = walk(path, keep) if keep(entry) else Node(path, False, is_folder=True)
            whole = below.shown is True or not WITH_DATA.fullmatch(entry.name)
            children.append(below if whole else Node(path, False, is_folder=True))
        else:
            children.append(Node(path, keep(entry)))
    return together(folder, children)


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name; nothing where it may not be listed, and then nothing below it can be read."""
    with suppress(PermissionError), os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)
    return []


def together(folder: str, children: list[Node]) -> Node:
    """The folder of these children; one whose children are all shown, or all hidden, needs none of them."""
    states = {child.shown for child in children if child.link is None}
    if states <= {True} or states == {False}:
        return Node(folder, states <= {True}, is_folder=True)
    return Node(folder, None, is_folder=True, children=tuple(children))


def is_code(entry: os.DirEntry[str]) -> bool:
    """What a program is made of; executables have no suffix."""
    if entry.is_dir():
        return HIDDEN_FOLDERS.fullmatch(entry.name) is None
    suffix = os.path.splitext(entry.name)[1]
    if suffix in CODE or ".so" in entry.name:
        return True
    if entry.name.startswith("test_"):
        return False
    return suffix not in DATA and not PROSE.match(entry.name) and bool(entry.stat().st_mode & 0o111)


def is_of_python(entry: os.DirEntry[str]) -> bool:
    """Of the standard library: its tests are the larger half of it."""
    return is_code(entry) and not (entry.is_dir() and entry.name == "test")


def is_of_a_compiler(entry: os.DirEntry[str]) -> bool:
    """Headers, of which C++'s own have no suffix, and programs."""
    if entry.is_dir():
        return HIDDEN_FOLDERS.fullmatch(entry.name) is None and not _is_of_others(entry.name)
    return os.path.splitext(entry.name)[1] not in DATA and not PROSE.match(entry.name)


def libraries(folder: str) -> Node:
    """A folder of shared libraries, what a linker adds to programs, and folders of nothing but these.

    An archive is hidden where a shared library has its name: the linker takes that.
    """
    children = []
    for entry in entries(folder):
        path = entry.path
        if entry.is_symlink():
            children.append(Node(path, None, link=os.readlink(path)))
        elif _is_of_others(entry.name) or (path.endswith(".a") and os.path.exists(f"{path[:-2]}.so")):
            children.append(Node(path, False, is_folder=entry.is_dir()))
        elif entry.is_dir() and "-linux-gnu" in entry.name:
            children.append(libraries(path))
        elif entry.is_dir():
            children.append(Node(path, _holds_libraries_only(path), is_folder=True))
        else:
            children.append(Node(path, not PROSE.match(entry.name) and os.path.splitext(entry.name)[1] not in DATA))
    return together(folder, children)


def _is_of_others(name: str) -> bool:
    return bool(OF_OTHERS.fullmatch(name) or (OF_CLANG.fullmatch(name) and shutil.which("g++")))


def _holds_libraries_only(folder: str) -> bool:
    found = False
    for parent, _, names in os.walk(folder):
        if not all(".so" in name or name.endswith((".a", ".o")) for name in names) and "ldscripts" not in parent:
            return False
        found = found or bool(names)
    return found


@cache
def nodes(python: Path | None, packages: tuple[str, ...] | None) -> tuple[Node, ...]:
    """Everything that is shown of the system and of an interpreter (None: this one) with these distributions.

    packages: names, as of PyPI, with what they require; None: all that are installed, and the interpreter whole.
    """
    return (*_system(), *(_whole(python) if packages is None else _python(python, packages)))


def of_cuda(is_used: bool) -> tuple[Node, ...]:
    """What is shown besides where a GPU is used; these are shown whole, and links of these names are followed."""
    return tuple(Node(path, True, is_folder=True) for path in CUDA if is_used and os.path.exists(path))


def links() -> tuple[Node, ...]:
    """Folders of the root that are links into /usr."""
    return tuple(Node(path, None, link=os.readlink(path)) for path in LINKS if os.path.islink(path))


@cache
def _system() -> tuple[Node, ...]:
    return (*_libraries(), *_compiler(), *_commands())


def _libraries() -> Iterator[Node]:
    for name in LIBRARIES:
        if os.path.isdir(name) and not os.path.islink(name):
            yield libraries(name)


def _compiler() -> Iterator[Node]:
    folders = [Path(name) for name in COMPILER]
    if shutil.which("g++") is None:
        folders += [path.resolve() for path in Path("/usr/lib").glob("llvm-*")]
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            yield walk(str(folder), is_of_a_compiler)


def _commands() -> Iterator[Node]:
    """Programs, with the links that lead to them."""
    known: set[Path] = set()
    for folder in COMMAND_FOLDERS:
        for name in COMMANDS:
            if not os.path.islink(folder):
                yield from _chain(Path(folder, name), known)


def _chain(path: Path, known: set[Path]) -> Iterator[Node]:
    """A file, by whatever links it goes."""
    while path not in known and os.path.lexists(path):
        known.add(path)
        if not path.is_symlink():
            yield Node(str(path), True)
            return
        target = os.readlink(path)
        yield Node(str(path), None, link=target)
        path = Path(os.path.normpath(path.parent / target))


def prefixes(python: Path | None) -> tuple[Path, Path]:
    """An interpreter's environment, and the installation that is made from."""
    if python is None:
        return Path(sys.prefix), Path(sys.executable).resolve().parent.parent
    return python.absolute().parent.parent, python.resolve().parent.parent


def _whole(python: Path | None) -> Iterator[Node]:
    folders = set(prefixes(python)) | ({Path(sys.base_prefix).resolve()} if python is None else set())
    for folder in sorted(folders):
        if not any(folder != other and folder.is_relative_to(other) for other in folders) and folder != Path("/usr"):
            yield Node(str(folder), True, is_folder=True)
    if Path("/usr") in folders:
        for folder in (*sorted(Path("/usr/lib").glob("python3*")), *sorted(Path("/usr/local/lib").glob("python3*"))):
            yield Node(str(folder), True, is_folder=True)
        yield from _interpreter_files(Path("/usr"))


def _python(python: Path | None, packages: tuple[str, ...]) -> Iterator[Node]:
    prefix, base = prefixes(python)
    yield from _interpreter_files(prefix)
    if base != prefix:
        yield from _interpreter_files(base)
    for library in sorted((base / "lib").glob("python3.*")):
        if (library / "os.py").is_file():
            yield walk(str(library), is_of_python)
    for headers in sorted((base / "include").glob("python3.*")) if base != Path("/usr") else ():
        yield walk(str(headers), is_of_a_compiler)
    for site in sites(python):
        yield from _site(site, packages)


def _interpreter_files(prefix: Path) -> Iterator[Node]:
    known: set[Path] = set()
    for program in sorted((prefix / "bin").glob("python*")):
        if re.fullmatch(r"python[\d.]*", program.name):
            yield from _chain(program, known)
    for library in sorted((prefix / "lib").glob("libpython*")) if prefix != Path("/usr") else ():
        yield from _chain(library, known)
    if (prefix / "pyvenv.cfg").is_file():
        yield Node(str(prefix / "pyvenv.cfg"), True)
        yield from (Node(str(prefix / name), None, link=os.readlink(prefix / name)) for name in ("lib64",)
                    if (prefix / name).is_symlink())  # fmt: skip


def sites(python: Path | None) -> list[Path]:
    """The folders an interpreter's packages lie in, but for those of a user's home."""
    if python is not None:
        return [site_of(python)]
    prefixes = (sys.prefix, sys.base_prefix)
    places = [Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages") and Path(p).is_dir()]
    return list(dict.fromkeys(p for p in places if any(p.is_relative_to(prefix) for prefix in prefixes)))


def make_environment(folder: Path, python: Path | None, packages: tuple[str, ...]) -> Path:
    """A virtual environment of links to nothing but these distributions; returns its interpreter.

    For a sandbox that hides no names: a module that is found but cannot be read would be no ImportError, and whoever
    tries an optional package relies on that.
    """
    base = prefixes(python)[1]
    library = next(path for path in sorted((base / "lib").glob("python3.*")) if (path / "os.py").is_file())
    site, program = folder / "lib" / library.name / "site-packages", folder / "bin" / "python"
    for place in (site, program.parent):
        place.mkdir(parents=True)
    program.symlink_to((python or Path(sys.executable)).resolve())
    (program.parent / "python3").symlink_to("python")
    (folder / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\ninclude-system-site-packages = false\n")
    for there in sites(python):
        for name in sorted(_modules(there, packages)):
            if (there / name).exists() and not (site / name).exists():
                (site / name).symlink_to(there / name)
    return program


@cache
def _modules(site: Path, packages: tuple[str, ...]) -> frozenset[str]:
    """What these distributions have in a folder, and for those that are named themselves what tells their versions."""
    named, found = {normalised(name) for name in packages}, set[str]()
    for distribution in closure(packages, site):
        told = normalised(distribution.metadata["Name"]) in named
        found |= {name for name in top_level(distribution) if told or not name.endswith(INFO)}
    return frozenset(found)


def _site(site: Path, packages: tuple[str, ...]) -> Iterator[Node]:
    """A folder of packages, of which these are shown, and what they lead to elsewhere where they are links."""
    wanted, children = _modules(site, packages), []
    for entry in entries(str(site)):
        path, is_info = entry.path, entry.name.endswith(INFO)
        keep: Keep = (lambda file: file.name in DIST_INFO) if is_info else is_code
        if entry.name not in wanted:
            children.append(Node(path, False, is_folder=entry.is_dir()))
            continue
        if entry.is_symlink():
            path = os.path.realpath(path)  # through whatever folders are links themselves
            children.append(Node(entry.path, None, link=path))
        found = walk(path, keep) if entry.is_dir() else Node(path, keep(entry))
        if entry.is_symlink():
            yield found
        else:
            children.append(found)
    yield together(str(site), children)


def closure(packages: Iterable[str], site: Path) -> list[metadata.Distribution]:
    """The distributions of these names in a folder and what they require, but for extras; those that are there."""
    installed = {normalised(d.metadata["Name"]): d for d in metadata.distributions(path=[str(site)])}
    found: dict[str, metadata.Distribution] = {}
    open_names = [normalised(name) for name in packages]
    while open_names:
        name = open_names.pop()
        if name in found or name not in installed:
            continue
        found[name] = installed[name]
        for requirement in installed[name].requires or ():
            if "extra ==" not in requirement and (match := re.match(r"[\w.-]+", requirement)):
                open_names.append(normalised(match[0]))
    return [found[name] for name in sorted(found)]


def top_level(distribution: metadata.Distribution) -> set[str]:
    """First parts of the paths of its files; without a list of files, its modules as it names them.

    The list is read here: `distribution.files` takes half a second for torch's.
    """
    if record := distribution.read_text("RECORD"):
        return {re.split(r"[/,]", line.strip('"'), maxsplit=1)[0] for line in record.splitlines()} - {
            "..",
            "__pycache__",
        }
    named = (distribution.read_text("top_level.txt") or normalised(distribution.metadata["Name"])).split()
    return {form for name in named for form in (name, name.replace("-", "_"), f"{name}.py")}
