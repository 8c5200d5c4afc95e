"""Sources: the files of a campaign's arms, held byte for byte to the digests in its plan."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.run import Finding
from ..formats.submission import IGNORED, source_digest
from ..system.names import clashes, folded, is_gits
from ..system.plainfile import read_plain
from .campaign import Arm, ArmPlan, Plan

MAX_SOURCE_BYTES = 2**26  # of one file


def arms_findings(folder: Path, plan: Plan, sources: Mapping[Arm, Path | None] | None) -> Iterator[Finding]:
    """What of the arms' sources is not what the plan says. sources: as `read_bundle` has it."""
    for arm in plan.arms:
        whole = source_digest(arm.submission.files)
        if whole != arm.submission.sha256:
            sentence = f"{arm.arm}: the plan's digests of files do not make its digest of the source"
            yield Finding.error("source_digest", sentence, arm.submission.sha256[:12], whole[:12])
        if sources is None:
            yield from source_findings(folder / arm.arm, arm)
            for name in sorted(_names(folder / arm.arm) - set(arm.submission.files)):
                yield Finding.error(
                    "source_digest", f"{arm.arm}: {name!r} is no file of the plan", "nothing else", f"{name!r}"
                )
        elif (place := sources.get(arm.arm)) is not None:
            yield from source_findings(place, arm, layout.RECORD_OWN if place == folder else frozenset())


def source_findings(place: Path, arm: ArmPlan, taken: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """What of an arm's source is not, byte for byte, what the plan says. taken: names of other files there."""
    for first, other in clashes(sorted(arm.submission.files)):
        sentence = f"{arm.arm}: {other!r} is the same name as {first!r} on some disks"
        yield Finding.error(
            "source_digest", sentence, "names that differ in more than case or Unicode form", f"{other!r}"
        )
    total, read = 0, 0
    for name, expected in arm.submission.files.items():
        if folded(name.partition("/")[0]) in {folded(own) for own in taken} or is_gits(name):
            sentence = f"{arm.arm}: {name!r} is no name for source"
            yield Finding.error("source_digest", sentence, "a name of its own", f"{name!r}")
            continue
        if not _stays_inside(name):
            yield Finding.error(
                "source_digest", f"{arm.arm}: {name!r} leaves the folder", "a path inside it", f"{name!r}"
            )
            continue
        try:
            content = read_plain(place / name, MAX_SOURCE_BYTES, RecordError)
        except UserError as error:
            yield Finding.error("source_digest", f"{arm.arm}: {name!r} cannot be read", expected[:12], str(error))
            continue
        total, read = total + len(content), read + 1
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            yield Finding.error(
                "source_digest", f"{arm.arm}: {name!r} is not what was planned", expected[:12], found[:12]
            )

    if total != arm.submission.bytes and read == len(arm.submission.files):
        sentence = f"{arm.arm}: its files are of another size than the plan says"
        yield Finding.error("source_digest", sentence, f"{arm.submission.bytes} bytes", f"{total} bytes")


def _stays_inside(name: str) -> bool:
    return re.fullmatch(r"[^/\0]+(/[^/\0]+)*", name) is not None and not {".", ".."} & set(name.split("/"))


def _names(place: Path) -> set[str]:
    """Every entry below a folder that is not a folder itself, but for caches."""
    found = set()
    for parent, folders, files in os.walk(place):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = [name for name in folders if name not in IGNORED]
        found |= {os.path.relpath(os.path.join(parent, name), place) for name in [*files, *links]}
    return found
