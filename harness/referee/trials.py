"""What doctor tries instead of looking: to write, to map executable memory, to resolve a name, to open a socket."""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

RESOLVE_S = 15.0
_RESOLVE = "import socket; socket.getaddrinfo(socket.gethostname(), None)"


def nearest(path: Path) -> Path:
    """The folder itself, or the one above it that is there."""
    return next(p for p in (path, *path.absolute().parents) if os.path.exists(p))


def write_problem(folder: Path) -> str | None:
    """Why a file cannot be made here, or in the folder above that is there; None if it can."""
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def execute_problem(folder: Path) -> str | None:
    """Why a file of this folder cannot be mapped as code (mounted noexec); None if it can."""
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)) as file:
            file.truncate(mmap.PAGESIZE)
            mmap.mmap(
                file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC
            ).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def resolve_problem() -> str | None:
    """Why the host's own name leads nowhere; None if it does. In a process of its own: a resolver may take minutes."""
    argv = [sys.executable, "-I", "-S", "-c", _RESOLVE]
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=RESOLVE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {RESOLVE_S:g} s"
    except OSError as error:
        return error.strerror
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it failed"]
    return None if done.returncode == 0 else last[0].rpartition("] ")[2]


def socket_problem() -> str | None:
    """Why two processes of this machine could not talk over loopback; None if they can."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=5),
        ):
            pass
    except OSError as error:
        return error.strerror or str(error)
    return None
