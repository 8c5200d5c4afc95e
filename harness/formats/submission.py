"""A submission is a source tree, identified by the digest of its bytes.

What runs is a read-only copy of what was hashed. The copy is taken through plain files only: links, devices and
sockets are refused, so nothing outside the tree comes along and nothing can be swapped afterwards.
"""

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunFailure, UserError
from ..status import Status
from ..system.names import clashes, is_gits
from ..system.plainfile import read_plain

IGNORED = frozenset({"__pycache__", ".git", ".gitattributes", ".gitignore", ".gitmodules", ".venv", ".DS_Store"})
MAX_FILES = 1000
MAX_BYTES = 2**28  # of all files: far above any track's budget, so that nobody's checkpoints are read into memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The bytes that run."""

    entry: str  # name of the file that defines train(run) and load(weights, device)
    root: Path  # where they were found
    files: dict[str, str]  # relative path -> SHA-256
    bytes: int
    sha256: str  # over names and digests of all files


def read_submission(path: Path) -> Submission:
    """The submission a user names: one file, or a folder that holds a `train_gpt.py`.

    Raises UserError when it is neither, or holds anything but plain files.
    """
    root, entry = (path, "train_gpt.py") if path.is_dir() else (path.parent, path.name)
    if not (root / entry).is_file():
        raise UserError(f"expected a script, or a folder with a train_gpt.py, found nothing of the kind at {path}")
    if not entry.endswith(".py"):
        raise UserError(f"expected a Python file (name.py), found {path.name}")
    names = [entry] if not path.is_dir() else _names(root)
    for first, other in clashes(names):
        raise UserError(f"expected names that differ in more than case or Unicode form, found {first!r} and {other!r}")
    files, total = {}, 0
    for name in names:
        if is_gits(name):
            raise UserError(f"expected no file that git takes for its own in a submission, found {name!r}; rename it")
        if not name.isprintable():
            raise UserError(f"expected printable file names in a submission, found {name!r}; rename it")
        content = read_plain(root / name, MAX_BYTES - total)
        files[name] = hashlib.sha256(content).hexdigest()
        total += len(content)
    return Submission(entry=entry, root=root, files=files, bytes=total, sha256=source_digest(files))


def source_digest(files: dict[str, str]) -> str:
    """The identity of a source tree: SHA-256 over the names and digests of its files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def take_copy(submission: Submission, target: Path) -> None:
    """Copy exactly the hashed bytes. Raises UserError if a file has changed since."""
    for name, digest in submission.files.items():
        content = read_plain(submission.root / name, MAX_BYTES)
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{submission.root / name} changed while it was read; run it again")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)


def check_source(submission: Submission, source: Path, budget_bytes: int) -> None:
    """What can be told without running anything: size, syntax, train and load. Raises RunFailure."""
    if submission.bytes > budget_bytes:
        raise RunFailure(
            Status.SOURCE_TOO_BIG,
            f"expected at most {budget_bytes:,} bytes of source on this track, found {submission.bytes:,}",
        )
    tree = _parse(source / submission.entry)
    defined = set(_top_level_names(tree))
    for name, status in (("train", Status.NO_TRAIN), ("load", Status.NO_LOAD)):
        if name not in defined and "*" not in defined:
            signature = {"train": "train(run)", "load": "load(weights, device)"}[name]
            raise RunFailure(status, f"expected {submission.entry} to define {signature}, found no {name}")


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=path.name)
    except SyntaxError as error:
        raise RunFailure(Status.SYNTAX_ERROR, f"{path.name}, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes; nesting no parser follows
        raise RunFailure(Status.SYNTAX_ERROR, f"{path.name} cannot be parsed: {error}") from error


def _top_level_names(tree: ast.Module) -> list[str]:
    """Names a module may define at its top level; "*" when it imports everything from somewhere."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def _names(root: Path) -> list[str]:
    """Every file of a folder, sorted, without caches."""
    names: list[str] = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not IGNORED.isdisjoint(relative.parts) or (path.is_dir() and not path.is_symlink()):
            continue
        names.append(str(relative))
        if len(names) > MAX_FILES:
            raise UserError(f"expected at most {MAX_FILES} files in a submission, found more in {root}")
    return names
