"""Releases of torch: what can still be installed, and what comes nearest to what cannot.

One table, from the project's own release notes. Nightly builds are deleted after some weeks, container builds were
never packages: for both the release that their version was on the way to is the nearest thing.
"""

import re
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Release:
    """A release: when, for which CUDA versions, with which Triton, for which Python 3.

    plain: the CUDA of the package that is called just by its version; the others carry it as +cu126.
    """

    version: str
    day: date
    plain: str
    cudas: tuple[str, ...]
    triton: str
    pythons: tuple[int, int]  # first and last minor version


RELEASES = (
    Release("2.4.0", date(2024, 7, 24), "12.1", ("11.8", "12.1", "12.4"), "3.0.0", (8, 12)),
    Release("2.4.1", date(2024, 9, 4), "12.1", ("11.8", "12.1", "12.4"), "3.0.0", (8, 12)),
    Release("2.5.0", date(2024, 10, 17), "12.4", ("11.8", "12.1", "12.4"), "3.1.0", (9, 12)),
    Release("2.5.1", date(2024, 10, 29), "12.4", ("11.8", "12.1", "12.4"), "3.1.0", (9, 12)),
    Release("2.6.0", date(2025, 1, 29), "12.4", ("11.8", "12.4", "12.6"), "3.2.0", (9, 13)),
    Release("2.7.0", date(2025, 4, 23), "12.6", ("11.8", "12.6", "12.8"), "3.3.0", (9, 13)),
    Release("2.7.1", date(2025, 6, 4), "12.6", ("11.8", "12.6", "12.8"), "3.3.1", (9, 13)),
    Release("2.8.0", date(2025, 8, 6), "12.8", ("12.6", "12.8", "12.9"), "3.4.0", (9, 13)),
    Release("2.9.0", date(2025, 10, 15), "12.8", ("12.6", "12.8", "13.0"), "3.5.0", (10, 14)),
    Release("2.9.1", date(2025, 11, 12), "12.8", ("12.6", "12.8", "13.0"), "3.5.1", (10, 14)),
    Release("2.10.0", date(2026, 1, 21), "12.8", ("12.6", "12.8", "13.0"), "3.6.0", (10, 14)),
)  # fmt: skip
BY_VERSION = {release.version: release for release in RELEASES}
_VERSION = re.compile(
    r"(\d{1,4}\.\d{1,4}\.\d{1,4})(?:\.dev(\d{4})(\d{2})(\d{2})|a0)?(?:\+([A-Za-z0-9.]{1,40}))?\Z", re.ASCII
)
_CONTAINER = re.compile(r"\.?nv(\d{2})\.(\d{1,2})\Z")


@dataclass(frozen=True, slots=True)
class Nearest:
    """The release to install in place of a version that a log names."""

    wanted: str
    release: Release | None  # None: no release of the table comes near
    cuda: str
    is_exact: bool
    differences: tuple[str, ...]  # one sentence each

    @property
    def requirement(self) -> str:
        """As pip takes it; empty without a release."""
        if self.release is None:
            return ""
        label = "" if self.cuda == self.release.plain else f"+cu{self.cuda.replace('.', '')}"
        return f"torch=={self.release.version}{label}"


def nearest_torch(version: str, cuda: str, triton: str) -> Nearest:
    """What to install for what a log says of torch, CUDA and Triton; empty texts where it says nothing."""
    match = _VERSION.match(version)
    release = BY_VERSION.get(match[1]) if match else None
    if match is None or release is None:
        said = f"torch {version}" if version else "no torch version"
        return Nearest(version, None, "", False, (f"the log names {said}, which no known release comes near",))
    differences = [*_age(match, release), *_cuda(cuda, release), *_triton(triton, release)]
    is_release = not (match[2] or "a0" in version)
    return Nearest(version, release, _nearest_cuda(cuda, release), is_release and not differences, tuple(differences))


def _age(match: re.Match[str], release: Release) -> list[str]:
    """What the version is, where it is no release."""
    if match[2]:
        try:
            day = date(int(match[2]), int(match[3]), int(match[4]))
        except ValueError:
            return [f"the nightly of {match[2]}{match[3]}{match[4]} is no day; torch {release.version} stands in"]
        days = (release.day - day).days
        when = f"{days} days later" if days >= 0 else f"{-days} days earlier"
        return [f"the nightly of {day} is deleted; torch {release.version} of {release.day} is {when}"]
    if "a0" in match[0]:
        container = _CONTAINER.search(match[5] or "")
        name = f"container {container[1]}.{int(container[2]):02d}" if container else "a build from source"
        return [f"it ran in NVIDIA's {name}, which is no package; torch {release.version} stands in"]
    return []


def _nearest_cuda(cuda: str, release: Release) -> str:
    """The build for this CUDA; else the newest that is not newer; else the oldest."""
    if cuda in release.cudas or not cuda:
        return cuda or release.cudas[-1]
    older = [known for known in release.cudas if _number(known) <= _number(cuda)]
    return older[-1] if older else release.cudas[0]


def _cuda(cuda: str, release: Release) -> list[str]:
    found = _nearest_cuda(cuda, release)
    if not cuda:
        return [f"the log names no CUDA; the build for CUDA {found} stands in"]
    return [] if found == cuda else [f"torch {release.version} has no build for CUDA {cuda}; CUDA {found} stands in"]


def _triton(triton: str, release: Release) -> list[str]:
    if not triton or triton == release.triton:
        return []
    return [f"torch {release.version} comes with Triton {release.triton}, the log names {triton}"]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,6}", version)[:3])
