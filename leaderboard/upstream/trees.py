"""Trees: the source of a record as its own commit has it, read without touching anybody's work tree.

Objects are read one by one, as `git archive` would write them but for filters and links: no attribute and no
configuration of the repository has a say. Logs stay behind; a campaign would keep a copy of all of them.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.campaigns.scripts import KEPT_BYTES, KEPT_FILE_BYTES, KEPT_FILES
from harness.errors import UserError
from harness.system.names import clashes, is_gits

from .checkout import Checkout
from .embedded import MAIN, entry_of
from .history import ImportedRecord
from .objects import TrackedFile

RECORDS = "records/"  # their logs, hundreds of megabytes of them


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The files of a commit that are source."""

    files: dict[str, bytes]
    entry: str  # empty where there is no training script
    left_out: int  # files beside `records/` that are too large, cannot be had, or have no plain name

    @property
    def without(self) -> str:
        """What is not in it, to be put behind its name."""
        more = f" and {self.left_out} others" if self.left_out else ""
        return f" without {RECORDS}{more}"


def open_commit(checkout: Path, commit: str) -> Checkout | None:
    """A checkout at a commit; None where it does not have that commit. Raises UserError where it is no checkout."""
    Checkout(checkout)
    try:
        found = Checkout(checkout, commit)
    except UserError:
        return None
    return found if found.commit else None


def read_tree(checkout: Path, commit: str, record: ImportedRecord) -> SourceTree | None:
    """The source of a record in the tree of its commit, beside which its logs were committed; None without that commit.

    It is at the top, as upstream runs it, or else in the record's own folder. Raises UserError where the checkout is
    none, or the tree is more than a campaign keeps.
    """
    opened = open_commit(checkout, commit)
    if opened is None:
        return None
    listed = opened.files(".")
    stated = record.stated.files if record.stated and record.stated.files else (MAIN,)
    top = [file for file in listed if not file.path.startswith(RECORDS)]
    if any(file.path in stated for file in top):
        return _read(opened, top, "", stated)
    below = f"{record.folder}/"
    own = [file for file in listed if file.path.startswith(below) and file.path.rpartition("/")[2] in stated]
    return _read(opened, own, below, stated)


def _read(opened: Checkout, listed: list[TrackedFile], below: str, stated: tuple[str, ...]) -> SourceTree:
    wanted = [file for file in listed if _is_source(file, below)]
    if len(wanted) > KEPT_FILES or sum(file.size_bytes for file in wanted) > KEPT_BYTES:
        raise UserError(
            f"expected at most {KEPT_FILES:,} files of {KEPT_BYTES:,} bytes in the tree of commit "
            f"{opened.commit[:12]}, found {len(wanted):,}"
        )
    files = {file.path.removeprefix(below): b"".join(chunks) for file, chunks in opened.read(wanted)}
    for name in [file.path.removeprefix(below) for file in wanted if file.key in opened.damage]:
        files.pop(name, None)
    for first, other in clashes(sorted(files)):
        raise UserError(f"expected names that differ in more than case or Unicode form, found {first!r} and {other!r}")
    scripts = {name: text for name, text in files.items() if name.rpartition("/")[2] in stated and name.endswith(".py")}
    return SourceTree(files, entry_of(scripts) if scripts else "", len(listed) - len(files))


def _is_source(file: TrackedFile, below: str) -> bool:
    """Whether a campaign would keep a copy of it under this name."""
    name = file.path.removeprefix(below)
    is_plain = name.isprintable() and not {"", ".", ".."} & set(name.split("/")) and not is_gits(name)
    return is_plain and (name.endswith(".py") or file.size_bytes <= KEPT_FILE_BYTES)
