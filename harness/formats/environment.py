"""The machine and the software of a run: collected by the referee, never by the submission."""

import contextlib
import csv
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from . import layout

OURS = "speedrun-referee"  # in a distribution's metadata
_OF_INSTALLERS = ("/INSTALLER", "/REQUESTED", "/direct_url.json")
_GPU_FIELDS = {
    "name": "name", "uuid": "uuid", "driver_version": "driver", "memory.total": "memory_mib",
    "power.limit": "power_limit_w", "clocks.max.sm": "max_sm_clock_mhz", "ecc.mode.current": "ecc",
    "pci.bus_id": "pci_bus_id",
}  # fmt: skip


class Gpu(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    uuid: str
    driver: str
    memory_mib: str
    power_limit_w: str
    max_sm_clock_mhz: str
    ecc: str
    pci_bus_id: str


class Environment(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    python: str
    torch: str | None
    cuda: str | None  # the CUDA torch was built for
    gpus: tuple[Gpu, ...]
    cpu_model: str
    cpu_cores: int  # that this process may use
    memory_bytes: int
    kernel: str
    commit: str | None  # of this checkout, with + when it has changes
    packages: dict[str, str]  # name -> version, everything installed
    packages_sha256: str | None = None  # of all their files by their own lists of digests; None: not taken then


def collect(python: Path | None = None) -> Environment:
    """Everything worth knowing, in tens of milliseconds and without importing torch.

    python: the interpreter of another environment, of which only files are read; nothing of it is executed.
    """
    installed = None if python is None else [str(site_of(python))]
    return Environment(
        python=platform.python_version() if python is None else version_of(python),
        torch=package_version("torch", installed),
        cuda=torch_cuda(installed),
        gpus=gpus(),
        cpu_model=_cpu_model(),
        cpu_cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        commit=_commit(),
        packages=_packages(installed),
        packages_sha256=packages_digest(installed),
    )


@dataclass(frozen=True, slots=True)
class NvidiaSmi:
    """What nvidia-smi said: rows that are GPUs, and the rest in its own words."""

    gpus: tuple[Gpu, ...]
    words: tuple[str, ...]
    exit_status: int | None  # None: it is not installed, or could not be asked


@cache
def ask_nvidia_smi() -> NvidiaSmi:
    if shutil.which("nvidia-smi") is None:
        return NvidiaSmi((), (), None)
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return NvidiaSmi((), (str(error),), None)
    lines = (done.stdout + b"\n" + done.stderr).decode(errors="replace").splitlines()
    return read_nvidia_smi(lines, done.returncode)


def read_nvidia_smi(lines: Sequence[str], exit_status: int) -> NvidiaSmi:
    """Its lines sorted into rows of GPUs and others; one that failed has no GPUs to offer."""
    gpus, words = [], []
    for line in lines:
        cells = next(csv.reader([line.strip().replace("\0", "")], skipinitialspace=True), [])
        if exit_status == 0 and len(cells) == len(_GPU_FIELDS) and all(cell.strip() for cell in cells[:2]):
            gpus.append(Gpu(**dict(zip(_GPU_FIELDS.values(), cells, strict=True))))
        elif line.strip():
            words.append(line.strip())
    return NvidiaSmi(tuple(gpus), tuple(words), exit_status)


def gpus() -> tuple[Gpu, ...]:
    """The GPUs nvidia-smi shows; none where there is no driver."""
    return ask_nvidia_smi().gpus


def site_of(python: Path) -> Path:
    """Where the packages of a virtual environment lie."""
    return next((python.parent.parent / "lib").glob("python3.*/site-packages"), python.parent.parent)


def version_of(python: Path) -> str:
    """The version of a virtual environment's Python, as its pyvenv.cfg has it."""
    with contextlib.suppress(OSError):
        found = re.search(
            r"^version(?:_info)? = ([\w.]+)", (python.parent.parent / "pyvenv.cfg").read_text(), re.MULTILINE
        )
        return found[1] if found else "unknown"
    return "unknown"


def package_version(name: str, places: list[str] | None = None) -> str | None:
    found = _distribution(name, places)
    return None if found is None else found.version


def _distribution(name: str, places: list[str] | None) -> metadata.Distribution | None:
    """The first of this name on the path, or in these folders."""
    return next(iter(metadata.distributions(name=name, path=sys.path if places is None else places)), None)


def torch_cuda(places: list[str] | None = None) -> str | None:
    """The CUDA version in torch/version.py, read as text: importing torch takes seconds."""
    distribution = _distribution("torch", places)
    if distribution is None:
        return None
    with contextlib.suppress(OSError):
        path = distribution.locate_file("torch/version.py")
        found = re.search(r"^cuda(?:: [^=]*)? = '([^']+)'", Path(str(path)).read_text(), re.MULTILINE)
        return found.group(1) if found else None
    return None


def _packages(places: list[str] | None) -> dict[str, str]:
    installed = metadata.distributions(path=sys.path if places is None else places)
    found = {d.metadata["Name"]: d.version for d in installed if d.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def normalised(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages_digest(places: list[str] | None = None) -> str:
    """SHA-256 over the files of all packages but ours, as their RECORD lists them: path and digest, sorted.

    Tens of milliseconds: the lists are read, not the files, and files changed afterwards are not noticed. Left out is
    what differs between machines with the same packages: scripts, which name an interpreter, and notes of installers.
    """
    lines = set()
    for distribution in metadata.distributions(path=sys.path if places is None else places):
        name = distribution.metadata["Name"]
        if name == OURS:
            continue
        for line in (distribution.read_text("RECORD") or "").splitlines():
            path, _, digest = line.rpartition(",")[0].rpartition(",")
            if digest and not path.startswith("..") and not path.endswith(_OF_INSTALLERS):
                lines.add(f"{path} {digest}")
        lines.add(f"{name} {distribution.version}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    git = ["git", "-C", str(layout.ROOT)]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
        return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
    return None


def compiler() -> str | None:
    """The C++ compiler torch.compile would call on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++"))
