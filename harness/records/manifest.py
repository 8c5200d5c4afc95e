"""Manifests: digest and size of every file of a folder; nothing in it changes unseen.

A manifest is closed: a file it does not name is as wrong as one that is missing. It is written last and its bytes
are canonical, so there is exactly one manifest of a folder. It names the key that signs it: a signature taken away
is missed too.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from data.files import replace_file

from ..errors import RecordError, first_problem
from ..formats import layout
from ..formats.run import Finding, Section, Sha256
from ..system import names as file_names
from ..system.plainfile import read_plain

MAX_FILES = 4096
MAX_FILE_BYTES = 2**26  # of one file, however big its manifest says it is
MAX_MANIFEST_BYTES = 2**20


def _name_inside(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or str(PurePosixPath(*parts)) != name or name.startswith("/") or ".." in parts:
        raise ValueError("must be a path inside the folder, in its shortest form")
    if not name.isprintable() or "\\" in name:
        raise ValueError("must be a printable name")
    return name


InnerName = Annotated[str, AfterValidator(_name_inside)]


class ManifestFile(Section):
    """One file."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]


class Manifest(Section):
    """manifest.json"""

    schema_version: Literal[1] = 1
    signer: str | None = None  # fingerprint of the key that signs it, SHA256:...; None: not signed
    files: Annotated[dict[InnerName, ManifestFile], Field(max_length=MAX_FILES)]


def write_manifest(
    folder: Path,
    signer: str | None = None,
    exempt: frozenset[str] = frozenset(),
    max_file_bytes: int = layout.MAX_RECORD_BYTES,
) -> Manifest:
    """Measure every file below `folder` and write its manifest.json.

    `exempt` are names at the top of the folder that it leaves out. Raises RecordError where something in the folder
    is not a plain file.
    """
    names, findings = _names(folder, exempt)
    if findings:
        raise RecordError(f"{folder}: {findings[0].sentence}")
    files = {name: _measure(folder / name, max_file_bytes) for name in names}
    manifest = Manifest(signer=signer, files=files)
    replace_file(folder / layout.MANIFEST_FILE, [manifest_bytes(manifest)])
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """The one form of a manifest: keys sorted, one blank of indentation, a newline at the end."""
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """Raises RecordError when it is not there, not what its schema says, or not in its one form."""
    path = folder / layout.MANIFEST_FILE
    content = read_plain(path, MAX_MANIFEST_BYTES, RecordError)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{path}: {first_problem(error)}") from error
    if manifest_bytes(manifest) != content:
        raise RecordError(f"{path}: expected the manifest in its canonical form, found other bytes")
    return manifest


def check_manifest(folder: Path, exempt: frozenset[str] = frozenset()) -> tuple[Manifest | None, list[Finding]]:
    """The manifest of a folder, if it can be read, and how the folder differs from it. No link is followed."""
    try:
        manifest = read_manifest(folder)
    except RecordError as error:
        return None, [_finding("manifest_unreadable", str(error), "a manifest", "none that can be read")]
    names, findings = _names(folder, exempt)
    listed, present = set(manifest.files), set(names)
    for name in sorted(present - listed):
        findings.append(_finding("manifest_extra", f"{name} is not in the manifest", "no such file", name))
    for name in sorted(listed - present):
        findings.append(_finding("manifest_missing", f"{name} is gone", name, "no such file"))
    for name in sorted(listed & present):
        findings += _altered(folder, name, manifest.files[name])
    return manifest, findings


def _altered(folder: Path, name: str, entry: ManifestFile) -> list[Finding]:
    try:
        found = _measure(folder / name, entry.bytes)
    except RecordError as error:
        return [_finding("manifest_altered", str(error), f"{entry.bytes} bytes", "more, or no plain file")]
    if found == entry:
        return []
    sentence = f"{name} is not the file the manifest was made of"
    return [_finding("manifest_altered", sentence, _describe(entry), _describe(found))]


def _describe(entry: ManifestFile) -> str:
    return f"{entry.bytes} bytes, sha256 {entry.sha256[:12]}"


def _measure(path: Path, max_bytes: int) -> ManifestFile:
    content = read_plain(path, max_bytes, RecordError)
    return ManifestFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _names(folder: Path, exempt: frozenset[str]) -> tuple[list[str], list[Finding]]:
    """Every plain file below a folder, sorted, but the manifest, its signature and the exempt; and what is no file."""
    left_out = exempt | {layout.MANIFEST_FILE, layout.SIGNATURE_FILE}
    names: list[str] = []
    findings: list[Finding] = []
    waiting = [folder]
    while waiting and len(names) <= MAX_FILES:
        here = waiting.pop()
        entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        if not entries and here != folder:
            name = _shown(here, folder)
            findings.append(_finding("folder_empty", f"{name} is a folder with nothing in it", "no such folder", name))
        for entry in entries:
            name = _shown(Path(entry.path), folder)
            if name in left_out:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                names.append(name)
            else:
                found = "a link" if entry.is_symlink() else "a special file"
                findings.append(_finding("not_plain", f"{name} is not a plain file", "a plain file", found))
    if len(names) > MAX_FILES:
        findings.append(_finding("too_many_files", "there are too many files", f"{MAX_FILES}", f"{len(names)} or more"))
    return sorted(names), [*findings, *name_findings(names, layout.RECORD_OWN)]


def name_findings(names: Iterable[str], own: Iterable[str] = ()) -> Iterator[Finding]:
    """Names that some disk takes for another of these, or for one of `own`, and names that git obeys."""
    for first, other in file_names.clashes([*sorted(own), *sorted(names)]):
        sentence = f"{other} is the same name as {first} on some disks"
        yield _finding("name_clash", sentence, "names that differ in more than case or Unicode form", other)
    for name in sorted(filter(file_names.is_gits, names)):
        yield _finding("git_name", f"git reads {name} as its own", "no such file", name)


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _finding(id: str, sentence: str, expected: str, found: str) -> Finding:
    return Finding.error(id, _clean(sentence), _clean(expected), _clean(found))


def _clean(text: str) -> str:
    """Names come from the disk and may hold bytes that no JSON file can."""
    return text.encode("utf-8", "backslashreplace").decode()
