"""What a submission can see and reach, in levels; the best one this machine allows is chosen and recorded.

| level        | what holds                                                                                       |
| `namespaces` | no network but loopback, no file but the system, the interpreter and what a View names, read-only; |
|              | own process, IPC and host names; fresh, bounded HOME, TMP and /dev/shm (bubblewrap, seccomp)       |
| `landlock`   | the same files and no others, by name visible, not readable; no UDP, TCP on ephemeral ports only;  |
|              | no signal and no abstract socket to the outside (landlock, seccomp); the machine's processes seen  |
| `process`    | another process with a clean environment; files and network as the user has them                 |

Limits on memory, processes and files hold at every level, by control groups or by watching (`process_tree`).
Paths are the same inside and outside, so one command line serves both.
"""

import os
import sys
from functools import cache
from pathlib import Path

from ..errors import RunFailure, UserError
from ..status import Status
from . import landlock, namespaces
from .policy import Limits, View

__all__ = ["LEVELS", "Limits", "View", "available_levels", "check_level", "choose", "command", "lacking", "passed_over"]

LEVELS = ("namespaces", "landlock", "process")  # best first
KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "TZ")
CACHES = {  # every place a library of this trade keeps things from one process to the next
    "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "share", "XDG_STATE_HOME": "state",
    "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton",
    "TRITON_HOME": "triton-home", "TORCH_HOME": "torch", "TORCH_EXTENSIONS_DIR": "torch-extensions",
    "CUDA_CACHE_PATH": "cuda", "HF_HOME": "huggingface", "NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib",
    "TIKTOKEN_CACHE_DIR": "tiktoken", "CUTE_DSL_CACHE_DIR": "cute",
}  # fmt: skip


@cache
def available_levels() -> tuple[str, ...]:
    """The levels that work on this machine, best first; each was tried, not guessed."""
    return tuple(level for level in LEVELS if lacking(level) is None)


@cache
def lacking(level: str) -> str | None:
    """Why a level does not work here, in half a sentence; None if it does."""
    if level == "namespaces":
        reason = namespaces.lacking()
        return None if reason is None else f"{reason}; install bubblewrap and allow user namespaces"
    return landlock.lacking() if level == "landlock" else None


def passed_over(chosen: str) -> tuple[str, ...]:
    """A sentence for each better level that this machine does not allow: nobody should find out from a record."""
    better = LEVELS[: LEVELS.index(chosen)]
    return tuple(f"sandbox {chosen}, not {level}: {reason}" for level in better if (reason := lacking(level)))


def check_level(required: str | None) -> None:
    """Raises UserError unless this is the name of a level, or none."""
    if required is not None and required not in LEVELS:
        raise UserError(f"expected a sandbox level out of {', '.join(LEVELS)}, found {required!r}")


def choose(required: str | None) -> str:
    """The level to run at: the best there is, or the required one. Raises UserError or RunFailure."""
    check_level(required)
    available = available_levels()
    if required is not None and required not in available:
        raise RunFailure(
            Status.SANDBOX_FAILED,
            f"expected sandbox level {required}, found that this machine allows {', '.join(available)}; "
            f"{lacking(required) or 'see `speedrun doctor`'}",
        )
    return required or available[0]


def command(
    level: str, view: View, argv: list[str], filter_fd: int | None = None, gate: namespaces.Gate | None = None
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment that run argv at a level with a view.

    filter_fd, gate: for `namespaces`, its seccomp filter and where it waits for its pid_max. What a child must do to
    itself is ProcessTree's (harness/sandbox/process_tree.py).
    """
    environment = clean_environment(view.home) | view.environment
    if level == "namespaces":  # a fresh one: below a long HOME the sockets of DataLoader workers have no room
        environment["TMPDIR"] = "/tmp"
    return (namespaces.command(view, argv, filter_fd, gate) if level == "namespaces" else argv), environment


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's but the language: no LD_*, PYTHON*, CUDA_* or torchrun variables."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    base = {
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return kept | base | {name: f"{home}/{folder}" for name, folder in CACHES.items()}
