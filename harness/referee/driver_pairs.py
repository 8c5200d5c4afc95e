"""Known-bad pairs of an NVIDIA driver and a torch: from public sources only; none of them was measured here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BadPair:
    """A build of torch that an older driver than `least_driver` does not go with."""

    cuda: str  # what torch was built for: this version, or a minor version of it
    torch: str  # "" for every version
    least_driver: int  # major
    starts: bool  # whether a run starts at all
    effect: str


NOTHING_STARTS = "no CUDA program of that build starts, unless cuda-compat is installed"

PAIRS = (
    # NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1: minimum driver by major version of CUDA.
    # https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
    # PyTorch's own tests stopped at this for CUDA 13 on driver 570: https://github.com/pytorch/pytorch/pull/162531
    BadPair("13", "", 580, starts=False, effect=NOTHING_STARTS),
    BadPair("12", "", 525, starts=False, effect=NOTHING_STARTS),
    BadPair("11", "", 450, starts=False, effect=NOTHING_STARTS),
    # README of records/track_1_short/2026-08-30_ANVIL2 in KellerJordan/modded-nanogpt (pull request 360), which was
    # reproduced on several nodes of 8x H100; that it is the driver is its author's conclusion. Records of other people
    # were made on 570, so it names a cause and decides nothing.
    BadPair("12.8", "2.10", 580, starts=True, effect="whole steps were 35 % slower on H100, without an error"),
)  # fmt: skip


def bad_pairs(drivers: Iterable[str], torch: str | None, cuda: str | None) -> list[tuple[BadPair, str]]:
    """The known-bad pairs of a machine, each with a sentence; those that let nothing start first.

    drivers: versions as nvidia-smi has them. torch, cuda: the version installed, and the CUDA that it was built for.
    """
    found = []
    for driver in sorted(set(drivers)):
        major = re.match(r"\d{1,6}", driver)
        for pair in PAIRS:
            if major and cuda and torch and _is_of(cuda, pair.cuda) and _is_of(torch, pair.torch):
                if int(major[0]) >= pair.least_driver:
                    continue
                told = f"driver {driver} with torch {torch}, built for CUDA {cuda}: expected driver {pair.least_driver}"
                found.append((pair, f"{told} or newer; with an older one {pair.effect}"))
    return sorted(found, key=lambda item: item[0].starts)


def _is_of(version: str, wanted: str) -> bool:
    """2.10.0+cu128 is of 2.10 and of "", not of 2.1."""
    parts, beginning = re.split(r"[.+]", version), wanted.split(".") if wanted else []
    return parts[: len(beginning)] == beginning
