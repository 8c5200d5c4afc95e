"""A working copy of somebody's checkout, for a script that writes where it stands.

The checkout itself stays as it is and is only read. Small files are copied; what is larger is linked to, so that
shards are not copied. Data of this machine appears under `data/` where the checkout has nothing of that name.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..formats.submission import IGNORED, source_digest
from ..system.plainfile import read_plain

LINKED_BYTES = 32 * 2**20  # larger files are linked to
MAX_FILES = 100_000
MAX_SOURCE_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class ScriptCheckout:
    """A script inside its checkout."""

    root: Path  # absolute
    entry: Path  # relative to it
    entry_sha256: str
    sha256: str  # over names and digests of its Python files
    linked: tuple[tuple[str, Path], ...] = ()  # what is to be linked to besides: path inside it, absolute target
    title: str | None = None  # its name, where its folder has another one

    @property
    def name(self) -> str:
        name = self.title or self.root.name
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)[:200] or "root"


def find_checkout(script: Path, root: Path | None = None) -> ScriptCheckout:
    """The checkout of a script: what is named, else the repository around it, else its folder. Raises UserError."""
    script = script.absolute()
    if script.suffix != ".py":
        raise UserError(f"expected a Python script (name.py), found {script.name}")
    content = read_plain(script, MAX_SOURCE_BYTES)
    if root is None:
        root = next((p for p in script.parents if (p / ".git").exists()), script.parent)
    root = root.absolute()
    if not root.is_dir() or not script.is_relative_to(root):
        raise UserError(f"expected the script inside its checkout {root}, found it at {script}; see --checkout")
    files = {}
    for path in find_sources(root):
        files[path.relative_to(root).as_posix()] = hashlib.sha256(read_plain(path, MAX_SOURCE_BYTES)).hexdigest()
    entry = script.relative_to(root)
    return ScriptCheckout(root, entry, hashlib.sha256(content).hexdigest(), source_digest(files))


def find_sources(root: Path) -> list[Path]:
    """Every Python file of a checkout."""
    return [path for path in checkout_files(root) if path.suffix == ".py" and not path.is_symlink()]


def take_working_copy(checkout: ScriptCheckout, target: Path, data_root: Path) -> None:
    """Copy a checkout into an empty folder, which may lie in it. Raises UserError where there is too much of it."""
    for path in checkout_files(checkout.root, without=target.parent):
        place = target / path.relative_to(checkout.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            place.symlink_to(os.readlink(path) if _leads_inside(path, checkout.root) else os.path.realpath(path))
        elif path.stat().st_size > LINKED_BYTES:
            place.symlink_to(path)
        else:
            shutil.copyfile(path, place)
    for name, outside in checkout.linked:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(outside)
    _offer_data(target / "data", data_root)


def linked_outside(root: Path) -> tuple[Path, ...]:
    """What links of a checkout lead to outside of it, and belongs to it all the same (data on another disk).

    Nothing that holds the checkout or the user's home: a link to / is no reason to show everything.
    """
    root, home = root.resolve(), Path.home().resolve()
    targets = {Path(os.path.realpath(path)) for path in checkout_files(root) if path.is_symlink()}
    outside = (path for path in targets if path.exists() and not path.is_relative_to(root))
    return tuple(sorted(path for path in outside if not (root.is_relative_to(path) or home.is_relative_to(path))))


def _leads_inside(link: Path, root: Path) -> bool:
    is_relative = not os.path.isabs(os.readlink(link))
    return is_relative and Path(os.path.realpath(link)).is_relative_to(root.resolve())


def _offer_data(folder: Path, data_root: Path) -> None:
    """A link for each dataset of this machine that the checkout has no folder for."""
    if not data_root.is_dir() or (folder.exists() and not folder.is_dir()) or folder.is_symlink():
        return
    folder.mkdir(exist_ok=True)
    for dataset in sorted(data_root.iterdir()):
        place, is_ours = folder / dataset.name, (dataset / "__init__.py").exists()  # a package beside the datasets
        if (
            dataset.is_dir()
            and not is_ours
            and not dataset.name.startswith((".", "speedrun-"))
            and not os.path.lexists(place)
        ):
            place.symlink_to(dataset.resolve())


def take_out(work: Path, name: str, target: Path, max_bytes: int) -> str:
    """Copy a file that a script has left in its working copy, and return its SHA-256. Raises UserError.

    The script is dead by now, but whatever it left is its choice: a link anywhere on the way is refused.
    """
    path = work / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"expected a path inside the checkout, found {name!r}")
    steps = [work.joinpath(*Path(name).parts[: n + 1]) for n in range(len(Path(name).parts))]
    if any(step.is_symlink() for step in steps) or not path.is_file():
        raise UserError(f"expected the script to leave a plain file at {name}, found none; see its log")
    sha = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as source, target.open("wb") as copy:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise UserError(f"expected a file of at most {max_bytes:,} bytes at {name}, found {status.st_size:,}")
        while chunk := source.read(2**22):
            sha.update(chunk)
            copy.write(chunk)
    return sha.hexdigest()


def checkout_files(root: Path, without: Path | None = None) -> Iterator[Path]:
    """Every file and link below a folder, without repositories, caches and one more folder. Raises UserError beyond
    MAX_FILES."""
    count = 0
    for folder, folders, names in os.walk(root, followlinks=False):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = sorted(
            name for name in folders if name not in IGNORED and name not in links and Path(folder, name) != without
        )
        for name in sorted([*names, *links]):
            path = Path(folder, name)
            if not (path.is_symlink() or path.is_file()):
                continue
            count += 1
            if count > MAX_FILES:
                raise UserError(f"expected a checkout of at most {MAX_FILES:,} files, found more at {root}")
            yield path
