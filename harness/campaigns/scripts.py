"""Scripts: what a campaign of self-timed scripts fixes of each arm before its first run, and how it is checked.

An arm is a checkout with its settings: arguments, launcher, environment. What is small of a checkout is copied into the
campaign; what is large, and what links lead to, stays where it is and is held to its digest before every run.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from ..errors import UserError, first_problem
from ..formats.run import Section, Sha256, SubmissionRef
from ..formats.submission import Submission, source_digest
from ..selftimed.grammars import BY_NAME
from ..selftimed.record import MAX_ARGUMENTS
from ..selftimed.workcopy import MAX_SOURCE_BYTES, ScriptCheckout, checkout_files
from ..system.names import is_gits
from ..system.plainfile import read_plain

KEPT_FILE_BYTES = 2**20  # a larger file is linked to, unless it is Python
KEPT_BYTES = 2**26  # of all files that are copied
KEPT_FILES = 5_000
CHUNK_BYTES = 2**22
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # what a process can be given


class LinkedData(Section):
    """A large file of a checkout, or what a link in it leads to."""

    target: str  # its absolute path, on the machine of the plan
    bytes: Annotated[int, Field(ge=0)]  # of all files in it
    sha256: Sha256  # of the file, or over names and digests of the files of a folder


class JudgedCheckpoint(Section):
    """What a script leaves for the judge."""

    path: Text  # inside the checkout
    adapter: Text  # the name of how its model is read

    @model_validator(mode="after")
    def _lies_inside(self) -> Self:
        if {"", ".", ".."} & set(self.path.split("/")):
            raise ValueError(f"expected the path of a checkpoint inside the checkout, found {self.path!r}")
        return self


class ArmScript(Section):
    """How an arm's script is started; the files of its checkout are the arm's submission."""

    checkout: str  # the name of its folder
    checkout_sha256: Sha256  # over names and digests of its Python files
    arguments: Annotated[tuple[Text, ...], Field(max_length=MAX_ARGUMENTS)] = ()
    launcher: Literal["python", "torchrun"]
    environment: dict[VariableName, Text] = Field(default_factory=dict)  # what it is given, without the seed
    secrets: tuple[VariableName, ...] = ()  # names of what it is given besides, and is never written down
    readable: tuple[str, ...] = ()  # what it may read outside its checkout
    linked: dict[Text, LinkedData] = Field(default_factory=dict)  # by path inside the checkout
    checkpoint: JudgedCheckpoint | None = None  # None: what it states is all there is

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Scripts without a checkpoint are written as they were before there were others: arms keep their digests."""
        fields: dict[str, Any] = write(self)
        if self.checkpoint is None:
            fields.pop("checkpoint", None)
        return fields

    @model_validator(mode="after")
    def _links_stay_inside(self) -> Self:
        """A ledger may be anybody's: no link is made outside the working copy, and none below another link."""
        for name in self.linked:
            parts = name.split("/")
            above = {"/".join(parts[:n]) for n in range(1, len(parts))}
            if {"", ".", ".."} & set(parts) or above & self.linked.keys():
                raise ValueError(f"expected paths inside the checkout, none below another, found {name!r}")
        return self


class SelfTimedPlan(Section):
    """What both arms of a campaign of self-timed scripts have in common."""

    seed_variable: VariableName | None = (
        None  # of the environment, which the slot's seed goes into; None: scripts take their own
    )
    budget_s: Annotated[float, Field(gt=0)]  # of one run
    grammars: tuple[str, ...]  # whose lines are heard


def gather(checkout: ScriptCheckout) -> tuple[Submission, dict[str, LinkedData]]:
    """The files of a checkout that a campaign keeps a copy of, and the data it only links to. Raises UserError.

    Where all that is small is still too much (a repository with years of logs), the largest folders that do not hold
    the script are linked to as well. Git's own files are left out: no script reads them.
    """
    sizes: dict[str, int] = {}
    outside: list[str] = []  # large files, and links
    for path in checkout_files(checkout.root):
        name = path.relative_to(checkout.root).as_posix()
        if is_gits(name):
            continue  # no script needs it, and where the campaign is handed in git would obey it
        if not name.isprintable():
            raise UserError(
                f"expected printable file names in a checkout, found {name!r}; rename it, or see --checkout"
            )
        if path.is_symlink() or (path.suffix != ".py" and path.stat().st_size > KEPT_FILE_BYTES):
            if path.exists():  # a link to nothing is nothing
                outside.append(name)
        else:
            sizes[name] = path.stat().st_size
    for folder in _too_much(sizes, checkout.entry):
        inside = f"{folder}/"
        sizes = {name: size for name, size in sizes.items() if not name.startswith(inside)}
        outside = [*(name for name in outside if not name.startswith(inside)), folder]
    files: dict[str, str] = {}
    total = 0
    for name in sizes:
        content = read_plain(checkout.root / name, MAX_SOURCE_BYTES)
        files[name] = hashlib.sha256(content).hexdigest()
        total += len(content)
    if total > KEPT_BYTES or len(files) > KEPT_FILES:
        raise UserError(
            f"expected at most {KEPT_FILES:,} files of {KEPT_BYTES:,} bytes to keep of {checkout.root}, found "
            f"{len(files):,} of {total:,}; name a smaller folder with --checkout"
        )
    entry = checkout.entry.as_posix()
    submission = Submission(entry=entry, root=checkout.root, files=files, bytes=total, sha256=source_digest(files))
    return submission, {name: linked_data(checkout.root / name) for name in outside}


def _too_much(sizes: Mapping[str, int], entry: Path) -> list[str]:
    """The folders beside the way to the script, largest first, without which the rest can be kept."""
    way = {parent.as_posix() for parent in entry.parents}
    beside: dict[str, list[int]] = {}
    for name, size in sizes.items():
        above = (parent.as_posix() for parent in reversed(Path(name).parents))
        first = next((parent for parent in above if parent not in way), None)
        if first is not None:
            beside.setdefault(first, []).append(size)
    total, count = sum(sizes.values()), len(sizes)
    found = []
    for folder, inside in sorted(
        beside.items(), key=lambda item: -max(sum(item[1]) / KEPT_BYTES, len(item[1]) / KEPT_FILES)
    ):
        if total <= KEPT_BYTES and count <= KEPT_FILES:
            break
        found.append(folder)
        total, count = total - sum(inside), count - len(inside)
    return found


def judged_checkpoint(path: str, adapter: str, files: Iterable[str]) -> JudgedCheckpoint:
    """A checkpoint that a script is to leave. files: names of what its checkout has. Raises UserError."""
    try:
        named = JudgedCheckpoint(path=path, adapter=adapter)
    except ValidationError as error:
        raise UserError(f"--checkpoint: {first_problem(error)}") from error
    if any(name == path or path.startswith(f"{name}/") for name in files):
        raise UserError(
            f"expected each run to make its checkpoint {path}, found it in the checkout already; remove it there"
        )
    return named


def linked_data(path: Path) -> LinkedData:
    """What lies at a path, links followed. Raises UserError where it cannot be read."""
    target = path.resolve()
    try:
        if target.is_dir():
            found = {p.relative_to(target).as_posix(): p for p in checkout_files(target) if p.is_file()}
            digests = {name: _file_digest(file) for name, file in found.items()}
            return LinkedData(
                target=str(target), bytes=sum(p.stat().st_size for p in found.values()), sha256=source_digest(digests)
            )
        return LinkedData(target=str(target), bytes=target.stat().st_size, sha256=_file_digest(target))
    except OSError as error:
        raise UserError(f"expected data of the checkout at {target}, found: {error.strerror}") from error


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"expected a plain file at {path}, found something else")
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def check_linked(scripts: Iterable[ArmScript]) -> None:
    """Raises UserError unless all data that arms link to is what it was when the campaign was planned."""
    read: dict[str, LinkedData] = {}  # by target: both arms may link to the same
    for script, name, planned in ((each, *item) for each in scripts for item in each.linked.items()):
        if planned.target not in read:
            read[planned.target] = linked_data(Path(planned.target))
        found = read[planned.target]
        if (found.bytes, found.sha256) != (planned.bytes, planned.sha256):
            raise UserError(
                f"expected {name} of {script.checkout} as it was planned (sha256 {planned.sha256[:12]}), found "
                f"{found.sha256[:12]} at {planned.target}; restore it, or start another campaign"
            )


def kept_checkout(script: ArmScript, submission: SubmissionRef, place: Path) -> ScriptCheckout:
    """The checkout of an arm as the campaign keeps it in `place`, with links to what it does not keep."""
    return ScriptCheckout(
        root=place.absolute(),  # a sandbox that starts elsewhere would look for it beside itself
        entry=Path(submission.entry),
        entry_sha256=submission.files[submission.entry],
        sha256=script.checkout_sha256,
        linked=tuple((name, Path(data.target)) for name, data in script.linked.items()),
        title=script.checkout,
    )


def grammar_problem(names: tuple[str, ...]) -> str | None:
    """The first name that is no grammar's."""
    return next((name for name in names if name not in BY_NAME), None)
