"""What a submission can see and reach, in levels; the best one this machine allows is chosen and recorded.

| level        | what holds                                                                                      |
| `namespaces` | no network but loopback, no file but the system, the interpreter and what a View names, read-only; |
|              | own process, IPC and host names; fresh HOME, TMP and /dev/shm (bubblewrap)                        |
| `process`    | another process with a clean environment; files and network as the user has them                 |

Paths are the same inside and outside, so one command line serves both.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .errors import RunFailure, UserError
from .status import Status

LEVELS = ("namespaces", "process")  # best first
KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "TZ")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/opt")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "hosts", "localtime", "nsswitch.conf", "passwd",
       "group")  # fmt: skip
CUDA_FILES = (
    "/sys",
    "/etc/OpenCL",
    "/etc/vulkan",
    "/usr/local/nvidia",
    "/usr/local/cuda",
    "/run/nvidia-persistenced",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one sandboxed process gets to see besides the system and the interpreter."""

    readable: tuple[Path, ...]  # files and folders, read-only, at their own paths
    hidden: tuple[Path, ...] = ()  # folders shown empty even where the system's are seen, but for what is readable
    home: Path  # an empty folder outside; inside, a fresh memory file system
    environment: dict[str, str] = field(default_factory=dict)
    cuda: bool = False
    pass_fds: tuple[int, ...] = ()


@cache
def available_levels() -> tuple[str, ...]:
    """The levels that work on this machine, best first; each was tried, not guessed."""
    return tuple(level for level in LEVELS if level == "process" or _namespaces_work())


def check_level(required: str | None) -> None:
    """Raises UserError unless this is the name of a level, or none."""
    if required is not None and required not in LEVELS:
        raise UserError(f"expected a sandbox level out of {', '.join(LEVELS)}, found {required!r}")


def choose(required: str | None) -> str:
    """The level to run at: the best there is, or the required one. Raises UserError or RunFailure."""
    check_level(required)
    best = available_levels()[0]
    if required is not None and LEVELS.index(best) > LEVELS.index(required):
        raise RunFailure(
            Status.SANDBOX_FAILED,
            f"expected sandbox level {required}, found that this machine allows {best}; "
            "install bubblewrap and allow user namespaces",
        )
    return required or best


def command(level: str, view: View, argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment that run argv at a level with a view."""
    environment = _environment(view)
    if level == "process":
        return argv, environment
    arguments = [_bubblewrap(), "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    arguments += ["--hostname", "localhost", "--proc", "/proc", "--dev", "/dev"]
    if view.cuda:
        arguments += _cuda_devices()
    arguments += ["--tmpfs", "/dev/shm", "--tmpfs", "/tmp", *_system()]
    for path in _interpreter():
        arguments += ["--ro-bind", str(path), str(path)]
    for path in (*view.hidden, view.home):
        arguments += ["--tmpfs", str(path)]
    for path in view.readable:
        arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--chdir", str(view.home), "--", *argv], environment


def _environment(view: View) -> dict[str, str]:
    """Nothing of the caller's but the language: no LD_*, PYTHON*, CUDA_* or torchrun variables."""
    home = str(view.home)
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    base = {
        "PATH": path,
        "HOME": home,
        "TMPDIR": home,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    caches = {"TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor", "TRITON_CACHE_DIR": f"{home}/triton"}
    return kept | base | caches | view.environment


def _system() -> list[str]:
    """The operating system, read-only; links such as /lib -> usr/lib stay links."""
    arguments: list[str] = []
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), name]
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    for name in ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return arguments


def _interpreter() -> list[Path]:
    """Where Python and its packages are, without the project that may lie around them."""
    prefixes = {
        Path(sys.prefix),
        Path(sys.base_prefix).resolve(),
        Path(sys.executable).resolve().parent.parent,
    }
    return sorted(p for p in prefixes if not any(p.is_relative_to(s) for s in SYSTEM))


def _cuda_devices() -> list[str]:
    arguments: list[str] = []
    for device in sorted(Path("/dev").glob("nvidia*")):
        arguments += ["--dev-bind", str(device), str(device)]
    for path in CUDA_FILES:
        arguments += ["--ro-bind-try", path, path]
    return arguments


def _bubblewrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _namespaces_work() -> bool:
    """Whether bubblewrap can make every namespace here and start this interpreter inside."""
    if shutil.which("bwrap") is None:
        return False
    view = View(readable=(), home=Path("/tmp/speedrun-home"))  # a mount point inside, never made outside
    argv, environment = command("namespaces", view, [sys.executable, "-I", "-c", "pass"])
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(argv, env=environment, capture_output=True, timeout=30, check=False).returncode == 0
    return False
