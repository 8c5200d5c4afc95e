"""The machine as a place to run: one run at a time, ranks and threads within the track's cores."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from data.files import refused_lock

from ..errors import RunFailure, TrackError
from ..formats import layout
from ..formats.environment import Gpu, gpus
from ..formats.track import Track
from ..status import Status


@contextmanager
def exclusive(wait: bool, on_wait: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold this machine for one run: two at once would time each other.

    wait: for another run to end; on_wait is told once who holds the machine. Raises RunFailure while another run holds
    it, or where no lock can be had.
    """
    path = layout.machine_lock()
    descriptor, is_ours = _open_lock(path)
    try:
        _take(descriptor, path, wait, on_wait)
        if is_ours:
            with suppress(OSError):  # a full disk; the lock holds all the same
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool, on_wait: Callable[[str], None]) -> None:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = f"process {os.pread(descriptor, 20, 0).decode(errors='replace') or 'unknown'}"
            if not wait:
                sentence = f"another run holds this machine ({holder}); wait for it, or use --wait"
                raise RunFailure(Status.MACHINE_BUSY, sentence) from error
            on_wait(holder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise RunFailure(Status.MACHINE_BUSY, f"{refused_lock(path, error)}; name another in SPEEDRUN_LOCKS") from error


def _open_lock(path: Path) -> tuple[int, bool]:
    """The lock file, and whether we may write our pid into it: another user's can be locked, but only read."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), False
    except OSError as error:
        sentence = f"expected a lock file at {path}, found what cannot be opened ({error.strerror})"
        sentence += "; remove it, or name another folder in SPEEDRUN_LOCKS"
        raise RunFailure(Status.MACHINE_BUSY, sentence) from error


def pick_device(track: Track) -> Literal["cpu", "cuda"]:
    """ "cpu" or "cuda", as the track asks and the machine has. Raises TrackError where it has not."""
    if track.hardware.device == "cpu" or (track.hardware.device == "any" and not gpus()):
        return "cpu"
    if not gpus():
        raise TrackError(f"track {track.name} needs a CUDA GPU, found none with nvidia-smi; see `speedrun doctor`")
    strangers = [gpu for gpu in gpus() if not qualifies(gpu, track)]
    if strangers:
        raise TrackError(
            f"track {track.name} is for {' or '.join(track.hardware.gpu_models)}, found {strangers[0].name}"
        )
    return "cuda"


def qualifies(gpu: Gpu, track: Track) -> bool:
    """Whether a track admits this model of GPU."""
    models = track.hardware.gpu_models
    return not models or any(model in gpu.name for model in models)


def pick_world_size(track: Track, wanted: int | None, device: str) -> int:
    """How many ranks. Raises TrackError when the track or the machine does not allow so many."""
    world_size = track.hardware.world_size if wanted is None else wanted
    most = min(track.hardware.max_world_size, len(gpus()) if device == "cuda" else len(cores(track)))
    if not 1 <= world_size <= most:
        raise TrackError(f"expected 1 to {most} ranks for track {track.name} on this machine, found {world_size}")
    return world_size


def cores(track: Track) -> set[int]:
    """The cores a run on this track may use: the first of those this process has."""
    available = sorted(os.sched_getaffinity(0))
    return set(available[: track.hardware.cpu_cores or len(available)])


@contextmanager
def held_to(cores: set[int]) -> Iterator[None]:
    """What is started inside inherits these cores; the referee itself may use any."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
