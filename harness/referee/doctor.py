"""What this machine has, and what it lacks for each track."""

import os
import shutil
from dataclasses import dataclass
from typing import Literal

from data import datasets

from ..errors import DataError
from ..formats import environment, layout, numbers
from ..formats.track import Track
from ..sandbox import cgroups, levels
from . import machine

GIB = 2**30
LOW_DISK_BYTES = 2 * GIB
LOW_SHM_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Every check, in the order in which they matter."""
    return [_cores(), _torch(), _gpus(), _sandbox(), _limits(), *_disks(), _compiler(), *_data()]


def lacks(track: Track) -> list[str]:
    """What is missing here to run a track, one sentence each; nothing if it can run."""
    found = []
    if not track.refereed:
        found.append("the harness cannot hold this track's rules yet: results are `reported` only")
    found += _lacking_hardware(track)
    try:
        dataset = datasets.load_dataset(track.data.dataset)
        missing = datasets.missing_files(dataset, datasets.data_root(), track.data.train_shards)
    except DataError as error:
        return [*found, str(error)]
    if missing and dataset.kind != "embedded":
        found.append(f"{len(missing)} shards of {dataset.name}")
    return found


def _lacking_hardware(track: Track) -> list[str]:
    hardware = track.hardware
    if hardware.device == "cuda":
        models = " or ".join(hardware.gpu_models) or "CUDA GPU"
        fitting = [gpu for gpu in environment.gpus() if machine.qualifies(gpu, track)]
        if len(fitting) < hardware.world_size:
            return [f"{hardware.world_size}x {models} (found {len(fitting)})"]
    available = len(os.sched_getaffinity(0))
    if hardware.device == "cpu" and hardware.cpu_cores and available < hardware.cpu_cores:
        return [f"{hardware.cpu_cores} CPU cores (found {available})"]
    return []


def _cores() -> Check:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("cpu", "ok", f"{len(os.sched_getaffinity(0))} cores, {numbers.gibibytes(memory, 0)} memory")


def _torch() -> Check:
    version = environment.package_version("torch")
    if version is None:
        return Check("torch", "missing", "not installed", "run `make install`")
    return Check("torch", "ok", f"{version}, built for {environment.torch_cuda() or 'CPU only'}")


def _gpus() -> Check:
    gpus = environment.gpus()
    if not gpus:
        return Check("gpus", "note", "none", "CPU tracks run here; GPU tracks need nvidia-smi to see a GPU")
    if environment.torch_cuda() is None:
        return Check("gpus", "missing", f"{len(gpus)}x {gpus[0].name}", "torch has no CUDA: install a CUDA build")
    return Check("gpus", "ok", f"{len(gpus)}x {gpus[0].name}, driver {gpus[0].driver}")


def _sandbox() -> Check:
    available = levels.available_levels()
    if available[0] == levels.LEVELS[0]:
        return Check("sandbox", "ok", " > ".join(available))
    missing = [f"{level}: {levels.lacking(level)}" for level in levels.LEVELS if level not in available]
    means = "data is withheld by path only" if available[0] == "process" else "the network is narrowed, not cut"
    return Check("sandbox", "note", " > ".join(available), f"{means}; {'; '.join(missing)}")


def _limits() -> Check:
    """Who holds a submission to its memory and processes: the kernel, or the referee's looking."""
    held = sorted(cgroups.parents())
    if len(held) == 2:
        return Check("limits", "ok", "memory and processes held by control groups")
    watched = " and ".join(name for name in ("memory", "pids") if name not in held)
    return Check("limits", "ok", f"control groups for {', '.join(held) or 'nothing'}; {watched} watched")


def _disks() -> list[Check]:
    checks = []
    places = (("runs", layout.runs_root(), LOW_DISK_BYTES), ("data", datasets.data_root(), LOW_DISK_BYTES))
    for name, path, low in (*places, ("shm", "/dev/shm", LOW_SHM_BYTES)):  # noqa: S108 - looked at, not used
        existing = next(p for p in (path, *getattr(path, "parents", ())) if os.path.exists(p))
        free = shutil.disk_usage(existing).free
        verdict: Literal["ok", "note"] = "ok" if free >= low else "note"
        advice = "" if free >= low else f"less than {low / GIB:g} GiB free"
        checks.append(Check(f"{name} disk", verdict, f"{numbers.gibibytes(free)} free at {path}", advice))
    return checks


def _compiler() -> Check:
    compiler = environment.compiler()
    if compiler is None:
        return Check("compiler", "note", "none", "submissions that use torch.compile on CPU need g++")
    return Check("compiler", "ok", compiler)


def _data() -> list[Check]:
    checks = []
    for name in datasets.list_datasets():
        dataset = datasets.load_dataset(name)
        missing = len(datasets.missing_files(dataset, datasets.data_root()))
        of = 1 + dataset.train_shards
        if not missing:
            checks.append(Check(f"data {name}", "ok", f"{of} shards"))
        else:
            advice = "built when first needed" if dataset.kind == "embedded" else "not here yet"
            checks.append(Check(f"data {name}", "note", f"{of - missing} of {of} shards", advice))
    return checks
