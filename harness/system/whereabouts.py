"""Where this process runs: which host, which boot of it, which pid namespace. A pid means something only there."""

import hashlib
import os
from functools import cache
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def host() -> str:
    return os.uname().nodename


@cache
def machine_id() -> str | None:
    """A digest of the machine's own number, which is nobody else's to know; None where there is none (containers)."""
    try:
        own = MACHINE_ID.read_text().strip()
    except OSError:
        return None
    if len(own) != 32:  # empty, or "uninitialized"
        return None
    return hashlib.sha256(f"speedrun {own}".encode()).hexdigest()[:16]


def pid_namespace() -> int:
    """The number of its inode."""
    return Path("/proc/self/ns/pid").stat().st_ino
