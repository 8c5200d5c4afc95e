"""One digest over everything a board shows: tracks, imported histories, claims, records and what is attached to them.

`digests.json` beside the tracks holds the SHA-256 of every file below them, one line each, in one form; its own digest
stands for all of it. Whoever may edit the tree can edit this file too: it finds accidents and careless hands. Against
others it has to be held against a copy they cannot reach: a signed tag, another checkout (`speedrun verify --against`).
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from data.files import replace_file

from ..errors import RecordError, UserError, first_problem
from ..formats import layout
from ..formats.run import Finding, Section, Sha256
from ..system import scratch
from ..system.plainfile import read_plain
from .manifest import name_findings

MAX_DIGESTS_BYTES = 2**26
MAX_FILE_BYTES = 2**26
GIT_TIMEOUT_S = 120
ON_PURPOSE = "`speedrun verify records --write-digests`, where it was changed on purpose"


class TreeDigests(Section):
    """digests.json"""

    schema_version: Literal[1] = 1
    files: Annotated[dict[str, Sha256], Field(max_length=2**20)]


def digests_bytes(files: Mapping[str, str]) -> bytes:
    """The one form: names sorted, a line each."""
    content = TreeDigests(files=dict(sorted(files.items()))).model_dump(mode="json")
    return (json.dumps(content, indent=0, ensure_ascii=True) + "\n").encode()


def read_digests(path: Path) -> dict[str, str]:
    """Raises RecordError where it is not there, is no such file, or not in its one form."""
    return parse_digests(read_plain(path, MAX_DIGESTS_BYTES, RecordError), str(path))


def parse_digests(content: bytes, where: str) -> dict[str, str]:
    """Raises RecordError."""
    try:
        files = TreeDigests.model_validate_json(content).files
    except ValidationError as error:
        raise RecordError(f"{where}: {first_problem(error)}") from error
    if digests_bytes(files) != content:
        raise RecordError(f"{where}: expected the digests in their one form, found other bytes")
    return files


def measure(root: Path) -> tuple[dict[str, str], list[Finding]]:
    """The digest of every plain file below a folder of tracks but the digests' own, and what is no plain file."""
    files: dict[str, str] = {}
    findings: list[Finding] = []
    for path in _below(root):
        name = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
        if name == layout.DIGESTS_FILE:
            continue
        try:
            files[name] = hashlib.sha256(read_plain(path, MAX_FILE_BYTES, RecordError)).hexdigest()
        except RecordError as error:
            findings.append(Finding.error("not_plain", f"{name!r} is no plain file", "a plain file", str(error)))
    return files, [*findings, *name_findings(files)]


def _below(root: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder itself; no link is followed, and what is being made is left out."""
    being_made = {path for parent in (root, *root.iterdir()) for path in _being_made(parent)}
    waiting = [root]
    while waiting:
        here = waiting.pop()
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if path not in being_made:
                    waiting.append(path)
            else:
                yield path


def _being_made(folder: Path) -> list[Path]:
    return list(scratch.sweep(folder)) if folder.is_dir() and not folder.is_symlink() else []


def write_digests(root: Path) -> str:
    """Measure a folder of tracks and write its digests.json. Returns the digest of that file."""
    content = digests_bytes(measure(root)[0])
    replace_file(root / layout.DIGESTS_FILE, [content])
    return hashlib.sha256(content).hexdigest()


def add_to_digests(folder: Path) -> None:
    """Enter a new folder, and nothing else, where the tree it lies in has digests that can be read."""
    root = next((parent for parent in folder.parents if (parent / layout.DIGESTS_FILE).is_file()), None)
    if root is None:
        return
    try:
        known = read_digests(root / layout.DIGESTS_FILE)
    except RecordError:
        return  # verification says so
    own = {f"{folder.relative_to(root).as_posix()}/{name}": digest for name, digest in measure(folder)[0].items()}
    replace_file(root / layout.DIGESTS_FILE, [digests_bytes(known | own)])


def tree_findings(root: Path) -> tuple[list[Finding], str | None]:
    """How a folder of tracks differs from its digests.json, and the digest of that file."""
    measured, findings = measure(root)
    path = root / layout.DIGESTS_FILE
    if not os.path.lexists(path):
        sentence = f"there is no {layout.DIGESTS_FILE}"
        return [*findings, Finding.error("digests_missing", sentence, ON_PURPOSE, "no such file")], None
    try:
        known = read_digests(path)
    except RecordError as error:
        expected = f"digests of this tree ({ON_PURPOSE})"
        return [*findings, Finding.error("digests_unreadable", str(error), expected, "none that can be read")], None
    found = [*findings, *compare(known, measured, layout.DIGESTS_FILE, added="error")]
    return found, hashlib.sha256(digests_bytes(known)).hexdigest()


def compare(
    known: Mapping[str, str], measured: Mapping[str, str], where: str, added: Literal["error", "warning"]
) -> Iterator[Finding]:
    """What was altered, is gone, and was added since; `added` is how bad the last is."""
    for name in sorted(known.keys() | measured.keys()):
        expected, found = known.get(name), measured.get(name)
        if expected is None:
            say = Finding.error if added == "error" else Finding.warning
            yield say("file_extra", f"{where} knows nothing of {name!r}", "no such file", f"{found}"[:12])
        elif found is None:
            yield Finding.error("file_missing", f"{name!r} is gone", expected[:12], "no such file")
        elif found != expected:
            sentence = f"{name!r} is not the file of which {where} tells"
            yield Finding.error("file_altered", sentence, expected[:12], found[:12])


def against(root: Path, other: str) -> list[Finding]:
    """What of a tree is not as it was elsewhere: another checkout, its records, a digests.json, or a git revision.

    The files themselves are compared, whatever this tree's own digests say; what was added since is a warning.
    Raises UserError where there is nothing to compare with.
    """
    known, findings = _elsewhere(root, other)
    return [*findings, *compare(known, measure(root)[0], other, added="warning")]


def _elsewhere(root: Path, other: str) -> tuple[dict[str, str], list[Finding]]:
    path = Path(other)
    if path.is_file():
        return read_digests(path), []
    for folder in (path, path / layout.RECORDS_DIR):
        if folder.is_dir() and any(folder.glob(f"*/{layout.TRACK_FILE}")):
            return measure(folder)[0], []
    shown = _git(root, "show", f"{other}:./{layout.DIGESTS_FILE}")
    if shown.returncode != 0 or other.startswith("-"):
        raise UserError(
            f"expected another checkout, its records, a {layout.DIGESTS_FILE}, or a tag or commit of this one that has "
            f"it, found none by the name {other!r}"
        )
    return parse_digests(shown.stdout, f"{other}:{layout.DIGESTS_FILE}"), list(_unsigned(root, other))


def _unsigned(root: Path, revision: str) -> Iterator[Finding]:
    """A tag without a good signature can be moved by whoever may push."""
    if _git(root, "verify-tag", "--", revision).returncode != 0:
        expected = "a tag with a signature that git can check (gpg.ssh.allowedSignersFile)"
        yield Finding.warning("tag_unsigned", f"{revision} is no signed tag", expected, "none")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, timeout=GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"expected git, to look a revision up, found none that works ({error})") from error
