"""What this machine has, and what it lacks for each track."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data import datasets

from ..errors import DataError, RunFailure
from ..formats import environment, layout, numbers
from ..formats.run_folder import unjudged_runs
from ..formats.track import Track
from ..sandbox import cgroups, levels
from . import driver_pairs, machine, temporary, trials
from .temporary import LONGEST_TMPDIR, SCRATCH_CHARACTERS

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
    return [
        _cores(), _torch(), _gpus(), _sandbox(), _limits(), *_disks(), _temporary(), _lock(), _network(), _compiler(),
        *_open_runs(), *_data(),
    ]  # fmt: skip


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
    said = environment.ask_nvidia_smi()
    gpus, words = said.gpus, "; ".join(said.words)[:300]
    if not gpus and (words or said.exit_status):
        found = f"none: nvidia-smi says {words or 'nothing'} (exit status {said.exit_status})"
        return Check("gpus", "note", found, "CPU tracks run here; mend the driver for the others")
    if not gpus:
        return Check("gpus", "note", "none", "CPU tracks run here; GPU tracks need nvidia-smi to see a GPU")
    built_for = environment.torch_cuda()
    if built_for is None:
        return Check("gpus", "missing", f"{len(gpus)}x {gpus[0].name}", "torch has no CUDA: install a CUDA build")
    pairs = driver_pairs.bad_pairs((gpu.driver for gpu in gpus), environment.package_version("torch"), built_for)
    advice = "; ".join([sentence for _, sentence in pairs] + ([f"nvidia-smi says besides: {words}"] if words else []))
    return Check("gpus", "note" if pairs else "ok", f"{len(gpus)}x {gpus[0].name}, driver {gpus[0].driver}", advice)


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
        free = shutil.disk_usage(trials.nearest(Path(path))).free
        found, problem = f"{numbers.gibibytes(free)} free at {path}", trials.write_problem(Path(path))
        if problem is not None and name == "data":  # complete data needs no writing
            checks.append(Check("data disk", "note", found, f"cannot be written ({problem}): nothing can be fetched"))
        elif problem is not None:
            checks.append(Check(f"{name} disk", "missing", found, f"cannot be written: {problem}"))
        else:
            low_advice = "" if free >= low else f"less than {low / GIB:g} GiB free"
            checks.append(Check(f"{name} disk", "note" if low_advice else "ok", found, low_advice))
    return checks


def _temporary() -> Check:
    """TMPDIR: to be written, to hold what torch.compile loads, and short enough for sockets."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        return Check("temporary files", "missing", error.strerror or str(error), "set TMPDIR to a folder for them")
    problem = trials.write_problem(folder)
    if problem is not None:
        return Check("temporary files", "missing", f"{folder} cannot be written: {problem}", "set TMPDIR to another")
    level = levels.available_levels()[0]
    if level == levels.LEVELS[0]:  # namespaces have folders of their own
        return Check("temporary files", "ok", str(folder))
    notes = []
    if trials.execute_problem(folder) is not None:
        notes.append(f"nothing there can be executed (noexec), so runs {_elsewhere(level)}")
    if len(str(folder)) > LONGEST_TMPDIR - SCRATCH_CHARACTERS:
        notes.append("the path is long for sockets of DataLoader workers, so runs get a TMPDIR elsewhere")
    return Check("temporary files", "note" if notes else "ok", str(folder), "; ".join(notes))


def _elsewhere(level: str) -> str:
    try:
        return f"put their files into {temporary.fitting(level)}"
    except RunFailure:
        return "are refused: set TMPDIR to another"


def _lock() -> Check:
    try:
        with machine.exclusive(wait=False):
            return Check("machine lock", "ok", str(layout.machine_lock()))
    except RunFailure as failure:
        busy = "another run holds" in failure.sentence
        return Check("machine lock", "note" if busy else "missing", failure.sentence)


def _open_runs() -> list[Check]:
    """Runs that may be over, on a host or in a container that is not this one: only a person can tell."""
    found = unjudged_runs(layout.runs_root())
    if not found:
        return []
    names = ", ".join(f"{folder.name} (on {record.owner.host})" for folder, record in found[-3:])
    more = "" if len(found) <= 3 else f"{len(found)} of them, the last: "
    advice = "of each that is over: `speedrun close RUN`"
    return [Check("open runs", "note", f"in progress, or lost with their host: {more}{names}", advice)]


def _network() -> Check:
    """Loopback, which every run needs; and the name of this host, which some scripts ask for."""
    problem = trials.socket_problem()
    if problem is not None:
        return Check("network", "missing", f"no socket on loopback: {problem}", "ranks cannot find each other")
    name, problem = os.uname().nodename, trials.resolve_problem()
    if problem is not None:
        advice = "add it to /etc/hosts; runs here do without, scripts of others may not"
        return Check("network", "note", f"loopback; the host's own name {name} does not resolve: {problem}", advice)
    return Check("network", "ok", f"loopback; {name} resolves")


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
